"""Python and the packages, against what strictune asks for and what it is tested with."""

import platform
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from strictune.doctor.examination import Finding, Place, broken, ok, warning

__all__ = ["check_packages", "check_python", "compare_packages"]

CHECKOUT = Path(__file__).resolve().parents[3]
MAX_NAMED = 6


class _Wanted(NamedTuple):
    python: str
    packages: tuple[Requirement, ...]
    tested: Mapping[str, str]
    """Versions by name, as ``constraints.txt`` pins them; empty where the file is not."""
    cure: str


def check_python(place: Place) -> Finding:
    """Whether this Python is one that strictune asks for."""
    wanted, found = _wanted().python, platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return ok("python", found)
    return broken(
        "python",
        f"{found}, expected {wanted}",
        cure="Make a virtual environment with a newer Python, e.g. make install PYTHON=python3.12.",
    )


def check_packages(place: Place) -> Finding:
    """Whether the packages are there, new enough, and those that strictune is tested with."""
    wanted = _wanted()
    return compare_packages(wanted.packages, wanted.tested, _installed_version, cure=wanted.cure)


def compare_packages(
    requirements: Iterable[Requirement],
    tested: Mapping[str, str],
    installed_version: Callable[[str], str | None],
    *,
    cure: str,
) -> Finding:
    """Compare versions; a build such as ``2.13.0+cpu`` counts as ``2.13.0``."""
    wrong, untested, num_packages = [], [], 0
    for requirement in requirements:
        name, version = requirement.name, installed_version(requirement.name)
        num_packages += 1
        if version is None:
            wrong.append(f"{name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{name} is {version}, expected {requirement.specifier}")
        elif name in tested and Version(version).public != Version(tested[name]).public:
            untested.append(f"{name} {version} (tested: {tested[name]})")
    if wrong:
        return broken("packages", _list(wrong), cure=cure)
    if untested:
        return warning("packages", f"other versions than tested: {_list(untested)}", cure=cure)
    as_tested = ", as tested" if tested else ""
    return ok("packages", f"{num_packages} in the right versions{as_tested}")


def _wanted() -> _Wanted:
    """Read what is wanted from the checkout, or from the installed package."""
    if not (CHECKOUT / "pyproject.toml").is_file():
        package = metadata.metadata("strictune")
        return _Wanted(
            python=package["Requires-Python"],
            packages=_without_extras(metadata.requires("strictune") or ()),
            tested={},
            cure="pip install --upgrade strictune",
        )
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = CHECKOUT / "constraints.txt"
    pins = constraints.read_text(encoding="utf-8") if constraints.is_file() else ""
    return _Wanted(
        python=project["requires-python"],
        packages=_without_extras(project["dependencies"]),
        tested=dict(line.split("==", 1) for line in pins.split() if "==" in line),
        cure=f"pip install -c {constraints} -e {CHECKOUT}",
    )


def _without_extras(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Return what is always needed, not what ``strictune[dev]`` adds."""
    requirements = map(Requirement, texts)
    return tuple(r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""}))


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _list(problems: list[str]) -> str:
    more = len(problems) - MAX_NAMED
    return "; ".join(problems[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
