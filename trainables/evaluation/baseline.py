"""The untrained model's result, measured once for each baseline key and shared.

Results live in the user's cache directory under the key's digest and the number of samples,
and are copied into every sweep that needs them.
"""

import logging
import shutil
from pathlib import Path

from filelock import FileLock

from strictune.config import TrialSpec, dump_yaml
from trainables.evaluation.keys import ComparisonKeys, comparison_keys
from trainables.evaluation.suite import evaluate_suite, select_suite, write_result
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.packaged import cache_folder
from trainables.provenance import lock_document
from trainables.records import TrialRecords, write_json
from trainables.tasks import load_task

__all__ = ["measure_baseline"]

logger = logging.getLogger(__name__)


def measure_baseline(spec: TrialSpec, baselines: Path) -> Path:
    """Put the baseline of a trial's cell into ``baselines/<key digest>/`` and return that folder.

    Two processes that need the same baseline measure it once: the second waits.
    """
    keys = comparison_keys(spec)
    num_samples = spec.evaluation.samples_per_prompt
    cached = cache_folder() / "baselines" / f"{keys.baseline_digest}-n{num_samples}"
    cached.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cached.with_suffix(".lock")):
        if not (cached / "outcome.json").exists():
            shutil.rmtree(cached, ignore_errors=True)
            _measure(spec, keys, cached)
    target = baselines / keys.baseline_digest
    shutil.copytree(cached, target, dirs_exist_ok=True)
    return target


def _measure(spec: TrialSpec, keys: ComparisonKeys, folder: Path) -> None:
    records = TrialRecords(folder)
    task = load_task(spec.task)
    source = resolve_model(spec.model)
    split = spec.evaluation.final_split
    result = evaluate_suite(
        load_base_model(source, quantization=spec.quantization, dtype=spec.dtype),
        load_tokenizer(source),
        task=task,
        prompts=select_suite(
            task, split, per_difficulty=spec.evaluation.num_prompts_per_difficulty
        ),
        split=split,
        thinking=spec.thinking,
        spec=spec.evaluation,
        max_new_tokens=spec.max_evaluation_tokens,
    )
    (folder / "trial.yaml").write_text(dump_yaml(spec), encoding="utf-8")
    write_json(folder / "lock.json", lock_document(**keys.document(), seed=spec.evaluation.seed))
    write_result(result, folder / "eval" / split)
    records.log(0, result.metrics("final"))
    records.commit(step=0, stage=0, checkpoint=None)
    records.end("FINISHED")
    logger.info("baseline=%s measured in %.0f s", keys.baseline_digest, result.seconds)
