"""The table of features: what it names is there, and no task is missing in it."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib.model.config_schema import json_schema
from cachelib.steps.rendering import render
from cachelib.tools.task_help import task_help
from cachelib.tools.templates import JinjaTemplates
from cachelib.tools.workflow_files import workflow_help
from tests.support.hub import CALLER
from tests.support.sample import SITE, sample_image

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/reference/features.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    feature: str
    ways: tuple[str, ...]
    page: str
    tests: tuple[str, ...]


@functools.cache
def rows() -> tuple[Row, ...]:
    """All lines of all tables of the page."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or line.startswith(("| feature ", "| --- ")):
            continue
        feature, how, page, held = (cell.strip() for cell in line.strip("|").split(" | "))
        link = re.fullmatch(r"\[[^\]]+\]\(([^)]+)\)", page)
        assert link, f"{feature}: {page} is no link"
        found.append(
            Row(feature=feature, ways=tuple(re.findall(r"`([^`]+)`", how)), page=link[1], tests=tuple(re.findall(r"`([^`]+)`", held)))
        )
    return tuple(found)


@functools.cache
def sessions() -> set[str]:
    tree = ast.parse((PROJECT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and any("session" in ast.dump(d) for d in node.decorator_list)
    }


@functools.cache
def keys() -> set[tuple[str, ...]]:
    """The keys of cache.yaml with those that they are below, however a schema comes by them."""
    schema = json_schema()

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> set[tuple[str, ...]]:
        if "$ref" in node:
            node = functools.reduce(lambda at, step: at[step], node["$ref"].removeprefix("#/").split("/"), schema)
        found = set()
        for name, below in node.get("properties", {}).items():
            found |= {(*path, name), *walk(below, (*path, name))}
        if isinstance(below := node.get("additionalProperties"), dict):
            found |= walk(below, (*path, "*"))
        return found

    return walk(schema, ())


@functools.cache
def files() -> set[str]:
    """The files of a site."""
    templates = JinjaTemplates(PROJECT / "templates")
    return {path.as_posix() for path, _ in render(SITE, [sample_image()], templates)}


def wrong(way: str) -> str:
    """What is wrong with a way to ask for a feature; nothing where it is one."""
    kind, *rest = shlex.split(way)
    match kind, rest:
        case "inv", [name, *flags]:
            known = {task.name: {flag.name for flag in task.flags} for task in task_help(PROJECT)}
            return "" if name in known and set(flags) <= known[name] else f"no such task or flag: {way}"
        case "nox", ["-s", session]:
            return "" if session in sessions() else f"no such session: {way}"
        case "cache.yaml:", path:
            names = tuple(name.removesuffix(":") for name in path)
            return "" if any(key[-len(names) :] == names for key in keys()) else f"no such key: {way}"
        case "workflow", [name, *inputs]:
            taken = {workflow.file: {i.name for i in workflow.inputs} for workflow in workflow_help(PROJECT)}
            return "" if name in taken and set(inputs) <= taken[name] else f"no such workflow or input: {way}"
        case "action", [name, *inputs]:
            file = PROJECT / ".github/actions" / name / "action.yml"
            given = yaml.safe_load(file.read_text(encoding="utf-8"))["inputs"] if file.is_file() else {}
            return "" if given and set(inputs) <= set(given) else f"no such action or input: {way}"
        case "site", [name]:
            return "" if name in files() else f"no such file of the site: {way}"
    return f"what kind of thing is {way}?"


def test_the_table_is_read() -> None:
    assert len(rows()) > 40
    assert [row.feature for row in rows() if not row.ways or not row.tests] == []
    assert len({row.feature for row in rows()}) == len(rows())


def test_every_way_to_ask_is_one() -> None:
    assert [problem for row in rows() for way in row.ways if (problem := wrong(way))] == []


@pytest.mark.parametrize(
    "way",
    ["inv fly", "inv push --fly", "nox -s fly", "cache.yaml: fly", "cache.yaml: site: padding", "workflow fly.yml", "workflow build-cache.yml fly",
     "action fly", "action setup fly", "site fly.html", "fly"],
)  # fmt: skip
def test_what_is_none_is_seen(way: str) -> None:
    assert wrong(way)


def test_every_task_is_in_the_table() -> None:
    shown = {way.split()[1] for row in rows() for way in row.ways if way.startswith("inv ")}
    assert {task.name for task in task_help(PROJECT)} == shown


def test_every_page_is_there() -> None:
    """Its fragments are checked with all links of all pages."""
    assert [row.page for row in rows() if not (PAGE.parent / row.page.partition("#")[0]).is_file()] == []


def test_every_test_is_there() -> None:
    missing = []
    for named in {test for row in rows() for test in row.tests}:
        file, _, name = named.partition("::")
        path = PROJECT / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(named)
    assert missing == []


def test_the_lines_of_the_guide_are_those_that_are_run() -> None:
    """What a person copies out of the guide is what tests/e2e/test_workflows.py plays; which push starts it is GitHub's to decide."""
    guide = (PROJECT / "docs/how-to/build-on-github.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"^```yaml\n(.*?)^```", guide, re.M | re.S) if "uses:" in text]
    said = block.replace("OWNER/spack-cache", "spack-cache/spack-cache").replace(", paths: [cache.yaml, spack_repo/**]", "")
    assert yaml.safe_load(said) == yaml.safe_load(CALLER)
