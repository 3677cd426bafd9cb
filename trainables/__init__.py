"""One trial: a spec goes in, metrics and artifacts come out; runs without Ray."""

import logging


def _is_wanted(record: logging.LogRecord) -> bool:
    """Drop the advice to install a kernel that quantized weights are kept from on CPUs.

    bitsandbytes 0.50 gives it when it is imported, which PEFT does, on CPUs with AVX512-BF16; see
    ``models._keep_weights_unpacked``.
    """
    return not record.getMessage().startswith("Failed to load CPU gemm_4bit_forward")


# Here, as every process that loads a model imports this package before PEFT.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_wanted)
