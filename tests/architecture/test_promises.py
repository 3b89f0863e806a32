"""Promises that span the whole: exit codes, documentation, locks, the library that is leaned on."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import jsonschema
import oras.provider
import yaml
from oras.auth.token import TokenAuth

from cachelib.model import errors
from cachelib.model.config_schema import json_schema
from cachelib.steps.api.schema import api_schema
from cachelib.steps.reference import reference
from cachelib.tools.task_help import task_help
from cachelib.tools.workflow_files import workflow_help
from tests import screens
from tests.site.kinds import KINDS

PROJECT = Path(__file__).resolve().parents[2]


def test_exit_codes_are_unique() -> None:
    classes = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.CacheError)]
    codes = [cls.exit_code for cls in classes]
    assert len(classes) > 8
    assert sorted(set(codes)) == sorted(codes)
    assert all(0 < code < 126 for code in codes)


def test_the_reference_is_the_codes() -> None:
    made = dict(reference(task_help(PROJECT), workflow_help(PROJECT)))
    assert len(made) == 8
    for path, data in made.items():
        assert (PROJECT / "docs/reference" / path).read_bytes() == data, f"{path} is not up to date: run `inv docs`"


def test_every_flag_has_a_help() -> None:
    tasks = task_help(PROJECT)
    assert {"install", "build", "push", "index", "render", "verify", "cache", "demo"} <= {task.name for task in tasks}
    for task in tasks:
        assert task.help
        assert [flag.name for flag in task.flags if not flag.help] == []


def test_the_schemas_are_schemas() -> None:
    for schema in (json_schema(), api_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_settings_that_ship_fit_the_schema() -> None:
    for name in ("cache.yaml", "examples/cache.yaml"):
        jsonschema.validate(yaml.safe_load((PROJECT / name).read_text(encoding="utf-8")), json_schema())


def test_every_public_name_says_what_it_does() -> None:
    missing = []
    for path in sorted((PROJECT / "cachelib").rglob("*.py")):
        if path.name == "spack_probe.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        missing += [
            f"{path.name}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert missing == []


def test_locks_carry_hashes_and_no_addresses() -> None:
    locks = sorted((PROJECT / ".ci/locks").glob("*.txt"))
    assert {lock.stem for lock in locks} == {"attestations", "dev", "docs", "lock", "nox", "site", "tasks", "tests"}
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)


def test_oras_still_has_what_is_leaned_on() -> None:
    """tools/oras_client.py calls the request below oras's retry, and puts its own answer to a challenge in."""
    assert list(inspect.signature(oras.provider.Registry.do_request.__wrapped__).parameters)[:6] == [
        "self", "url", "method", "data", "headers", "json",
    ]  # fmt: skip
    assert list(inspect.signature(TokenAuth.authenticate_request).parameters) == ["self", "original", "headers", "refresh"]


def test_the_pins_of_the_examples_are_those_of_the_cache() -> None:
    ours, examples = (
        yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))["stacks"]["examples"] for name in ("cache.yaml", "examples/cache.yaml")
    )
    assert (ours["spack"], ours["packages"]) == (examples["spack"], examples["packages"])


def test_docs_show_every_kind_of_page() -> None:
    assert screens.PAGE.read_text(encoding="utf-8") == screens.page(), "run `nox -s screens`"
    wanted = {f"{kind}-{scheme}-{window}.jpg" for kind in KINDS for scheme in ("light", "dark") for window in screens.WINDOWS}
    assert {path.name for path in screens.PICTURES.iterdir()} == wanted, "run `nox -s screens`"
