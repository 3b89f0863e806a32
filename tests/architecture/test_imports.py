"""The house holds its shape: who may import whom (docs/explanation/architecture.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = {
    "model": {"model"},
    "steps": {"model", "steps"},
    "tools": {"model", "tools"},
    "pipeline": {"model", "steps", "tools", "pipeline"},
}
TASKS = {"cachelib.pipeline", "cachelib.model.errors", "cachelib.steps.reports"}
MODULES = sorted((PROJECT / "cachelib").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        yield from imports_of(node)


def imports_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        yield node.module or ""
        yield from (f"{node.module}.{name.name}" for name in node.names)


def room(path: Path) -> str:
    return path.relative_to(PROJECT / "cachelib").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    if room(path) == "__init__.py":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "cachelib" and len(parts) > 1:
            assert parts[1] in ROOMS[room(path)], f"{path} imports {name}"


def test_the_rooms_are_these() -> None:
    assert {room(path) for path in MODULES} == {*ROOMS, "__init__.py"}


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) == "model"], ids=lambda path: path.name)
def test_the_model_needs_the_standard_library_alone(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert top == "cachelib" or top in sys.stdlib_module_names, f"{path} imports {name}"


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in ("model", "steps")], ids=lambda path: path.name)
def test_below_the_tools_nothing_reaches_outside(path: Path) -> None:
    forbidden = {"subprocess", "socket", "requests", "urllib.request", "oras", "shutil", "tempfile"}
    assert not forbidden & set(imports(path))
    text = path.read_text(encoding="utf-8")
    for reach in ("os.environ", ".now(", "getcwd", "Path.cwd", ".read_text(", ".write_text(", "print("):
        assert reach not in text, f"{path} reaches outside: {reach}"


def test_one_module_knows_oras() -> None:
    assert [path.name for path in MODULES if any(name.split(".")[0] == "oras" for name in imports(path))] == ["oras_client.py"]


def test_one_module_knows_sigstore_and_waits_until_it_is_asked() -> None:
    """It is not installed where attestations are not looked at."""
    assert [path.name for path in MODULES if any(name.split(".")[0] == "sigstore" for name in imports(path))] == ["attestations.py"]
    tree = ast.parse((PROJECT / "cachelib/tools/attestations.py").read_text(encoding="utf-8"))
    top = [name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imports_of(node)]
    assert top
    assert not [name for name in top if name.split(".")[0] in ("sigstore", "cryptography")]


def test_tasks_know_the_pipeline_and_the_errors() -> None:
    ours = {name for name in imports(PROJECT / "tasks.py") if name.startswith("cachelib.")}
    assert {name for name in ours if not any(name == known or name.startswith(f"{known}.") for known in TASKS)} == set()


def test_the_noxfile_imports_nothing_of_ours() -> None:
    assert not [name for name in imports(PROJECT / "noxfile.py") if name.startswith("cachelib")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
