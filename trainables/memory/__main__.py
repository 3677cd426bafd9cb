"""``python -m trainables.memory FOLDER``: the probe's process, see ``probe.measure_trial``.

It reads ``trial.yaml`` in the folder, writes ``probe.json`` there, and ends when its standard
input is closed, so that it does not outlive the process that waits for it.
"""

import os
import sys
import threading
from pathlib import Path

__all__: list[str] = []


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _main(folder: Path) -> int:
    # Imported once the thread watches: the parent may end during the import.
    from transformers import logging as transformers_logging

    from strictune.config import load_trial
    from trainables.memory.probe import run_in_this_process

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return run_in_this_process(folder, load_trial(folder / "trial.yaml"))


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(_main(Path(sys.argv[1])))
