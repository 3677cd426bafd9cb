"""What third-party libraries print where models are loaded."""

import logging

import pytest

import trainables

OPS = logging.getLogger("bitsandbytes.backends.cpu.ops")


def test_only_the_advice_to_install_a_kernel_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    assert trainables.__doc__
    OPS.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please", "no")
    OPS.warning("A compiled library is missing.")
    assert caplog.messages == ["A compiled library is missing."]
