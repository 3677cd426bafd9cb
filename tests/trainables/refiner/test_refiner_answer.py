"""Reading answers: the block, claims, ids, uncited sentences, and no input that breaks it."""

from itertools import pairwise

import pytest
from growth import check_growth
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.refiner.answer import Answer, read_answer
from trainables.tasks.refiner.prompts import ABSTENTION, cited, gold_answer


def answer_of(body: str) -> Answer:
    answer = read_answer(f"<answer>{body}</answer>").answer
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    ("completion", "fault"),
    [
        pytest.param("", "no_answer", id="empty"),
        pytest.param("The bridge is red.", "no_answer", id="no-tags"),
        pytest.param("</answer>", "no_answer", id="only-closed"),
        pytest.param("<answer>The bridge", "unclosed_answer", id="cut-off"),
        pytest.param("</answer> x <answer>", "unclosed_answer", id="wrong-order"),
        pytest.param("<answer></answer>", "empty_answer", id="nothing-in-it"),
        pytest.param("<answer> \n </answer>", "empty_answer", id="white-space"),
        pytest.param(
            "<answer><snippet id=A> </snippet></answer>", "empty_answer", id="empty-snippet"
        ),
        pytest.param("<answer>a</answer><answer>b</answer>", "several_answers", id="two"),
        pytest.param("<answer><answer>a</answer></answer>", "several_answers", id="nested"),
        pytest.param("<answer>a</answer></answer>", "several_answers", id="closed-twice"),
    ],
)
def test_without_exactly_one_block_there_is_no_answer(completion: str, fault: str) -> None:
    reading = read_answer(completion)
    assert (reading.answer, reading.fault) == (None, fault)


def test_tags_are_read_in_any_case_and_text_around_the_block_is_not_part_of_it() -> None:
    reading = read_answer("Let me see.\n<ANSWER>\n It is red.\n</Answer >\nBye.")
    assert reading.answer is not None
    assert reading.answer.body == "It is red."


@pytest.mark.parametrize(
    ("completion", "prefilled", "body", "thought"),
    [
        pytest.param("<think>so</think><answer>a</answer>", False, "a", "so", id="own"),
        pytest.param("so\n</think>\n<answer>a</answer>", True, "a", "so", id="prefilled"),
        pytest.param("<think>so</think><answer>a</answer>", True, "a", "so", id="opened-twice"),
        pytest.param(
            "<think><answer>b</answer></think><answer>a</answer>",
            False,
            "a",
            "<answer>b</answer>",
            id="answer-in-thought",
        ),
        pytest.param("<answer>a</think>b</answer>", False, "a</think>b", "", id="late-tag"),
    ],
)
def test_think_blocks_are_no_part_of_the_answer(
    completion: str, prefilled: bool, body: str, thought: str
) -> None:
    reading = read_answer(completion, think_prefilled=prefilled)
    assert reading.answer is not None
    assert (reading.answer.body, reading.thought) == (body, thought)


def test_a_thought_that_never_ends_holds_no_answer() -> None:
    assert read_answer("<answer>a</answer>", think_prefilled=True).fault == "unclosed_think"
    assert read_answer("<think><answer>a</answer>").fault == "unclosed_think"


@pytest.mark.parametrize(
    ("tag", "ids"),
    [
        pytest.param("id=S1", ("S1",), id="one"),
        pytest.param("id=S1,S2", ("S1", "S2"), id="two"),
        pytest.param("id= S1 , S2 ", ("S1", "S2"), id="spaces"),
        pytest.param('id="S1, S2"', ("S1", "S2"), id="quotes"),
        pytest.param("id='S1','S2'", ("S1", "S2"), id="each-quoted"),
        pytest.param("ID = S1", ("S1",), id="case"),
        pytest.param("id=S1,S1,S2", ("S1", "S2"), id="repeated"),
        pytest.param("id=S1,,S2,", ("S1", "S2"), id="empty-parts"),
        pytest.param("id=doc 3", ("doc 3",), id="space-within"),
        pytest.param("id=https://x.org/a?b=c", ("https://x.org/a?b=c",), id="address"),
    ],
)
def test_ids_are_split_on_commas_and_stripped(tag: str, ids: tuple[str, ...]) -> None:
    [claim] = answer_of(f"<snippet {tag}>It is red.</snippet>").claims
    assert claim.ids == ids


@pytest.mark.parametrize(
    ("body", "claims", "uncited", "faults"),
    [
        pytest.param(
            "<snippet id=A>x < 3 and y > 4</snippet>",
            ["x < 3 and y > 4"],
            [],
            (),
            id="brackets-in-a-claim",
        ),
        pytest.param(
            "<snippet id=A>one <b>bold</b> word</snippet>",
            ["one <b>bold</b> word"],
            [],
            (),
            id="other-tags",
        ),
        pytest.param(
            "<snippet id=A>The first of all claims <snippet id=B>inner</snippet> rest</snippet>",
            ["inner"],
            ["The first of all claims"],
            ("unclosed_snippet", "stray_close"),
            id="nested",
        ),
        pytest.param(
            "<snippet id=A>The bridge is red and old.",
            [],
            ["The bridge is red and old."],
            ("unclosed_snippet",),
            id="unclosed",
        ),
        pytest.param(
            "<snippet>It is red.</snippet>", [], ["It is red."], ("no_ids",), id="no-attribute"
        ),
        pytest.param(
            '<snippet id="">It is red.</snippet>', [], ["It is red."], ("no_ids",), id="empty-id"
        ),
        pytest.param("<snippet id=A></snippet> Sure.", [], [], ("empty_claim",), id="empty-claim"),
        pytest.param("it is so </snippet>", [], [], ("stray_close",), id="stray"),
        pytest.param(
            "In short: <snippet id=A>It is red.</snippet> Also, <snippet id=B>old</snippet>.",
            ["It is red.", "old"],
            [],
            (),
            id="connecting-words",
        ),
        pytest.param(
            "<snippet id=A>It is red.</snippet> It was built in 1901. Who knows what else?",
            ["It is red."],
            ["It was built in 1901."],
            (),
            id="number-counts-question-does-not",
        ),
        pytest.param(
            "It stands since about the year 1901.5 or so.",
            [],
            ["It stands since about the year 1901.5 or so."],
            (),
            id="numbers-do-not-end-sentences",
        ),
        pytest.param(
            "<snippet id=A>It is red.</snippet> It is old. Sure. So, as it says here:",
            ["It is red."],
            ["It is old."],
            (),
            id="short-sentences-count-connecting-words-do-not",
        ),
        pytest.param(
            "<snippet id=A>Red.</snippet> <snippet id=B>red</snippet>", ["Red."], [], (), id="twice"
        ),
    ],
)
def test_claims_and_uncited_sentences(
    body: str, claims: list[str], uncited: list[str], faults: tuple[str, ...]
) -> None:
    answer = answer_of(body)
    assert [claim.text for claim in answer.claims] == claims
    assert [sentence.text for sentence in answer.uncited] == uncited
    assert answer.faults == faults


def test_a_repeated_claim_counts_once_with_all_its_ids() -> None:
    answer = answer_of("<snippet id=A,B>It is red.</snippet> <snippet id=B,C>it is  RED</snippet>")
    [claim] = answer.claims
    assert claim.ids == ("A", "B", "C")
    assert answer.cited_ids == ("A", "B", "C")


def test_a_repeated_sentence_counts_once() -> None:
    answer = answer_of("The bridge is red and old. the bridge is red and OLD!")
    assert len(answer.uncited) == 1


def test_only_the_bare_sentence_abstains() -> None:
    assert answer_of(f" {ABSTENTION.upper()}\n").abstains
    assert not answer_of(f"{ABSTENTION} It is red.").abstains
    assert not answer_of(cited(ABSTENTION, ["A"])).abstains
    assert answer_of(f"{ABSTENTION} <snippet id=A>It is red.</snippet>").uncited == ()


SCRAPS = st.sampled_from(
    [
        "<answer>", "</answer>", "<snippet id=A>", '<snippet id="A, B">', "<snippet>", "</snippet>",
        "<snippet id=", "<", ">", "<think>", "</think>", "It is red. ", "Built in 1901, ", "\n",
        "A,B",
    ]
)  # fmt: skip


@given(st.lists(SCRAPS | st.text(max_size=12), max_size=30).map("".join), st.booleans())
def test_positions_point_at_what_was_read(completion: str, prefilled: bool) -> None:
    reading = read_answer(completion, think_prefilled=prefilled)
    answer = reading.answer
    assert (answer is None) == bool(reading.fault)
    if answer is None:
        return
    assert completion[answer.start : answer.start + len(answer.body)] == answer.body
    spans = []
    for claim in answer.claims:
        assert completion[claim.start : claim.end].lower().startswith("<snippet")
        assert claim.text in completion[claim.start : claim.end]
        assert claim.ids and len(set(claim.ids)) == len(claim.ids)
        spans.append((claim.start, claim.end))
    for sentence in answer.uncited:
        assert completion[sentence.start : sentence.end] == sentence.text
        spans.append((sentence.start, sentence.end))
    ordered = sorted(spans)
    assert all(one[1] <= other[0] for one, other in pairwise(ordered))


PLAIN = st.from_regex(r"[A-Za-z][A-Za-z ,;0-9]{0,30}[a-z]", fullmatch=True)
IDS = st.lists(st.from_regex(r"[A-Za-z0-9_:./-]{1,8}", fullmatch=True), min_size=1, unique=True)


@given(
    st.lists(st.tuples(PLAIN, IDS), min_size=1, max_size=5, unique_by=lambda pair: pair[0].lower())
)
def test_what_is_written_well_is_read_back(claims: list[tuple[str, list[str]]]) -> None:
    completion = gold_answer(" ".join(cited(text, ids) for text, ids in claims))
    answer = read_answer(completion).answer
    assert answer is not None
    assert answer.faults == () and answer.uncited == ()
    by_words: dict[str, list[str]] = {}
    for text, ids in claims:
        by_words.setdefault(" ".join(text.lower().split()), []).extend(ids)
    assert [list(claim.ids) for claim in answer.claims] == [
        list(dict.fromkeys(ids)) for ids in by_words.values()
    ]


@pytest.mark.parametrize(
    "scrap",
    [
        "<answer>",
        "<snippet id=a>",
        "<snippet ",
        "< ",
        "<",
        "</snippet>",
        "a. ",
        "<snippet id=" + "a," * 9,
    ],
)
def test_time_is_linear_in_hostile_input(scrap: str) -> None:
    def read(num_chars: int) -> None:
        read_answer("<answer>" + scrap * (num_chars // len(scrap)) + "</answer>")

    # Four times the text in four times the time; in sixteen times if it were quadratic.
    check_growth(read, 25_000, factor=4, below=8)
