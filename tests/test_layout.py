"""The rules that keep the layout working: import directions and the name ``platform``."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = {"strictune": ROOT / "platform", "trainables": ROOT, "analysis": ROOT}

ROOMS = (
    # (height, room, what belongs to it); the first that fits
    (
        0,
        "ground",
        (
            "strictune.errors",
            "strictune.cache",
            "strictune.addresses",
            "strictune.http_calls",
            "strictune.records",
        ),
    ),
    (1, "tasks", ("trainables.tasks",)),
    (2, "config", ("strictune.config",)),
    (3, "trial", ("trainables",)),
    (3, "analysis", ("analysis",)),
    (4, "control plane", ("strictune",)),
)
"""As drawn in docs/architecture.md: a room imports from lower ones only."""

FORBIDDEN = [
    # (who, except, must not import)
    pytest.param("trainables", (), ("mlflow",), id="trainables-know-no-mlflow"),
    pytest.param("trainables", ("trainables.ray_trainable",), ("ray",), id="one-ray-importer"),
    pytest.param("analysis", (), ("ray", "trl", "torch"), id="analysis-is-light"),
    pytest.param(
        "strictune.config", (), ("torch", "ray", "mlflow", "transformers"), id="config-is-light"
    ),
    pytest.param(
        "strictune.planning", (), ("torch", "ray", "mlflow", "transformers"), id="plan-is-light"
    ),
    pytest.param(
        "strictune",
        ("strictune.launch",),
        ("ray.tune", "optuna"),
        id="launch-is-the-only-tune-importer",
    ),
    pytest.param(
        "strictune", ("strictune.tracking",), ("mlflow",), id="tracking-is-the-only-mlflow-writer"
    ),
    pytest.param(
        "trainables.tasks.strict_json", (), ("torch", "transformers"), id="scoring-is-light"
    ),
]


def test_platform_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_standard_platform_wins_at_the_root() -> None:
    code = "import platform; assert platform.system(), platform"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_room_imports_from_lower_rooms_only() -> None:
    found = [
        f"{module} ({room[1]}) imports {imported} ({other[1]})"
        for package in SOURCE_ROOTS
        for module, path in _modules(package)
        for room in [_room(module)]
        for imported in _imports(path)
        if imported.split(".")[0] in SOURCE_ROOTS
        for other in [_room(imported)]
        if other != room and other[0] >= room[0]
    ]
    assert found == []


@pytest.mark.parametrize(("who", "exceptions", "forbidden"), FORBIDDEN)
def test_import_direction(
    who: str, exceptions: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    found = [
        f"{module} imports {imported}"
        for module, path in _modules(who)
        if not _is_within(module, exceptions)
        for imported in _imports(path)
        if _is_within(imported, forbidden)
    ]
    assert found == []


def test_the_rules_see_an_import(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def f():\n    from ray import tune\n")
    assert list(_imports(path)) == ["ray", "ray.tune"]


@pytest.mark.parametrize("folder", ["platform", "trainables", "search_spaces", "cluster_configs"])
def test_every_top_folder_has_a_readme(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def _room(module: str) -> tuple[int, str, tuple[str, ...]]:
    return next(room for room in ROOMS if _is_within(module, room[2]))


def _modules(prefix: str) -> Iterator[tuple[str, Path]]:
    root = SOURCE_ROOTS[prefix.split(".")[0]]
    for path in sorted((root / prefix.split(".")[0]).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if _is_within(module, (prefix,)):
            yield module, path


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)
