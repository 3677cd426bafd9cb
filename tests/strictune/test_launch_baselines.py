"""Which baselines a sweep needs: one for all cells whose untrained model says the same."""

from pathlib import Path

import yaml

from strictune.config import expand, load_sweep
from strictune.launch.baselines import _one_for_each_baseline


def test_variants_that_only_pay_otherwise_share_a_baseline(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    words = {"kind": "openai", "base_url": "http://a/v1", "model": "m"}
    variants = {
        "default": {},
        "heavy": {"task.reward.citation_weight": 1.0},
        "other_judge": {"task.judge": words},
        "fewer_rows": {"task.num_train_rows": 10, "grpo.beta": 0.1},
        "no_nf4": {"quantization": "none"},
    }
    content = {
        "name": "s",
        "task": {"kind": "refiner", "holdout_judge": {"kind": "lexical"}},
        "trial": {"model": "builtin:tiny", "grpo": {"max_steps": 4}},
        "matrix": {"variant": variants, "seed": [0, 1]},
    }
    file.write_text(yaml.safe_dump(content))
    needed = _one_for_each_baseline(expand(load_sweep(file)))
    assert [(trial.variant, trial.seed) for trial in needed] == [("default", 0), ("no_nf4", 0)]
