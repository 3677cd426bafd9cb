from pathlib import Path

import pytest
from bench_rollouts import MODELS, ROOT, bare_settings
from trl import GRPOConfig

from strictune.config import expand, load_sweep


@pytest.mark.parametrize("file", [file for file, _ in MODELS.values()])
def test_trl_knows_the_settings_of_the_bare_script(tmp_path: Path, file: str) -> None:
    trial = expand(load_sweep(ROOT / "search_spaces" / f"{file}.yaml", []))[0]
    settings = bare_settings(trial, tmp_path, has_bfloat16=False)
    arguments = GRPOConfig(report_to="none", **settings)
    assert arguments.max_steps == trial.grpo.max_steps
    assert arguments.learning_rate == trial.grpo.learning_rate
