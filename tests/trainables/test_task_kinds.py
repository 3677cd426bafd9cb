"""Kinds of task as folders: how they are found, and what identifies their code."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from trainables import tasks
from trainables.tasks.task import Task

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
