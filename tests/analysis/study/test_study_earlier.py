"""How far the study of another model agrees with a study that began with its points."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from searched_sweep import drawn_weights, point, write_search

from analysis.study import findings_lines, write_findings
from analysis.study.earlier import (
    RankAgreement,
    agreement_sentence,
    earlier_study,
    rank_agreements,
)
from strictune.errors import SpecError
from strictune.records import read_studies

OTHER = ("trial.model=builtin:tiny_citing",)


def agreement(
    tmp_path: Path, theirs: list[float], ours: list[float], *, own_only: int = 0
) -> RankAgreement:
    """Write two studies whose first points have equal settings, and compare them."""
    weights = drawn_weights(len(theirs) + own_only)
    earlier = tmp_path / "earlier"
    points = [point(number, weights[number], values=[v]) for number, v in enumerate(theirs)]
    write_search(earlier, points)
    values = [*ours, *[0.5] * own_only]
    points = [point(number, weights[number], values=[v]) for number, v in enumerate(values)]
    overrides = (*OTHER, f"search.warm_start=[{earlier}]")
    sweep = write_search(tmp_path / "later", points, overrides=overrides)
    (found,) = rank_agreements(sweep, read_studies(tmp_path / "later")[0])
    return found


def test_points_that_rank_alike_say_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 20)
    theirs = [0.02 * k for k in range(20)]
    ours = [0.5 + 0.01 * k + noise[k] for k in range(20)]
    found = agreement(tmp_path, theirs, ours, own_only=3)
    assert found.num_points == 20
    assert 0.5 < found.low < found.rho < found.high <= 1
    text = agreement_sentence(found)
    assert "the study of builtin:tiny in" in text
    assert "over 20 shared points: 0." in text
    assert text.endswith("what was better there tended to be better here.")


def test_points_without_a_common_order_cannot_tell(tmp_path: Path) -> None:
    ours = np.random.default_rng(4).permutation(20) / 20
    found = agreement(tmp_path, [0.02 * k for k in range(20)], ours.tolist())
    assert found.low < 0 < found.high
    assert "cannot be told" in agreement_sentence(found)


@pytest.mark.parametrize(
    "ours", [[0.1 * k for k in range(7)], [0.5] * 12], ids=["few-points", "one-value"]
)
def test_too_little_cannot_tell(ours: list[float], tmp_path: Path) -> None:
    found = agreement(tmp_path, [0.01 * k for k in range(len(ours))], ours)
    assert found.num_points == len(ours)
    assert math.isnan(found.rho)
    expected = f"over {len(ours)} shared points: cannot be told; expected 8 or more"
    assert expected in agreement_sentence(found)


def test_the_findings_hold_the_correlation(tmp_path: Path) -> None:
    agreement(tmp_path, [0.02 * k for k in range(9)], [0.03 * k for k in range(9)])
    findings = write_findings(tmp_path / "later", num_resamples=10)
    (line,) = [line for line in findings_lines(findings) if "Rank correlation" in line]
    assert "over 9 shared points: 1.00 [1.00, 1.00]" in line
    assert "# The other model\n" in (tmp_path / "later" / "findings.md").read_text()
    (study,) = json.loads((tmp_path / "later" / "findings.json").read_text())["studies"]
    (found,) = study["agreements"]
    assert (found["model"], found["num_points"]) == ("builtin:tiny", 9)
    assert [found[name] for name in ("low", "rho", "high")] == pytest.approx([1, 1, 1])


def test_a_sweep_of_several_other_models_is_refused(tmp_path: Path) -> None:
    write_search(tmp_path / "s", [point(0)])
    document = json.loads((tmp_path / "s" / "studies.json").read_text())
    first = document["studies"][0]
    tail = first["cell"].partition(" ")[2]
    document["studies"].append({**first, "cell": f"other {tail}", "model": "other"})
    (tmp_path / "s" / "studies.json").write_text(json.dumps(document))
    assert earlier_study(str(tmp_path / "s"), first["cell"]).model == "builtin:tiny"
    with pytest.raises(SpecError, match="has studies of several other models"):
        earlier_study(str(tmp_path / "s"), f"third {tail}")
