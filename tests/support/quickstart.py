"""The quickstart's file, crossed with curricula and with one seed: four cells and trials."""

from pathlib import Path

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"
CROSSED = (
    "matrix.curriculum=[standard, three_stage]",
    "matrix.seed=[0]",
    "contrasts=[thinking, curriculum]",
)
