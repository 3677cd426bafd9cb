"""The scorer against recorded completions and real schemas with independent labels."""

import copy
import json
import random
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import jsonschema
import pytest
from scoring_material import MAXIMA, fenced, reference_rows, total

from trainables.tasks.strict_json.completion import parse_completion
from trainables.tasks.strict_json.credit import Grader
from trainables.tasks.strict_json.criteria import CRITERIA
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.task import Score


class Scored(NamedTuple):
    row: dict[str, Any]
    score: Score


@pytest.fixture(scope="module")
def schemas() -> dict[str, str]:
    return {
        row["prompt"]: json.dumps(row["schema"]) for row in reference_rows("task_schemas.jsonl")
    }


@pytest.fixture(scope="module")
def recorded(schemas: dict[str, str]) -> list[Scored]:
    scorer = Scorer()
    return [
        Scored(
            row,
            scorer.score(
                row["completion"],
                schemas[row["prompt"]],
                thinking=row["thinking"],
                think_prefilled=False,
            ),
        )
        for row in reference_rows("completions.jsonl.gz")
    ]


def test_syntax_is_the_published_verdict_on_every_row(recorded: list[Scored]) -> None:
    assert all(score.criteria["syntax"] == row["published_valid"] for row, score in recorded)


def test_criteria_agree_with_the_independent_scorer(recorded: list[Scored]) -> None:
    differing = Counter(
        criterion
        for row, score in recorded
        for criterion in CRITERIA
        if score.criteria[criterion] != row["rungs"][criterion]
    )
    # One answer quotes a fence inside a string: its document goes on behind it.
    assert differing == {"parsed": 1}


def test_no_other_completion_reaches_a_strict_one(recorded: list[Scored]) -> None:
    totals: dict[tuple[str, bool], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for row, score in recorded:
        thinking = row["thinking"]
        sides = totals[row["prompt"], thinking]
        sides[score.criteria["strict"]].append(total(score, thinking=thinking))
        assert not score.criteria["strict"] or score.rewards == MAXIMA
    pairs = [(max(other), min(strict)) for other, strict in totals.values() if other and strict]
    assert len(pairs) > 100
    assert all(other < strict for other, strict in pairs)


def test_wrong_answers_are_told_apart(recorded: list[Scored]) -> None:
    credits = defaultdict(list)
    for row, score in recorded:
        if score.rewards["schema"] < 1.0:
            credits[row["prompt"]].append(score.rewards["schema"])
    num_distinct = {
        prompt: len(set(values)) for prompt, values in credits.items() if len(values) >= 10
    }
    too_few = [prompt for prompt, number in num_distinct.items() if number < 5]
    # Where ten answers make only three or four different mistakes, credit cannot differ more.
    assert len(num_distinct) > 150
    assert len(too_few) <= 3
    assert min(num_distinct.values()) >= 3


def test_a_grade_is_full_exactly_where_the_validator_accepts(recorded: list[Scored]) -> None:
    """Grading never contradicts the verdict, though it is reached in another way."""
    checked = 0
    for row in reference_rows("real_schemas.jsonl"):
        grader = Grader(row["schema"])
        for label in ("valid", "invalid"):
            for document in row[label]:
                grade = grader.grade(document)
                assert (grade.failures == []) == (label == "valid"), (row["id"], document)
                checked += 1
    assert checked > 2_900


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = [container for element in inner for container in _containers(element)]
    return [value, *nested] if isinstance(value, (dict, list)) else nested


def test_stuffing_a_recorded_wrong_answer_never_pays(
    recorded: list[Scored], schemas: dict[str, str]
) -> None:
    """A hundred keys or items in any one container: neither schema credit nor total rises."""
    scorer = Scorer()
    rng = random.Random(0)
    checked = 0
    for row, recorded_score in recorded:
        if not recorded_score.criteria["parsed"] or recorded_score.criteria["conformant"]:
            continue
        document = parse_completion(row["completion"], think_prefilled=False).document
        # Written anew: of equal keys only the last is left.
        before = scorer.score(
            fenced(document), schemas[row["prompt"]], thinking=False, think_prefilled=False
        )
        container = rng.choice(_containers(document) or [[]])
        if isinstance(container, dict):
            container.update({f"filler_{number}": "x" for number in range(100)})
        else:
            container.extend(copy.deepcopy(container[:1] * 100))
        after = scorer.score(
            fenced(document), schemas[row["prompt"]], thinking=False, think_prefilled=False
        )
        # Where a lack of keys was all that was wrong, a hundred of them put it right.
        if not after.criteria["conformant"]:
            assert after.rewards["schema"] <= before.rewards["schema"], row
            assert total(after) <= total(before), row
            checked += 1
    assert checked > 3_500


@pytest.mark.parametrize(
    "indent", [pytest.param(None, id="minified"), pytest.param(4, id="indented")]
)
def test_real_instances_get_their_labels(indent: int | None) -> None:
    scorer = Scorer()
    maximum = sum(StrictJsonSettings().default_weights(False).values())
    rows = reference_rows("real_schemas.jsonl")
    for row in rows:
        schema = json.dumps(row["schema"])
        for label in ("valid", "invalid"):
            for document in row[label]:
                separators = (",", ":") if indent is None else None
                text = json.dumps(document, indent=indent, separators=separators)
                score = scorer.score(fenced(text), schema, thinking=False, think_prefilled=False)
                if label == "valid":
                    assert score.criteria["strict"], (row["id"], text)
                    assert score.rewards == MAXIMA
                else:
                    assert not score.criteria["conformant"], (row["id"], text)
                    assert total(score) < maximum
    assert len(rows) == 849


def test_verdicts_differ_from_jsonschema_only_by_format() -> None:
    """The slower library accepts formats that it does not know; nothing else differs."""
    scorer = Scorer()
    differing = []
    for row in reference_rows("real_schemas.jsonl"):
        schema = row["schema"]
        validator = jsonschema.validators.validator_for(schema)(
            schema, format_checker=jsonschema.FormatChecker()
        )
        for document in row["valid"] + row["invalid"]:
            score = scorer.score(
                fenced(json.dumps(document)),
                json.dumps(schema),
                thinking=False,
                think_prefilled=False,
            )
            if validator.is_valid(document) != score.criteria["conformant"]:
                differing.append(score.error_class)
    assert set(differing) <= {"format_mismatch", "ok"}
    assert len(differing) < 25
