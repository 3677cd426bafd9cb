import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import HEAVY, run_python
from processes import wait_until_ended

from strictune.doctor import CHECKS, Check, Finding, Place, examine
from strictune.doctor.examination import broken, ok, try_in_process, warning

PLACE = Place(Path("runs"), {})
CHILD = "child_of_the_doctor"


def found(*checks: Check) -> list[Finding]:
    return list(examine(checks, PLACE))


def test_findings_come_in_the_order_of_the_checks() -> None:
    last_is_done = threading.Event()

    def first(place: Place) -> Sequence[Finding]:
        assert last_is_done.wait(10)
        return [ok("a", "1"), warning("b", "2", cure="c")]

    def last(place: Place) -> Finding:
        last_is_done.set()
        return broken("c", "3", cure="d")

    assert [finding.name for finding in found(Check("x", first), Check("y", last))] == [
        "a",
        "b",
        "c",
    ]


def test_a_check_that_raises_is_broken_and_the_others_go_on() -> None:
    def fails(place: Place) -> Finding:
        raise ZeroDivisionError("by zero")

    first, second = found(Check("bad", fails), Check("good", lambda place: ok("good", "fine")))
    assert (first.name, first.status) == ("bad", "broken")
    assert "ZeroDivisionError: by zero" in first.found
    assert second == ok("good", "fine")


@pytest.mark.parametrize("late", ["broken", "warning"])
def test_a_check_that_hangs_is_left_behind(late: str) -> None:
    release, has_ended = threading.Event(), threading.Event()

    def hangs(place: Place) -> Finding:
        release.wait(60)
        has_ended.set()
        return ok("hangs", "too late")

    (finding,) = found(Check("hangs", hangs, limit_s=0.05, late=late))  # type: ignore[arg-type]
    assert not has_ended.is_set()
    release.set()
    assert finding.status == late
    assert finding.found == "gave no answer within 0.05 s"
    assert finding.cure


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that tries things, in a folder that processes can import from."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / f"{CHILD}.py"


def tried(child: Path, code: str, *, limit_s: float = 60.0) -> list[Finding]:
    child.write_text(textwrap.dedent(code))
    return try_in_process(CHILD, names=("one", "two"), limit_s=limit_s)


PREAMBLE = """
import os, signal, sys, time
from strictune.doctor.examination import ok
from strictune.doctor.examination import print_findings
def one():
    print("a library's remark")
    return ok("one", "fine")
def fail():
    raise RuntimeError("no  such\\nkernel")
"""


def test_a_process_says_what_it_found(child: Path) -> None:
    code = PREAMBLE + "print_findings({'two': fail, 'one': one}, cure='cure')"
    assert tried(child, code) == [
        ok("one", "fine"),
        broken("two", "RuntimeError: no such kernel", cure="cure"),
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV", id="crash"),
        pytest.param("os._exit(3)", "ended with code 3", id="exit"),
        pytest.param("raise ImportError('no torch')", "ImportError: no torch", id="error"),
    ],
)
def test_what_a_dead_process_did_not_say_is_broken(child: Path, end: str, reason: str) -> None:
    one, two = tried(child, PREAMBLE + f"print_findings({{'one': one}}, cure='')\n{end}")
    assert one == ok("one", "fine")
    assert (two.name, two.status) == ("two", "broken")
    assert reason in two.found
    assert two.cure == f"To see more of it: python -m {CHILD}"


def test_a_process_that_hangs_is_ended_with_its_children(child: Path) -> None:
    awake = child.with_name("awake")
    sleep = f"import time, pathlib; time.sleep(60); pathlib.Path({str(awake)!r}).touch()"
    code = PREAMBLE + (
        "import subprocess\n"
        f"children = subprocess.Popen([sys.executable, '-c', {sleep!r}])\n"
        "print_findings({'one': lambda: ok('one', str(children.pid))}, cure='')\n"
        "time.sleep(60)\n"
    )
    one, two = tried(child, code, limit_s=5.0)
    assert not awake.exists()
    assert one.status == "ok"
    assert two.found == "gave no answer within 5 s"
    wait_until_ended(int(one.found), seconds=10)


def test_a_process_that_never_begins_is_broken() -> None:
    (finding,) = try_in_process("strictune.doctor.nothing", names=("x",), limit_s=60)
    assert "No module named" in finding.found


def test_the_names_of_checks_are_distinct() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


def test_listing_the_checks_imports_nothing_heavy() -> None:
    done = run_python("-c", "import sys, strictune.doctor; print(*sys.modules)")
    assert not set(done.stdout.split()) & (HEAVY | {"bitsandbytes", "pandas"})
