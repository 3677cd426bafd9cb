"""The variants of a matrix: named settings, crossed like any other key."""

from pathlib import Path

import pytest
import yaml

from strictune.config import expand, load_sweep
from strictune.errors import SpecError
from strictune.plan import plan_document

TRIAL = {"model": "builtin:tiny", "grpo": {"max_steps": 4}}


def written(path: Path, **blocks: object) -> Path:
    content = {"name": "s", "task": {"kind": "strict_json"}, "trial": TRIAL} | blocks
    file = path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_each_variant_is_a_cell_with_its_own_settings(tmp_path: Path) -> None:
    variants = {"default": {}, "high_kl": {"grpo.beta": 0.5, "lora.r": 4}}
    trials = expand(load_sweep(written(tmp_path, matrix={"variant": variants, "seed": [0, 1]})))
    assert [(trial.cell, trial.seed, trial.grpo.beta, trial.lora.r) for trial in trials] == [
        ("tiny · no-think · standard · default", 0, 0.0, 16),
        ("tiny · no-think · standard · default", 1, 0.0, 16),
        ("tiny · no-think · standard · high-kl", 0, 0.5, 4),
        ("tiny · no-think · standard · high-kl", 1, 0.5, 4),
    ]
    assert trials[2].trial_id.startswith("tiny-no-think-standard-high-kl-s0-")


def test_a_variant_without_settings_trains_what_the_plain_cell_trains(tmp_path: Path) -> None:
    [plain] = expand(load_sweep(written(tmp_path)))
    [variant] = expand(load_sweep(written(tmp_path, matrix={"variant": {"default": {}}})))
    assert variant.fingerprint == plain.fingerprint
    assert variant.trial_id != plain.trial_id


def test_variants_can_be_contrasted(tmp_path: Path) -> None:
    variants = {"default": {}, "high_kl": {"grpo.beta": 0.5}}
    sweep = load_sweep(written(tmp_path, matrix={"variant": variants}, contrasts=["variant"]))
    plan = plan_document(sweep, expand(sweep))
    assert plan["contrasts"] == ["variant"]
    assert [trial["variant"] for trial in plan["trials"]] == ["default", "high_kl"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grpo.beta": -1}, "matrix.variant.bad.grpo.beta is wrong"),
        ({"grpo.betta": 1}, "matrix.variant.bad.grpo.betta is wrong"),
        ({"rewards": {"formt": 1}}, "matrix.variant.bad.rewards.formt is no reward component"),
    ],
)
def test_a_wrong_setting_is_named_where_it_stands(
    tmp_path: Path, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(written(tmp_path, matrix={"variant": {"bad": settings}}))
    assert problem in str(caught.value)
