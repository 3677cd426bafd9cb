import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import HEAVY, ROOT, imported_by, refusal, run_python

from strictune import __version__
from strictune.cli import VERBS, main, make_parser
from strictune.cli import run as run_verb
from strictune.cli.terminal import print_json

QUICKSTART = str(ROOT / "search_spaces" / "quickstart.yaml")
UNHELPFUL = HEAVY | {"pydantic", "pandas", "scipy", "altair", "sqlalchemy", "strictune.config"}
"""What no help screen needs, and what would take most of its time."""


def test_help_lists_every_verb_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    for verb in VERBS:
        assert any(line.split()[:1] == [verb.name] for line in lines)
        assert f"  {verb.example}" in lines


def test_every_verb_has_its_own_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit):
            main([verb.name, "--help"])
        out = capsys.readouterr().out
        assert out.startswith(f"usage: strictune {verb.name}")
        assert verb.example in out


def test_no_verb_prints_help_as_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "verbs" in capsys.readouterr().out


def test_an_unknown_verb_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plna"])
    assert stopped.value.code == 2
    assert "plna" in capsys.readouterr().err


def test_a_parser_may_be_used_twice() -> None:
    parser = make_parser()
    for name in ("a", "b"):
        assert parser.parse_args(["stop", name]).sweep == name


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"strictune {__version__}\n"


def test_errors_are_one_message_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["plan", QUICKSTART, "--set", "trial.grpo.bta=1", "--set", "trial.lora.r=0"])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: --set ") for line in lines)


def test_a_folder_that_cannot_be_made_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["run", QUICKSTART, "--out", str(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path / 'file' / 'quickstart'}: Not a directory. ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        pytest.param(
            OSError(28, "No space left", "/a"), 2, "error: /a: No space left. ", id="path"
        ),
        pytest.param(OSError("no answer"), 2, "error: OSError: no answer\n", id="no-path"),
        pytest.param(KeyboardInterrupt(), 130, "interrupted\n", id="ctrl-c"),
    ],
)
def test_what_ends_a_verb_from_outside_is_one_line_and_no_failed_trial(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("strictune.config.load_sweep", fail)
    assert main(["plan", QUICKSTART]) == code
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [["schema"], ["plan", QUICKSTART]], ids=["schema", "plan"])
def test_light_verbs_start_without_torch_ray_or_pandas(command: list[str]) -> None:
    assert not (HEAVY | {"pandas", "scipy"}) & imported_by(*command)


def test_the_help_screen_imports_no_verb_and_no_configuration() -> None:
    found = imported_by("--help")
    assert not found & UNHELPFUL
    assert not {name for name in found if name.startswith("strictune.cli.")}


def test_the_help_of_a_verb_imports_no_configuration() -> None:
    code = f"""
import sys
from strictune.cli import VERBS, main, make_parser
for verb in VERBS:
    try:
        main([verb.name, "--help"])
    except SystemExit:
        found = {set(UNHELPFUL)!r} & sys.modules.keys()
        assert not found, (verb.name, found)
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "verb", [["watch"], ["stop"], ["report"], ["weights", "replay"], ["track", "replay"]], ids=str
)
def test_a_folder_that_is_no_sweep_is_refused_and_every_place_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: list[str]
) -> None:
    message = refusal(capsys, *verb, "quikstart", "--out", tmp_path)
    assert f"neither quikstart nor {tmp_path}/quikstart is the folder of a sweep" in message


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m strictune plan {QUICKSTART} --json | head -n 1"
    code = f"import os; os.execvp('bash', ['bash', '-c', {command!r}])"
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_the_printed_schema_accepts_every_shipped_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for path in (ROOT / "search_spaces").glob("*.yaml"):
        validator.validate(yaml.safe_load(path.read_text()))
    assert not validator.is_valid({"name": "x"})


ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environ", [ASCII, POSIX], ids=["ascii", "posix-locale"])
def test_what_a_terminal_cannot_show_is_replaced(environ: dict[str, str]) -> None:
    done = run_python("-m", "strictune", "plan", QUICKSTART, **environ)
    assert done.returncode == 0, done.stderr
    assert "tiny ? no-think ? standard" in done.stdout


def test_what_a_terminal_cannot_show_is_escaped_in_json() -> None:
    document = run_python("-m", "strictune", "plan", QUICKSTART, "--json", **ASCII)
    assert "tiny \\u00b7 no-think" in document.stdout
    assert json.loads(document.stdout)["cells"][0]["name"] == "tiny · no-think · standard"


def test_errors_with_characters_that_a_terminal_cannot_show_are_one_message() -> None:
    done = run_python("-m", "strictune", "plan", "é.yaml", PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ?.yaml: ")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_documents_keep_characters_of_every_kind(
    encoding: str,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    sys.stdout.reconfigure(encoding=encoding)  # type: ignore[union-attr]
    print_json({"text": "é · \U0001f600 \ud83d"})
    sys.stdout.flush()
    shown = capsysbinary.readouterr().out
    assert json.loads(shown) == {"text": "é · \U0001f600 \ud83d"}


def test_a_sweep_outlives_the_reader_of_its_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        run_verb._write("first", stream)
        run_verb._write("second", stream)
