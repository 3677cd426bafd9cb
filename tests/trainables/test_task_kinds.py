"""Kinds of task as folders: how they are found, and what identifies their code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from trainables import tasks
from trainables.tasks.task import Task

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
from typing import ClassVar, Literal
from trainables.tasks.base_settings import BaseSettings, Component
from trainables.tasks.task import Task

class ParentSettings(BaseSettings):
    criteria: ClassVar = ("right",)
    reward_table: ClassVar = {"right": Component(1.0, is_decisive=True)}
    kind: Literal["parent"] = "parent"

class Parent(Task):
    settings: ParentSettings
"""
CHILD = """
from typing import Literal
from trainables.tasks.parent.task import Parent, ParentSettings

class ChildSettings(ParentSettings):
    kind: Literal["child"] = "child"

class Child(Parent):
    settings: ChildSettings
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of kinds beside those that ship: one, and a subclass of it."""
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    for kind, code in {"parent": PARENT, "child": CHILD}.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "task.py").write_text(code)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[2:3] in (["parent"], ["child"])]:
        del sys.modules[name]


def made(kind: str) -> Task:
    module = import_module(f"trainables.tasks.{kind}.task")
    task = getattr(module, kind.title())(getattr(module, f"{kind.title()}Settings")())
    assert isinstance(task, Task)
    return task


def test_the_scorer_hash_of_a_subclass_follows_the_code_of_its_bases(folder: Path) -> None:
    before = {kind: made(kind).scorer_hash() for kind in ("parent", "child")}
    (folder / "child" / "more.py").touch()
    assert made("parent").scorer_hash() == before["parent"]
    after = made("child").scorer_hash()
    assert after != before["child"]
    (folder / "parent" / "rewards.py").touch()
    assert made("parent").scorer_hash() != before["parent"]
    assert made("child").scorer_hash() != after


LOADS = """
import json
import shutil
import subprocess
import sys
from trainables import tasks
from strictune.config import load_sweep
print(sorted(tasks.BROKEN), load_sweep(sys.argv[1]).task.kind)
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param("def broken(:", "cannot be imported (SyntaxError", id="syntax"),
        pytest.param("", "defines none, expected one subclass of BaseSettings", id="empty"),
        pytest.param(
            CHILD.replace('"child"] =', '"other"] ='), "the name of its folder", id="kind"
        ),
    ],
)
def test_a_broken_folder_stops_only_sweeps_of_its_kind(
    tmp_path: Path, code: str, found: str
) -> None:
    """In a process of its own: kinds are found when the package is imported."""
    shutil.copytree(ROOT / "trainables", tmp_path / "trainables")
    for kind, text in {"parent": PARENT, "child": code}.items():
        (tmp_path / "trainables" / "tasks" / kind).mkdir()
        (tmp_path / "trainables" / "tasks" / kind / "task.py").write_text(text)
    trial = {"model": "builtin:tiny", "grpo": {"max_steps": 2}}
    for kind in ("parent", "child"):
        document = {"name": "s", "task": {"kind": kind}, "trial": trial}
        (tmp_path / f"{kind}.yaml").write_text(json.dumps(document))
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'platform'}", "PATH": "/usr/bin:/bin"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", LOADS, str(tmp_path / f"{kind}.yaml")],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        for kind in ("parent", "child")
    ]
    assert runs[0].stdout == "['child'] parent\n", runs[0].stderr
    assert found in runs[0].stderr and "are not affected" in runs[0].stderr
    assert found in runs[1].stderr.splitlines()[-1] and "child.yaml" in runs[1].stderr
