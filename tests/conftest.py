"""What all tests share: few figures where none is looked at, and no limits in seconds."""

import os

import hypothesis
import pytest

# As in the processes of trials: TRL would import MLflow into each that tests start.
os.environ["DISABLE_MLFLOW_INTEGRATION"] = "TRUE"

# A slow machine is no fault of an example.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports draw the first of their figures alone: all of them take seconds."""
    # Imported here: pandas and altair are not for tests that need neither.
    from analysis.report import catalogue

    monkeypatch.setattr(catalogue, "FIGURES", catalogue.FIGURES[:1])
