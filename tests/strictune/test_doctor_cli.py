import json
from pathlib import Path

import pytest

from strictune.cli import doctor, main
from strictune.doctor import Check, Finding, Place
from strictune.doctor.examination import broken, ok, warning

FINE = ok("python", "3.11.7")
OFFLINE = warning("model hub", "offline", cure="Check the network.")
BAD = broken("nf4", "no kernel", cure="Set trial.quantization to none.")


def visit(monkeypatch: pytest.MonkeyPatch, *findings: Finding, args: tuple[str, ...] = ()) -> int:
    checks = tuple(Check(f.name, lambda place, finding=f: finding) for f in findings)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    return main(["doctor", *args])


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        pytest.param((FINE,), 0, "1 ok, 0 warnings, nothing broken.", id="ok"),
        pytest.param((FINE, OFFLINE), 0, "1 ok, 1 warning, nothing broken.", id="warning"),
        pytest.param((FINE, OFFLINE, BAD), 1, "1 ok, 1 warning, 1 broken.", id="broken"),
    ],
)
def test_findings_are_listed_with_their_cures_and_only_what_is_broken_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: tuple[Finding, ...],
    code: int,
    summary: str,
) -> None:
    assert visit(monkeypatch, *findings) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == summary
    expected = []
    for finding in findings:
        expected.append([finding.status, *finding.name.split(), *finding.found.split()])
        expected += [["cure", *finding.cure.split()]] if finding.cure else []
    assert [line.split() for line in lines[: len(expected)]] == expected


def test_json_holds_every_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visit(monkeypatch, FINE, OFFLINE, BAD, args=("--json",)) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["num_by_status"] == {"ok": 1, "warning": 1, "broken": 1}
    assert document["findings"][0] == {
        "name": "python",
        "status": "ok",
        "found": "3.11.7",
        "cure": None,
    }
    assert [finding["name"] for finding in document["findings"]] == ["python", "model hub", "nf4"]


def test_the_folder_of_the_results_is_told_to_the_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[Place] = []

    def listen(place: Place) -> Finding:
        told.append(place)
        return FINE

    monkeypatch.setattr(doctor, "CHECKS", (Check("x", listen),))
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    assert told[0].out == tmp_path
