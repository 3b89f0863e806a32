"""Promises that span the whole: exit codes, documentation, locks, the library that is leaned on."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import jsonschema
import oras.provider
import yaml
from invoke.collection import Collection
from oras.auth.token import TokenAuth

import tasks
from cachelib.model import errors
from cachelib.model.config import json_schema

PROJECT = Path(__file__).resolve().parents[2]


def test_exit_codes_are_unique() -> None:
    classes = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.CacheError)]
    codes = [cls.exit_code for cls in classes]
    assert len(classes) > 8
    assert sorted(set(codes)) == sorted(codes)
    assert all(0 < code < 126 for code in codes)


def test_exit_codes_are_documented() -> None:
    page = (PROJECT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| (\d+) \| `(\w+)`", page, re.M))
    classes = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.CacheError)]
    assert documented == {str(cls.exit_code): cls.__name__ for cls in classes}


def test_every_task_and_flag_is_documented() -> None:
    page = (PROJECT / "docs/reference/tasks.md").read_text(encoding="utf-8")
    collection = Collection.from_module(tasks)
    assert len(collection.task_names) > 8
    for name in collection.task_names:
        section = re.search(rf"^## inv {name}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
        assert section, f"docs/reference/tasks.md has no section `inv {name}`"
        for argument in collection[name].get_arguments():
            flag = "--" + argument.name.replace("_", "-")
            assert f"`{flag}`" in section[1], f"inv {name} {flag} is not documented"
            assert argument.help, f"inv {name} {flag} has no help"


def test_every_setting_is_documented() -> None:
    page = (PROJECT / "docs/reference/cache-yaml.md").read_text(encoding="utf-8")
    names = re.findall(r'"properties": \{', json.dumps(json_schema()))
    assert names

    def walk(schema: dict[str, object]) -> None:
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        for name, value in properties.items():
            assert f"`{name}`" in page, f"docs/reference/cache-yaml.md does not tell of `{name}`"
            walk(value)
        if isinstance(extra := schema.get("additionalProperties"), dict):
            walk(extra)

    walk(json_schema())


def test_the_schema_that_ships_is_the_codes() -> None:
    shipped = json.loads((PROJECT / "docs/reference/cache.schema.json").read_text(encoding="utf-8"))
    assert shipped == json_schema(), "run `inv schema`"
    jsonschema.Draft202012Validator.check_schema(shipped)


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
    assert {lock.stem for lock in locks} == {"dev", "lock", "nox", "tasks", "tests"}
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
