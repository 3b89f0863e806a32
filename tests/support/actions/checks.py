"""What GitHub checks before anything runs: inputs, calls, permissions, pins."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.actions.loading import Job, Workflow, load_action, load_workflow
from tests.support.actions.permissions import DEFAULT, Permissions, exceeding
from tests.support.actions.settings import Origin, Settings, read_uses
from tests.support.actions.values import Value, WorkflowError, is_number, to_number, to_text

#: Docs, Reuse workflows: the top level and nine below it.
DEPTH = 10
_EMPTY: Mapping[str, Value] = {"boolean": False, "number": 0}


def called(uses: str, origin: Origin, settings: Settings) -> tuple[Workflow, Origin]:
    """The workflow that a job calls, and where it comes from."""
    if uses.startswith("./"):
        uses = f"$/{uses[2:]}"
    found = read_uses(uses, origin, settings)
    if found is None or not found[1].startswith(".github/workflows/"):
        raise WorkflowError(f"`uses: {uses}`: invalid workflow reference")
    workflow = load_workflow(found[0].folder / found[1], found[1])
    if "workflow_call" not in workflow.triggers:
        raise WorkflowError(f"{uses}: workflow is not reusable as it is missing a `on.workflow_call` trigger")
    return workflow, found[0]


def effective(job: Job, workflow: Workflow, allowed: Permissions | None, default: Permissions = DEFAULT) -> Permissions:
    """What the token of a job may, or what a job allows to those that it calls; raise WorkflowError where it asks for too much."""
    wanted = job.permissions if job.permissions is not None else workflow.permissions
    if allowed is None:
        return default if wanted is None else wanted
    for name, asked in ((f"The workflow '{workflow.path}'", workflow.permissions), (f"The nested job '{job.id}'", wanted)):
        if asked is not None and (more := exceeding(asked, allowed)):
            raise WorkflowError(f"Error calling workflow '{workflow.path}'. {name} {more[0]}")
    return allowed if wanted is None else wanted


def check(workflow: Workflow, origin: Origin, settings: Settings, allowed: Permissions | None = None, depth: int = 1) -> None:
    """Raise WorkflowError where a run of a workflow can't even begin."""
    if depth > DEPTH:
        raise WorkflowError(f"{workflow.path}: workflows call each other {DEPTH} levels deep at most")
    for job in workflow.jobs.values():
        may = effective(job, workflow, allowed, settings.default_permissions)
        if job.uses:
            inner, place = called(job.uses, origin, settings)
            call_inputs(inner, job.raw.get("with") or {}, literal=True)
            check(inner, place, settings, may, depth + 1)
        _check_steps(job.steps, origin, settings, ())


def _check_steps(steps: list[dict[str, Value]], origin: Origin, settings: Settings, above: tuple[str, ...]) -> None:
    for uses in (str(step["uses"]) for step in steps if "uses" in step):
        if uses.startswith("./"):
            continue
        found = read_uses(uses, origin, settings)
        if found is None:
            continue
        place = f"{found[0].name}/{found[1]}"
        if place in above or len(above) >= DEPTH:
            raise WorkflowError(f"`uses: {uses}`: actions call each other in a circle")
        action = load_action(found[0].folder / found[1], uses)
        _check_steps(action["runs"]["steps"], found[0], settings, (*above, place))


def call_inputs(workflow: Workflow, given: Mapping[str, Value], *, literal: bool = False) -> dict[str, Value]:
    """The `inputs` of a called workflow. With `literal`, expressions are let pass: their values are not known yet."""
    specs = workflow.triggers["workflow_call"].get("inputs") or {}
    if unknown := given.keys() - specs.keys():
        raise WorkflowError(f"{workflow.path}: Invalid input, {min(unknown)} is not defined in the referenced workflow.")
    found: dict[str, Value] = {}
    for name, spec in specs.items():
        kind = spec.get("type")
        if kind not in ("boolean", "number", "string"):
            raise WorkflowError(f"{workflow.path}: input {name} has no type boolean, number or string")
        if name not in given:
            if spec.get("required"):
                raise WorkflowError(f"{workflow.path}: Input {name} is required, but not provided while calling.")
            found[name] = spec.get("default", _EMPTY.get(kind, ""))
            continue
        value = given[name]
        if literal and isinstance(value, str) and "${{" in value:
            continue
        if (kind == "boolean" and not isinstance(value, bool)) or (kind == "number" and not is_number(value)):
            raise WorkflowError(f"{workflow.path}: input {name}: Unexpected value {value!r}: a {kind} was expected")
        found[name] = to_text(value) if kind == "string" else value
    return found


def dispatch_inputs(workflow: Workflow, given: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, str]]:
    """The `inputs` of a run by hand, typed, and as texts as they are in `github.event.inputs`."""
    specs = workflow.triggers["workflow_dispatch"].get("inputs") or {}
    if unknown := given.keys() - specs.keys():
        raise WorkflowError(f'Unexpected inputs provided: ["{min(unknown)}"]')
    found: dict[str, Value] = {}
    for name, spec in specs.items():
        kind = (spec or {}).get("type", "string")
        value = given.get(name, (spec or {}).get("default"))
        if value is None or value == "":
            if (spec or {}).get("required"):
                raise WorkflowError(f"Required input '{name}' not provided")
            value = False if kind == "boolean" else ""
        if kind == "boolean":
            if to_text(value) not in ("true", "false"):
                raise WorkflowError(f"Provided value '{value}' for input '{name}' not in the list of allowed values")
            value = to_text(value) == "true"
        elif kind == "number" and value != "":
            number = to_number(value)
            if number != number:
                raise WorkflowError(f"Provided value '{value}' for input '{name}' is no number")
            value = int(number) if number.is_integer() else number
        elif kind == "choice" and value != "" and value not in spec.get("options", []):
            raise WorkflowError(f"Provided value '{value}' for input '{name}' not in the list of allowed values")
        found[name] = value if kind in ("boolean", "number") else to_text(value)
    return found, {name: to_text(value) for name, value in found.items()}
