"""Tables of made-up completions for the tests of audits."""

import pandas as pd

NUM_FAMILIES = 12
PROMPTS_PER_FAMILY = 5


def completions(
    strict: float,
    *,
    syntax: float | None = None,
    is_thinking_asked: bool = False,
    think: float = 0.0,
    num_characters: int = 100,
    num_values: float = 4.0,
    empty: float = 0.0,
    reward: float = 0.5,
    num_prompts: int = NUM_FAMILIES * PROMPTS_PER_FAMILY,
    **arm: str,
) -> pd.DataFrame:
    """Return one arm's completions; rates are shares of prompts, the first ones right."""

    def first(share: float) -> list[float]:
        # Families take turns, so that each has the same share.
        return [float(index // NUM_FAMILIES < share * PROMPTS_PER_FAMILY) for index in order]

    order = range(num_prompts)
    return pd.DataFrame(
        {
            **{f"arm/{column}": value for column, value in arm.items()},
            "prompt_id": [f"p{index:03}" for index in order],
            "family": [f"f{index % NUM_FAMILIES}" for index in order],
            "is_thinking_asked": is_thinking_asked,
            "is_thinking": [bool(value) for value in first(think)],
            "num_characters": num_characters,
            "num_values": num_values,
            "rung/syntax": first(strict if syntax is None else syntax),
            "rung/strict": first(strict),
            "reward/format": reward,
            "share/empty_document": first(empty),
        }
    )


def table(*arms: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(arms, ignore_index=True)
