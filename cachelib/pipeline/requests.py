"""Requests for a package: read from a form or an issue, and answered there."""

from __future__ import annotations

import json
import re
from typing import Any

from cachelib.model.errors import UsageError
from cachelib.model.inputs import RunInputs, parse_inputs
from cachelib.model.plan import StackPlan
from cachelib.model.text import markdown
from cachelib.pipeline.plans import fetch_plan, parts_folder, plan_folder, read_plans
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import remembering
from cachelib.steps.reports import Report
from cachelib.tools import actions
from cachelib.tools.github_run import open_run
from cachelib.tools.parts import PartFolder

#: What GitHub writes where a field of a form was left empty.
_EMPTY = "_No response_"


def request(ws: Workspace) -> Report:
    """Read what is asked for, from the workflow's inputs or from the issue that it runs for; set it as outputs.

    What is wrong with it is an output too (`refused`), for the answer.
    """
    try:
        asked = _asked(ws)
    except UsageError as error:
        actions.set_outputs(ws.env, {"refused": f"{error.message}: {error.hint}"})
        raise
    actions.set_outputs(ws.env, {"specs": "\n".join(asked.specs), "stack": asked.stack, "rebuild": str(asked.rebuild).lower()})
    return Report(lines=tuple(f"request: {spec!r}" for spec in asked.specs))


def _asked(ws: Workspace) -> RunInputs:
    issue = _issue(ws)
    asked = parse_inputs(ws.env.get("WORKFLOW_INPUTS", "")) if issue is None else _form(str(issue.get("body") or ""))
    if not asked.specs:
        raise UsageError("nothing is asked for", hint="the form's field `Spec` takes what one would type after `spack install`")
    if asked.stack:
        ws.stack(asked.stack)
    return asked


def answer(ws: Workspace, digest: str = "") -> Report:
    """Say on the issue that this runs for what became of the request: what the registry holds now is what counts.

    BUILD_OUTPUTS and REQUEST_OUTPUTS have the outputs of the jobs before: whether another run goes on, and what was wrong with the request.
    """
    issue = _issue(ws)
    if issue is None:
        raise UsageError("this run is for no issue", hint="only a run that a label started answers")
    run = open_run(ws.env, ws.progress.say)
    plans: tuple[StackPlan, ...] = ()
    if digest:
        fetch_plan(run, plan_folder(ws, ""), PartFolder(parts_folder(ws, "")))
        plans = read_plans(plan_folder(ws, ""), digest)
    goes_on = _output(ws, "BUILD_OUTPUTS", "again") == "true"
    lines = [line for made in plans for line in _told(ws, made, goes_on=goes_on)]
    if refused := _output(ws, "REQUEST_OUTPUTS", "refused"):
        lines = [markdown(refused)]
    page = f"{ws.env.get('GITHUB_SERVER_URL', '')}/{ws.env.get('GITHUB_REPOSITORY', '')}/actions/runs/{ws.env.get('GITHUB_RUN_ID', '')}"
    text = "\n".join([*(lines or ["Spack could not make sense of the request; the run says why."]), "", f"[The run]({page})"])
    run.comment(int(issue["number"]), text)
    return Report(lines=tuple(text.splitlines()))


def _output(ws: Workspace, variable: str, name: str) -> str:
    """An output of a job before this one; empty where there is none."""
    try:
        return str(json.loads(ws.env.get(variable) or "{}").get(name) or "")
    except (ValueError, AttributeError):
        raise UsageError(f"{variable} has no outputs", hint=f"pass `{variable}: ${{{{ toJSON(needs.JOB.outputs) }}}}`") from None


def _told(ws: Workspace, made: StackPlan, *, goes_on: bool) -> list[str]:
    location = ws.location("").child(made.image)
    repository = ws.repository(location)
    there = {tag.removesuffix(".spack")[-32:] for tag in repository.tags() if tag.endswith(".spack")}
    failing = remembering.known_failures(repository)
    labels = {item.hash: item.label for item in made.items}
    lines = []
    for h, asked in made.roots.items():
        if h in there:
            lines += [
                f"**{markdown(labels[h])}** is in the cache, for what was asked as {markdown(asked)}:", "", "```console",
                f"$ spack mirror add --unsigned cache {location}", f"$ spack install --use-buildcache only /{h}", "```",
            ]  # fmt: skip
        elif h in failing:
            lines.append(f"**{markdown(labels[h])}** {markdown(failing[h].told())}: {markdown(failing[h].message[:300])}")
        elif goes_on:
            lines.append(f"**{markdown(labels[h])}** is not done yet: another run goes on with it.")
        else:
            lines.append(f"**{markdown(labels[h])}** was not built; the run says why.")
    return lines


def _issue(ws: Workspace) -> dict[str, Any] | None:
    """The issue that this run is for, if it is for one."""
    if ws.env.get("GITHUB_EVENT_NAME") != "issues":
        return None
    issue = actions.event(ws.env).get("issue")
    if not isinstance(issue, dict) or not isinstance(issue.get("number"), int):
        raise UsageError("GITHUB_EVENT_PATH has no issue", hint="this runs in a workflow, on `issues`")
    return dict(issue)


def _form(body: str) -> RunInputs:
    """The fields of the issue form (.github/ISSUE_TEMPLATE/request-package.yml): a heading, and below it what was written."""
    fields: dict[str, str] = {}
    for title, text in re.findall(r"^### (Spec|Stack)[ \t]*\r?\n(.*?)(?=^### |\Z)", body, flags=re.MULTILINE | re.DOTALL):
        # Of each the first: what a person writes below can't stand for another field.
        fields.setdefault(title, text.strip())
    given = {name: "" if text == _EMPTY else text for name, text in fields.items()}
    spec = given.get("Spec", "").splitlines()
    return parse_inputs(json.dumps({"specs": spec[0] if spec else "", "stack": given.get("Stack", "")}))
