"""Runs on GitHub as a whole: the plans of all its kinds of runners become one, and a run that left work starts the next."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from cachelib.model.errors import CacheError, UsageError
from cachelib.model.plan import PLAN_VERSION, Action, StackPlan
from cachelib.pipeline.planning import read_inputs
from cachelib.pipeline.plans import (
    WANTED_FILE,
    fetch_plan,
    parts_folder,
    plan_folder,
    read_plans,
    remembered_keys,
    verified_files,
    write_plan,
)
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps.reports import Report
from cachelib.tools import actions
from cachelib.tools.github_run import open_run
from cachelib.tools.parts import PartFolder
from cachelib.tools.workflow_files import dispatch_inputs

#: A matrix of GitHub has no more jobs.
MOST_JOBS = 256
#: So many of an account's jobs run at once on GitHub Free.
FREE_JOBS = 20


def schedule(ws: Workspace) -> Report:
    """Make one plan of those that the runners of a run made, and say who builds, and whether the run may publish.

    PLAN_OUTPUTS has the outputs of the jobs that planned: `digest_1`, ... GitHub itself tells them, so nobody can have replaced them.
    """
    asked, run, shared = read_inputs(ws), open_run(ws.env, ws.progress.say), PartFolder(parts_folder(ws, ""))
    plans: list[StackPlan] = []
    files: dict[str, bytes] = {}
    remember: dict[str, str] = {}
    lines, made_any = [], False
    for number, digest in sorted(_digests(ws.env.get("PLAN_OUTPUTS", "")).items()):
        folder = ws.var / "plans" / number
        try:
            fetch_plan(run, folder, shared, f"plan-{number}")
            found = read_plans(folder, digest)
            files |= verified_files(folder, digest)
        except CacheError as error:
            lines.append(f"  REFUSED  plan {number}: {error.message}")
            continue
        made_any = True
        remember |= remembered_keys(folder, digest)
        plans += found
    if not made_any:
        raise UsageError("no runner of this run made a plan", hint="the jobs that plan say why")
    kept, left = list[StackPlan](), list[str]()
    jobs: list[dict[str, Any]] = []
    for made in plans:
        if len(jobs) + len(made.jobs()) > MOST_JOBS:
            lines.append(f"  left     stack {made.stack} on {made.runner}: a run has {MOST_JOBS} jobs; the next run builds it")
            left.append(made.key)
            continue
        kept.append(made)
        jobs += made.jobs()
    if len(jobs) > FREE_JOBS and len(kept) > 1:
        lines.append(
            f"  note     {len(jobs)} jobs of {len(kept)} stacks: GitHub Free runs {FREE_JOBS} at once, and a job that waits long for"
            " one that is queued gives up; `workers:` of each stack says how many it takes"
        )
    digest = write_plan(plan_folder(ws, ""), {"plan": PLAN_VERSION, "created": now(), "remember": remember, "left": left}, kept, files)
    # A pull request is built, and publishes nothing: whoever wrote it.
    allowed = asked.publish and not ws.env.get("GITHUB_EVENT_NAME", "").startswith("pull_request")
    publish = allowed and bool(jobs or remember or any(PurePosixPath(name).name == WANTED_FILE for name in files))
    said = {"jobs": str(len(jobs)), "digest": digest, "folder": str(plan_folder(ws, ""))}
    said |= {"publish": str(publish).lower(), "site": str(publish and asked.site and _on_default_branch(ws)).lower()}
    actions.set_outputs(ws.env, actions.matrix(jobs) | said)
    builds = sum(len(made.of(Action.BUILD)) for made in kept)
    why = "" if allowed else "; a pull request publishes nothing" if asked.publish else "; it is asked to publish nothing"
    lines.append(f"schedule: {builds} specs to build in {len(jobs)} jobs{why}")
    return Report(lines=tuple(lines))


def again(ws: Workspace) -> Report:
    """Start the workflow of this run once more, with the inputs that it was started with, to go on with what is left."""
    env = ws.env
    found = re.fullmatch(r"[^/]+/[^/]+/(\.github/workflows/[^@]+)@(.+)", env.get("GITHUB_WORKFLOW_REF", ""))
    if found is None:
        raise UsageError("this is no run of GitHub Actions", hint="run `inv plan` and `inv work` again instead")
    workflow = PurePosixPath(found[1]).name
    open_run(env, ws.progress.say).dispatch(workflow, found[2], _inputs(ws, Path(env.get("GITHUB_WORKSPACE", ""), found[1])))
    return Report(lines=(f"again: {workflow} is started once more, as there is work left",))


def _inputs(ws: Workspace, workflow: Path) -> dict[str, str]:
    """The inputs of the next run: those that a person gave to this one, or else those that our workflow was called with."""
    given = actions.event(ws.env).get("inputs")
    if not isinstance(given, dict):  # a run by schedule has none, and neither has one for an issue
        taken = dispatch_inputs(workflow)
        if taken is None:
            raise UsageError(f"{workflow.name} can't be started by another run", hint="give it `workflow_dispatch:` below `on:`")
        called = json.loads(ws.env.get("WORKFLOW_INPUTS") or "{}") or {}
        given = {name: value for name, value in called.items() if name in taken and (isinstance(value, bool) or value not in ("", 0))}
    if given.get("repos") and (pinned := ws.env.get("PINNED_REPOS", "")):
        given = {**given, "repos": pinned}  # what is left was planned with these commits, wherever a branch is by now
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in given.items() if value is not None}


def keep_alive(ws: Workspace) -> Report:
    """Switch the workflows of the repository on, those that a person switched off excepted: so their schedules go on."""
    run = open_run(ws.env, ws.progress.say)
    enabled = [workflow for workflow in run.workflows() if workflow.state in ("active", "disabled_inactivity")]
    for workflow in enabled:
        run.enable(workflow)
    return Report(lines=tuple(f"  alive    {workflow.path} (was {workflow.state})" for workflow in enabled))


def _on_default_branch(ws: Workspace) -> bool:
    """Whether this run is of the branch whose site is shown: GitHub lets no other deploy, where nobody said so."""
    repository = actions.event(ws.env).get("repository")
    branch = repository.get("default_branch") if isinstance(repository, dict) else None
    return not branch or ws.env.get("GITHUB_REF", "") == f"refs/heads/{branch}"


def _digests(text: str) -> dict[str, str]:
    """The digests of the plans by their numbers; raise UsageError where they can't be read."""
    try:
        data = json.loads(text)
        found = {key.removeprefix("digest_"): str(value) for key, value in data.items() if key.startswith("digest_") and value}
    except (ValueError, AttributeError):
        raise UsageError("PLAN_OUTPUTS has no outputs", hint="pass `PLAN_OUTPUTS: ${{ toJSON(needs.plan.outputs) }}`") from None
    for number, digest in found.items():
        if not re.fullmatch(r"[0-9]{1,3}", number) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise UsageError(f"PLAN_OUTPUTS has {number!r}: {digest!r}", hint="a number and a sha256 are expected")
    return found
