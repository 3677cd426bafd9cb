"""Rebuild ``builtin:tiny_citing``: ``python -m trainables.tiny.citing [--out DIR]``.

Trains tokenizer and model on made-up rows of the refiner, measures it on the validation split
with the offline judge, and refuses a model whose rate on the task's primary criterion lies outside
the range that leaves something to learn.
"""

import sys
from pathlib import Path

from strictune.config import EvaluationSpec
from trainables.tasks.refiner.data import build_split
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.task import Refiner
from trainables.tiny.building import example_texts, measure_model, run_build, save_model
from trainables.tiny.citing.card import card_text
from trainables.tiny.citing.examples import draw_citing_example
from trainables.tiny.tokenizer import train_tokenizer
from trainables.tiny.warm_up import WarmUp, new_model, warm_up

DATA = RefinerSettings(kind="refiner", data_seed=1, num_train_rows=40_000)
"""Not the seed that sweeps train on by default; sources of evaluation rows are never seen."""
SATISFIED_RANGE = (0.10, 0.60)
"""Share of satisfied answers that a sweep can start from; nearer to the ends there is little
to see."""
PHASES = (
    WarmUp(num_steps=700, sloppy_frac=0.5, sloppy_from=0.7, tokens_per_batch=4096),
    # The decayed rates of the first phase let the flaws be seen, but hardly learned.
    WarmUp(
        num_steps=120, sloppy_frac=0.6, sloppy_from=0.0, seed=1, peak=0.3, tokens_per_batch=4096
    ),
)
EVALUATION = EvaluationSpec(
    samples_per_prompt=1, temperature=1.0, top_p=1.0, max_new_tokens=120, batch_size=120
)


def build(out: Path) -> bool:
    """Train, measure and write the model; return whether it is fit for the quickstart."""
    prompts = build_split("train", DATA)
    tokenizer = train_tokenizer(example_texts(prompts, PHASES[0], draw_citing_example))
    model = new_model(tokenizer)
    efforts = [
        warm_up(model, tokenizer, prompts, phase, draw=draw_citing_example) for phase in PHASES
    ]
    save_model(model, tokenizer, out)
    task = Refiner(RefinerSettings(kind="refiner"))
    summary = measure_model(out, task, thinking=False, sampling=EVALUATION)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    card = card_text(PHASES, efforts, summary, num_parameters=parameters)
    (out / "README.md").write_text(card, encoding="utf-8")
    low, high = SATISFIED_RANGE
    return bool(low <= summary["criteria"]["satisfied"] <= high)


def main() -> int:
    """Run the command; 0 if the model is fit for the quickstart."""
    return run_build(
        build,
        model="builtin:tiny_citing",
        module="trainables.tiny.citing",
        about=__doc__,
        criterion="satisfied",
        allowed=SATISFIED_RANGE,
    )


if __name__ == "__main__":
    sys.exit(main())
