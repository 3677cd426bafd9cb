"""``strictune audit``: arms from columns, leakage, filters, output, and what it refuses."""

import json
from pathlib import Path

import pytest
from command_line import HEAVY, as_json, imported_by, printed, refusal, write_jsonl

NUM_PROMPTS = 12
ITEMS = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array"}}}
FLAT = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


def fenced(document: object) -> str:
    return f"```json\n{json.dumps(document)}\n```"


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    """Every other prompt asks for an array; families of two."""
    rows = (
        {"prompt": f"Write {n}.", "schema": ITEMS if n % 2 else FLAT, "group": f"g{n // 2}"}
        for n in range(NUM_PROMPTS)
    )
    return write_jsonl(tmp_path / "schemas.jsonl", *rows)


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    """Before: right but for two; after: always parses, arrays gone, never thinks."""
    rows = []
    for index in range(NUM_PROMPTS):
        right = {"items": [index]} if index % 2 else {"a": index}
        prompt = {"prompt": f"Write {index}.", "thinking": False}
        rows += [
            {**prompt, "run": "before", "completion": fenced(right) if index > 1 else "No."},
            {**prompt, "run": "after", "completion": fenced({"a": index})},
            {**prompt, "run": "void", "completion": fenced({}), "thinking": True},
        ]
    return write_jsonl(tmp_path / "completions.jsonl", *rows)


def test_arms_verdicts_and_signs_come_from_the_columns(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    options = ("--by", "run", "--baseline", "run=before", "--family", "group")
    found = as_json(capsys, "audit", completions, "--schemas", schemas, *options)
    arms = {arm["arm"]: arm for arm in found["arms"]}
    assert (found["num_prompts"], found["num_families"]) == (12, 6)
    assert [arms[name]["counts"]["strict"] for name in ("before", "after", "void")] == [10, 6, 0]
    assert arms["before"]["is_baseline"] is True
    assert arms["before"]["means"]["share/array_left_out"] == 0.0
    after, void = arms["after"]["means"], arms["void"]["means"]
    assert (after["share/empty_document"], after["share/array_left_out"]) == (0.0, 1.0)
    assert (void["share/empty_document"], void["num_values"]) == (1.0, 0.0)
    assert [one["verdict"]["word"] for one in found["comparisons"]] == [
        "no clear difference",
        "worse",
    ]
    kinds = {(sign["arm"], sign["kind"]) for sign in found["signs"]}
    assert {("after", "array_left_out"), ("void", "low_think_rate")} <= kinds


def test_leakage_tells_prompts_from_skeletons(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    renamed = {"type": "object", "required": ["b"], "properties": {"b": {"type": "integer"}}}
    rows = ({"prompt": text, "schema": renamed} for text in ("  write   3. ", "Something else."))
    train = write_jsonl(tmp_path / "train.jsonl", *rows)
    found = as_json(capsys, "audit", completions, "--schemas", schemas, "--train", train)
    assert found["leaks"] == [
        {"kind": "prompt", "num_prompts": 12, "num_in_training": 1},
        {"kind": "skeleton", "num_prompts": 12, "num_in_training": 6},
    ]


def test_arms_are_kept_as_runs_for_compare(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    args = [completions, "--schemas", schemas, "--by", "run", "--baseline", "run=before"]
    found = as_json(capsys, "audit", *args, "--family", "group", "--out", runs)
    (baseline,) = (runs / "baselines").iterdir()
    trial = next(path for path in (runs / "trials").iterdir() if path.name.startswith("after"))
    compared = as_json(capsys, "compare", trial, baseline)
    assert compared["deltas"] == found["comparisons"][0]["deltas"]
    assert f"--out {runs}: is not empty" in refusal(capsys, "audit", *args, "--out", runs)


def test_without_schemas_in_training_only_prompts_are_looked_up(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", {"prompt": "Write 3."})
    found = as_json(capsys, "audit", completions, "--schemas", schemas, "--train", train)
    assert [leak["kind"] for leak in found["leaks"]] == ["prompt"]


def test_only_keeps_values_of_either_file(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    options = ("--only", "run=before,after", "--only", "group=g0")
    found = as_json(capsys, "audit", completions, "--schemas", schemas, *options)
    assert (found["num_completions"], found["num_prompts"]) == (4, 2)


def test_tables_and_sentences_for_people(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path
) -> None:
    options = ["--schemas", schemas, "--by", "run", "--baseline", "run=before"]
    out = printed(capsys, "audit", completions, *options)
    assert "before (baseline)" in out
    assert "36 completions in 3 arms, on 12 different prompts of 2 families." in out
    assert "void: sign of low_think_rate" in out


def test_half_a_surrogate_pair_in_an_arm_is_shown_as_its_escape(
    capsys: pytest.CaptureFixture[str], schemas: Path, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"Write {index}.", "completion": fenced({"a": index}), "arm": arm, "set": arm}
        for index in range(4)
        for arm in ("a\ud83d", "\udc00")
    ]
    path = write_jsonl(tmp_path / "arms.jsonl", *rows)
    options = ["--by", "arm", "--family", "set", "--contrast", "arm"]
    found = as_json(capsys, "audit", path, "--schemas", schemas, *options)
    assert [arm["arm"] for arm in found["arms"]] == ["a\\ud83d", "\\udc00"]
    assert "a\\ud83d" in printed(capsys, "audit", path, "--schemas", schemas, *options)


def test_two_prompts_show_no_difference_beyond_the_possible(
    capsys: pytest.CaptureFixture[str], schemas: Path, tmp_path: Path
) -> None:
    """A prompt that turns right and one that stays wrong: t with one degree of freedom."""
    rows = [
        {"prompt": f"Write {index}.", "run": run, "completion": fenced(document)}
        for index, before, after in ((0, {}, {"a": 0}), (3, {}, {}))
        for run, document in (("before", before), ("after", after))
    ]
    options = ["--by", "run", "--baseline", "run=before", "--family", "group"]
    path = write_jsonl(tmp_path / "two.jsonl", *rows)
    found = as_json(capsys, "audit", path, "--schemas", schemas, *options)
    (compared,) = found["comparisons"]
    assert compared["verdict"]["detectable_pp"] is None
    shares = [value for name, value in compared["measures"].items() if name.startswith("share/")]
    points = [
        *(bound for effect in compared["deltas"].values() for bound in list(effect.values())[1:]),
        *(100 * share[bound] for share in shares for bound in ("low", "high") if share[bound]),
    ]
    bounds = [point for point in points if point is not None]
    assert (min(bounds), max(bounds)) == (-100.0, 100.0)
    out = printed(capsys, "audit", path, "--schemas", schemas, *options)
    assert (
        "strict +50.0 pp [-100.0, 100.0]: no clear difference (p = 0.500); too few families" in out
    )


def test_documents_of_any_depth_are_counted(
    capsys: pytest.CaptureFixture[str], schemas: Path, tmp_path: Path
) -> None:
    deep = "[" * 450 + "1" + "]" * 450
    rows = [{"prompt": "Write 1.", "completion": f"```json\n{deep}\n```"}]
    found = as_json(
        capsys, "audit", write_jsonl(tmp_path / "deep.jsonl", *rows), "--schemas", schemas
    )
    assert found["arms"][0]["means"]["num_values"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--baseline", "run"], "--baseline run: expected COLUMN=VALUE", id="no-value"),
        pytest.param(["--only", "run="], "--only run=: expected COLUMN=VALUE", id="empty-value"),
        pytest.param(["--by", "arm"], "field 'arm' is missing", id="no-such-column"),
        pytest.param(
            ["--only", "run=later"], "holds no completion with run=later.", id="nothing-kept"
        ),
        pytest.param(
            ["--criterion", "x"], "--criterion x: expected one of syntax, parsed", id="criterion"
        ),
        pytest.param(
            ["--by", "run", "--baseline", "model=a"],
            "--baseline model=a: model does not name the arms, run does. Add it to --by.",
            id="baseline-column-not-in-by",
        ),
        pytest.param(
            ["--by", "run", "--contrast", "mode"],
            "--contrast mode: does not name the arms, run does. Add it to --by.",
            id="contrast-column-not-in-by",
        ),
        pytest.param(
            ["--by", "run", "--baseline", "run=before", "--contrast", "run"],
            "--contrast run: arms are compared with their baselines by this column already.",
            id="contrast-on-the-baseline-column",
        ),
    ],
)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str],
    completions: Path,
    schemas: Path,
    options: list[str],
    message: str,
) -> None:
    assert message in refusal(capsys, "audit", completions, "--schemas", schemas, *options)


def test_another_task_is_sent_to_the_verb_that_scores_it(
    capsys: pytest.CaptureFixture[str], completions: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep.yaml"
    rows = write_jsonl(tmp_path / "rows.jsonl", {"prompt": "x", "answer": 1})
    for schemas, problem in ((sweep, "expected JSONL"), (rows, "field 'schema' is missing")):
        [line] = refusal(capsys, "audit", completions, "--schemas", schemas).splitlines()
        assert problem in line and "strictune score COMPLETIONS --task SWEEP.yaml" in line


def test_training_rows_need_a_prompt_and_schemas_in_all_or_none(
    capsys: pytest.CaptureFixture[str], completions: Path, schemas: Path, tmp_path: Path
) -> None:
    options = [completions, "--schemas", schemas, "--train"]
    mixed = write_jsonl(tmp_path / "mixed.jsonl", {"prompt": "x", "schema": FLAT}, {"prompt": "y"})
    assert "1 of 2 rows have a schema" in refusal(capsys, "audit", *options, mixed)
    blind = write_jsonl(tmp_path / "blind.jsonl", {"text": "x"})
    assert "blind.jsonl:1: field 'prompt' is missing" in refusal(capsys, "audit", *options, blind)
    empty = write_jsonl(tmp_path / "empty.jsonl")
    assert "holds no row" in refusal(capsys, "audit", *options, empty)


def test_an_audit_needs_no_torch(completions: Path, schemas: Path) -> None:
    assert not imported_by("audit", completions, "--schemas", schemas) & HEAVY
