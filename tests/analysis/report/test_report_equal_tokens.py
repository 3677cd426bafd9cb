"""Models, and curricula of both methods, compared where they had trained on as many tokens."""

import json
from pathlib import Path

import pandas as pd
import pytest
from reported_sweep import Drawing, write_reported_sweep

from analysis.report import write_report
from analysis.report.comparisons import EQUAL_TOKENS
from analysis.report.gathering import gather
from analysis.tables import texts

pytestmark = pytest.mark.usefixtures("one_figure")

TWO_MODELS = (
    "matrix.model=[builtin:tiny, package:smollm2-135m]",
    "matrix.thinking=[false]",
    "matrix.curriculum=[three_stage]",
    "contrasts=[]",
)


def write_tokens(folder: Path, tokens: dict[str, list[float]], *, by: str = "model") -> None:
    """Say how many tokens each model, or curriculum, had trained on at the ends of its stages."""
    plan = json.loads((folder / "plan.json").read_text())
    for trial in plan["trials"]:
        stages = next(cell for cell in plan["cells"] if cell["name"] == trial["cell"])["stages"]
        step, lines = 0, []
        for stage, number in zip(stages, tokens[trial[by]], strict=False):
            step += stage["steps"]
            metrics = {"train/completion_tokens": number}
            lines.append(json.dumps({"step": step, "time": 1e9, "metrics": metrics}) + "\n")
        (folder / "trials" / trial["trial_id"] / "metrics.jsonl").write_text("".join(lines))


@pytest.mark.parametrize(
    ("tiny", "smollm2", "stages", "is_measured"),
    [
        pytest.param([100, 200], [105, 390], ["format_basics"] * 2, True, id="an early end"),
        pytest.param([100, 200], [10, 190], ["progressive"] * 2, True, id="the latest ends"),
        pytest.param([100, 200], [30, 105], ["progressive", "format_basics"], True, id="crossed"),
        pytest.param([100, 200], [300, 400], ["progressive"] * 2, False, id="never"),
    ],
)
def test_the_latest_ends_of_equal_tokens_are_compared(
    tmp_path: Path, tiny: list[float], smollm2: list[float], stages: list[str], is_measured: bool
) -> None:
    folder = tmp_path / "s"
    write_reported_sweep(folder, Drawing(num_prompts=30), overrides=TWO_MODELS)
    write_tokens(folder, {"builtin:tiny": tiny, "package:smollm2-135m": smollm2})
    (row,) = gather(folder).tables["equal_tokens"]
    assert (row["level"], row["against"]) == ("smollm2-135m", "tiny")
    assert row["stages"] == stages
    (shown,) = texts(EQUAL_TOKENS, [row])
    assert shown["in"] == "no-think, three_stage, grpo, seed 0"
    assert ("pp [" in shown["difference, validation"]) is is_measured
    assert ("never within 10%" in shown["difference, validation"]) is not is_measured


@pytest.mark.parametrize(
    ("standard", "stages", "is_measured"),
    [
        pytest.param([190], ["rewards", "standard"], True, id="at-the-end"),
        pytest.param([50], ["gold", "standard"], True, id="after-gold"),
        pytest.param([100], ["rewards", "standard"], False, id="never"),
    ],
)
def test_a_warm_start_is_compared_with_what_had_as_many_tokens(
    tmp_path: Path, standard: list[float], stages: list[str], is_measured: bool
) -> None:
    folder = tmp_path / "s"
    curricula = "matrix.curriculum=[standard, warm_start, three_stage]"
    overrides = (curricula, "matrix.thinking=[false]", "matrix.seed=[0]", "contrasts=[curriculum]")
    write_reported_sweep(folder, Drawing(num_prompts=30), overrides=overrides)
    tokens = {"standard": standard, "warm_start": [50, 200], "three_stage": [1, 2, 3]}
    write_tokens(folder, tokens, by="curriculum")
    first, other = gather(folder).tables["equal_tokens"]
    assert (first["level"], first["against"]) == ("warm_start", "standard")
    assert first["stages"] == stages
    assert (first["problem"] is None) is is_measured
    assert first["within"] == "tiny, no-think, grpo, seed 0"
    # Two curricula of rewards alone stand in no row.
    assert (other["level"], other["against"]) == ("three_stage", "warm_start")


def test_equal_tokens_on_different_prompts_are_not_called_unequal(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write_reported_sweep(folder, Drawing(num_prompts=30), overrides=TWO_MODELS)
    write_tokens(folder, {"builtin:tiny": [100, 200], "package:smollm2-135m": [100, 200]})
    for path in sorted(folder.glob("trials/*/eval/stages"))[0].rglob("samples.parquet"):
        table = pd.read_parquet(path)
        table[table["prompt_id"] != "test-00000"].to_parquet(path, index=False)
    (row,) = gather(folder).tables["equal_tokens"]
    (shown,) = texts(EQUAL_TOKENS, [row])
    assert shown["difference, validation"] == "- (on different prompts)"


def test_both_pages_show_them_and_one_model_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write_reported_sweep(folder, Drawing(num_prompts=30), overrides=TWO_MODELS)
    write_tokens(folder, {"builtin:tiny": [1e6, 2e6], "package:smollm2-135m": [1e6, 2e6]})
    report = write_report(folder)
    for page in (report.html, report.markdown):
        text = page.read_text(encoding="utf-8")
        assert "At equal tokens" in text
        assert "2,000,000 / 2,000,000" in text
    write_reported_sweep(tmp_path / "one", Drawing(num_prompts=30), overrides=TWO_MODELS[1:])
    assert gather(tmp_path / "one").tables["equal_tokens"] == []


def test_a_trial_that_is_just_writing_a_line_is_read_up_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    write_reported_sweep(folder, Drawing(num_prompts=30), overrides=TWO_MODELS, unfinished=[1])
    write_tokens(folder, {"builtin:tiny": [1e6, 2e6], "package:smollm2-135m": [1e6, 2e6]})
    for path in folder.glob("trials/*/metrics.jsonl"):
        with path.open("a") as lines:
            lines.write('{"step": 99, "metr')
    (row,) = gather(folder).tables["equal_tokens"]
    assert row["tokens"] == [2e6, 2e6]
