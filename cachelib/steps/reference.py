"""Makes the reference pages from the code: what they say can't be older than what they tell of."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from cachelib.model import errors
from cachelib.model.config_schema import json_schema
from cachelib.model.ports import File
from cachelib.model.reference import TaskHelp, WorkflowHelp
from cachelib.steps.api.endpoints import ENDPOINTS, PARAMETERS
from cachelib.steps.api.openapi import openapi
from cachelib.steps.api.schema import api_schema, definition_name, definitions

_MADE = "<!-- Made by `inv docs` from the code: change it there. -->\n\n"


def reference(tasks: Iterable[TaskHelp], workflows: Iterable[WorkflowHelp]) -> Iterator[File]:
    """The pages and schemas below docs/reference."""
    yield PurePosixPath("tasks.md"), (_MADE + "\n".join(_tasks(tasks))).encode()
    yield PurePosixPath("workflows.md"), (_MADE + "\n".join(_workflows(workflows))).encode()
    yield PurePosixPath("cache-yaml.md"), (_MADE + "\n".join(_settings())).encode()
    yield PurePosixPath("exit-codes.md"), (_MADE + "\n".join(_exit_codes())).encode()
    yield PurePosixPath("cache.schema.json"), _json(json_schema())
    yield PurePosixPath("api-endpoints.md"), (_MADE + "\n".join(_endpoints())).encode()
    yield PurePosixPath("api.schema.json"), _json(api_schema())
    yield PurePosixPath("openapi.json"), _json(openapi())


def _tasks(tasks: Iterable[TaskHelp]) -> Iterator[str]:
    yield "# Tasks\n"
    yield "`invoke TASK` (or `inv TASK`) in the environment that `nox -s dev` makes; without it, `nox -s inv -- TASK`.\n"
    for task in tasks:
        yield f"## inv {task.name}\n"
        yield f"{task.help}\n"
        if task.flags:
            yield "| flag | meaning | default |\n| --- | --- | --- |"
            for flag in task.flags:
                yield f"| `{flag.name}` | {flag.help} | {f'`{flag.default}`' if flag.default else ''} |"
            yield ""


def _workflows(workflows: Iterable[WorkflowHelp]) -> Iterator[str]:
    yield "# Workflows\n"
    yield "In `.github/workflows`. Every working step is one nox line; inputs are data and never a part of a command.\n"
    for workflow in workflows:
        yield f"## {workflow.file}\n"
        yield f"{workflow.about}\n"
        yield f"Started by: {', '.join(f'`{event}`' for event in workflow.events)}.\n"
        if workflow.inputs:
            yield "| input | meaning | type | default |\n| --- | --- | --- | --- |"
            yield from (f"| `{i.name}` | {i.help} | {i.kind} | {f'`{i.default}`' if i.default else ''} |" for i in workflow.inputs)
            yield ""
        yield "| job | its token may | what for |\n| --- | --- | --- |"
        for job in workflow.jobs:
            yield from (f"| {job.name} | `{held.name}: {held.access}` | {held.reason} |" for held in job.permissions)
        yield ""


def _settings() -> Iterator[str]:
    yield "# cache.yaml\n"
    yield "Editors that know YAML schemas complete and check the file when it begins with\n"
    yield "```yaml\n# yaml-language-server: $schema=docs/reference/cache.schema.json\n```\n"
    yield "`inv config` checks it and says what it means on this machine.\n"
    schema = json_schema()
    stack = schema["properties"]["stacks"]["additionalProperties"]
    yield from _table("The file", schema)
    yield from _table("A stack", stack)
    yield from _table("spack", stack["properties"]["spack"])
    yield from _table("packages", stack["properties"]["packages"])
    yield from _table("site", schema["properties"]["site"])


def _table(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| key | meaning | default |\n| --- | --- | --- |"
    for name, value in schema["properties"].items():
        default = f"`{value['default']}`" if value.get("default") not in (None, {}) and not isinstance(value.get("default"), dict) else ""
        required = "**required**" if name in schema["required"] else default
        choices = ", ".join(f"`{choice}`" for choice in value.get("enum", ()) if isinstance(choice, str))
        meaning = f"{value['description']} One of {choices}." if choices else value["description"]
        yield f"| `{name}` | {meaning} | {required} |"
    yield ""


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes\n"
    yield "Of tasks; Nox turns every code but 0 into 1. Several failures: the code of the first step that failed. Ctrl-C: 130.\n"
    yield "| code | error | meaning |\n| --- | --- | --- |"
    found = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.CacheError)]
    for cls in sorted(found, key=lambda cls: cls.exit_code):
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        yield f"| {cls.exit_code} | `{cls.__name__}` | {summary} |"
    yield ""


def _endpoints() -> Iterator[str]:
    yield "# Endpoints of the API\n"
    yield "Paths are relative to the service document, `api/v1/index.json` of the site. [How to use them](api.md).\n"
    schemas = definitions()
    for endpoint in ENDPOINTS:
        yield f"## {endpoint.path}\n"
        yield f"{endpoint.about} {endpoint.more}".strip() + "\n"
        if endpoint.template:
            yield f"URI template `{endpoint.kind}`: `{endpoint.template}`\n"
        for name in endpoint.parameters:
            yield f"- `{name}`: {PARAMETERS[name].about}"
        if endpoint.parameters:
            yield ""
        yield from _fields(schemas[definition_name(endpoint.kind)])
        yield ""
    for name in ("Build", "Source", "Failure"):
        yield f"## {name}\n"
        yield from _fields(schemas[name])
        yield ""


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | holds | meaning |\n| --- | --- | --- |"
    for name, field in schema["properties"].items():
        if name not in ("meta", "links"):
            yield f"| `{name}` | {_holds(field)} | {field.get('description', '')} |"


def _holds(field: Mapping[str, Any]) -> str:
    """What a field holds, in a word or two."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "oneOf" in field:
        return " or ".join(_holds(one) for one in field["oneOf"])
    kind = field["type"] if isinstance(field["type"], str) else " or ".join(field["type"])
    if kind == "array":
        return f"list of {_holds(field['items'])}"
    if kind == "object" and "properties" in field:
        return ", ".join(f"`{name}`" for name in field["properties"])
    return f"{_holds(field['additionalProperties'])} by name" if kind == "object" else kind


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()
