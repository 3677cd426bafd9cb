import os
import subprocess
import sys

import pytest

from trainables.devices import allocator_environment

LEGACY, CURRENT = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
GROWING = "expandable_segments:True"
ASK_TORCH = "import torch; print(torch._C._accelerator_getAllocatorSettings())"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        pytest.param({}, {LEGACY: GROWING}, id="nothing-set"),
        pytest.param({LEGACY: ""}, {LEGACY: GROWING}, id="set-to-nothing"),
        pytest.param(
            {LEGACY: "max_split_size_mb:64"},
            {LEGACY: f"max_split_size_mb:64,{GROWING}"},
            id="extended",
        ),
        pytest.param(
            {CURRENT: "max_split_size_mb:64"},
            {CURRENT: f"max_split_size_mb:64,{GROWING}"},
            id="extended-under-its-own-name",
        ),
        pytest.param(
            {CURRENT: "a:1", LEGACY: "max_split_size_mb:64"},
            {LEGACY: f"max_split_size_mb:64,{GROWING}"},
            id="the-one-that-torch-reads",
        ),
        pytest.param({LEGACY: "expandable_segments:False"}, {}, id="refused-by-the-user"),
        pytest.param({CURRENT: f"a:1,{GROWING}"}, {}, id="there-already"),
    ],
)
def test_what_the_user_set_for_the_allocator_is_extended_and_wins(
    given: dict[str, str], added: dict[str, str]
) -> None:
    assert allocator_environment(given) == added


@pytest.mark.parametrize(
    "given",
    [{CURRENT: "max_split_size_mb:64"}, {LEGACY: "max_split_size_mb:64", CURRENT: "no:thing"}],
)
def test_torch_reads_what_a_process_starts_with(given: dict[str, str]) -> None:
    own = {name: value for name, value in os.environ.items() if name not in (LEGACY, CURRENT)}
    environment = own | given | allocator_environment(given)
    command = [sys.executable, "-c", ASK_TORCH]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip().split(",")[-1] == GROWING
    assert "max_split_size_mb:64" in said.stdout
