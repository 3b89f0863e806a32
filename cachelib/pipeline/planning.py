"""Planning a run: what is to be built, by how many workers, in which order."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CacheError
from cachelib.model.inputs import RunInputs, check_inputs, parse_inputs
from cachelib.model.oci import compact_json, parse_json
from cachelib.model.package_repo import parse_pinned
from cachelib.model.plan import PLAN_VERSION, Action, StackPlan
from cachelib.model.ports import Repository
from cachelib.model.schedule import Costs, Limits
from cachelib.model.spec import Node
from cachelib.model.upstream import Upstream, holders
from cachelib.model.wanted import parse_wanted
from cachelib.pipeline.layers import read_upstreams
from cachelib.pipeline.locks import Concretized, concretized
from cachelib.pipeline.picking import pick_packages
from cachelib.pipeline.plans import WANTED_FILE, plan_folder, write_plan
from cachelib.pipeline.repositories import asking_for
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import artifacts, build_reports, building, plan_reports, planning, remembering, reports
from cachelib.steps.changes import newest_builds
from cachelib.steps.reports import Report
from cachelib.steps.runners import plan_jobs, runner_here, runners
from cachelib.steps.tags import whole_tags
from cachelib.steps.targets import targets_here
from cachelib.steps.weather import wanted_of
from cachelib.tools import actions

#: Numbers of runners that are simulated where none is asked for: of a free account, of a Team's, of an Enterprise's.
SIMULATED = [1, 5, 20, 60, 500]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """What holds for all stacks of a run."""

    ws: Workspace
    asked: RunInputs
    spack_root: str
    to: str
    retry: bool
    costs: Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stack:
    """What came of planning one stack: what is to be told, the plan (none where there is nothing to plan), and the files that go with it.

    `key` is what its concretization is to be remembered by, where that is new.
    """

    told: tuple[Report, ...]
    plan: StackPlan | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    key: str = ""


def plan(
    ws: Workspace,
    specs: Sequence[str] = (),
    stack_name: str = "",
    spack_root: str = "",
    to: str = "",
    workers: int = 0,
    out: str = "",
    *,
    rebuild: bool = False,
    retry: bool = False,
    simulate: bool = False,
    inputs: bool = False,
    runner: str = "",
    number: int = 0,
    random: int = 0,
    seed: str = "",
    repos: Sequence[str] = (),
) -> Report:
    """Say what a run would build and who would build what; write that for the workers, and for GitHub where it runs there.

    With `inputs` the requests are those of the workflow; with `random`, so many packages that are picked by the `seed`.
    With `runner`, the stacks are planned that this kind of runner builds, in this container, or in none where this is none; `repos` are
    package repositories that come before their own.
    """
    given = RunInputs(specs=tuple(specs), stack=stack_name, rebuild=rebuild, workers=workers, random=random, seed=seed, repos=tuple(repos))
    asked = read_inputs(ws) if inputs else check_inputs(given)
    ws, pinned = asking_for(ws, asked.repos)
    asked = replace(asked, repos=pinned)
    planner = _Planner(ws=ws, asked=asked, spack_root=spack_root, to=to, retry=retry or asked.rebuild or bool(asked.specs), costs=Costs())
    folder = plan_folder(ws, out)
    stacks = [_stack(planner, name, label) for name, label in _wanted(planner, runner)]
    refused = [told for one in stacks for told in one.told]
    plans = [one.plan for one in stacks if one.plan is not None]
    if simulate:
        counts = [asked.workers] if asked.workers else SIMULATED
        return reports.join([*refused, plan_reports.simulation(plans, counts, Limits(), planner.costs)])
    keys = {one.plan.key: one.key for one in stacks if one.plan is not None and one.key}
    files = {name: data for one in stacks for name, data in one.files.items()}
    digest = write_plan(folder, {"plan": PLAN_VERSION, "created": now(), "remember": keys}, plans, files)
    jobs = [job for made in plans for job in made.jobs()]
    outputs = {"jobs": str(len(jobs)), "folder": str(folder), f"digest_{number}" if number else "digest": digest}
    actions.set_outputs(ws.env, actions.matrix(jobs) | outputs)
    actions.add_summary(ws.env, plan_reports.summary(plans, planner.costs))
    return plan_reports.plan_report(plans, reports.join(refused), str(folder))


def plan_runners(ws: Workspace, *, inputs: bool = False) -> Report:
    """Say which kinds of runners have to plan, as each concretizes for itself; set that as the matrix of a workflow.

    What is asked for of git repositories is set as an output too, as commits: a branch may move while the run goes on.
    """
    asked = read_inputs(ws) if inputs else RunInputs()
    names = [ws.stack(asked.stack)[0]] if asked.one_stack else list(ws.settings.stacks)
    jobs = plan_jobs({name: ws.settings.stacks[name] for name in names})
    _, pinned = asking_for(ws, asked.repos)
    actions.set_outputs(ws.env, actions.matrix(jobs) | {"repos": "\n".join(pinned)})
    return Report(lines=tuple(f"{job['name']} plans {job['stacks']}" for job in jobs))


def read_inputs(ws: Workspace) -> RunInputs:
    """The inputs of the workflow that runs this.

    PINNED_REPOS has the package repositories as the run's first job pinned them, which hold in place of the input.
    """
    asked = parse_inputs(ws.env.get("WORKFLOW_INPUTS", ""))
    pinned = ws.env.get("PINNED_REPOS", "").splitlines()
    return replace(asked, repos=tuple(str(parse_pinned(repo)) for repo in pinned)) if pinned else asked


def _wanted(planner: _Planner, runner: str) -> Iterator[tuple[str, str]]:
    """The stacks to plan, each with the runner that it is planned for."""
    ws, asked = planner.ws, planner.asked
    names = [ws.stack(asked.stack)[0]] if asked.one_stack else list(ws.settings.stacks)
    for name in names:
        stack = ws.settings.stacks[name]
        if runner:
            if runner in runners(stack) and stack.container == ws.container:
                yield name, runner
        elif not asked.stack and stack.targets and not targets_here(stack.targets, ws.machine):
            ws.progress.say(f"stack {name} has no target for {ws.machine}, and is planned elsewhere")
        else:
            yield name, runner_here(stack, ws.machine)


def _stack(planner: _Planner, name: str, runner: str) -> _Stack:
    """Concretize the requests of one stack, or of chance, and plan them."""
    ws, asked = planner.ws, planner.asked
    repository = ws.repository(ws.location(planner.to).child(ws.stack(name)[1].image_name))
    requests, told = asked.specs, list[Report]()
    upstreams = read_upstreams(ws, ws.stack(name)[1])
    if asked.random:
        requests, picked = pick_packages(ws, repository, asked, name, planner.spack_root, retry=planner.retry, upstreams=upstreams)
        told.append(picked)
        if not requests:
            return _Stack(told=tuple(told))
    ready = concretized(ws, repository, requests, name, planner.spack_root, runner)
    # What chance picked and Spack refuses is told, but nobody asked for it, so nothing has failed.
    told.append(replace(_refused(ready), exit_code=0) if asked.random else _refused(ready))
    own = not asked.specs and not asked.random and not asked.repos  # these are the stack's own requests
    if ready.lock is None and not own:
        return _Stack(told=tuple(told))
    # Where Spack refuses all that a stack wants, that is what there is to remember: its weather is not what it was.
    lock = ready.lock or building.Lock(nodes={})
    made = _plan(planner, repository, ready, lock, runner, upstreams)
    files: dict[str, bytes] = {}
    if made.of(Action.BUILD) or ready.news:
        files |= {f"{made.key}/{file}": data for file, data in ready.files.items()}
    if own:
        files |= _wanted_file(repository, made, ready, lock)
    # Picks don't come again, and would drive out what does.
    return _Stack(told=tuple(told), plan=made, files=files, key=ready.key if ready.news and not asked.random else "")


def _plan(
    planner: _Planner, repository: Repository, ready: Concretized, lock: building.Lock, runner: str, upstreams: Sequence[Upstream]
) -> StackPlan:
    ws, asked, stack = planner.ws, planner.asked, ready.stack
    tags = whole_tags(repository)
    present = {tag.removesuffix(".spack")[-32:]: f"published in {repository.name}" for tag in tags if tag.endswith(".spack")}
    mirrored = (name.hash for name in ws.mirror(stack.image_name).names(lambda _: None))
    present |= {h: "in the local mirror, to be pushed" for h in mirrored if h not in present}
    upstream = holders(upstreams)
    present |= {h: f"in upstream {upstream[h]}" for h in lock.nodes if h in upstream and h not in present}
    rebuild = frozenset(present.keys() & lock.roots.keys()) if asked.rebuild else frozenset()
    present = {h: where for h, where in present.items() if h not in rebuild}
    catalog = Catalog()
    failing: dict[str, str] = {}
    builds: dict[str, list[Node]] = {}
    if missing := planning.needed(lock, present):
        try:
            catalog = artifacts.load_catalog(repository)
            builds = newest_builds(catalog, frozenset(lock.nodes[h].name for h in missing))
        except CacheError as error:
            ws.progress.say(f"WARNING: how long builds take isn't known: {error.message}")
        if not planner.retry and remembering.FAILURES_TAG in tags:
            failing = _failing(repository)
    return planning.make_plan(
        lock, id=secrets.token_hex(4), stack=ready.name, image=stack.image_name, runner=runner, present=present, failing=failing,
        restricted=ready.restricted, builds=builds, rebuild=rebuild,
        seconds=planning.known_seconds(catalog), limits=Limits(workers=asked.workers or stack.workers), costs=planner.costs,
        repos=asked.repos, container=ws.container,
    )  # fmt: skip


def _wanted_file(repository: Repository, made: StackPlan, ready: Concretized, lock: building.Lock) -> dict[str, bytes]:
    """What a stack wants, as a file of its plan, where the registry doesn't know that yet."""
    refused = {one.request: one.reason for one in ready.rejected}
    wanted = wanted_of(made.stack, made.runner, lock, restricted=ready.restricted, refused=refused)
    data = compact_json(wanted.json())
    known = remembering.known_wanted(repository, made.stack, made.runner)
    return {} if parse_wanted(parse_json(data, "it")) in known else {f"{made.key}/{WANTED_FILE}": data}


def _failing(repository: Repository) -> dict[str, str]:
    """What failed so lately that it isn't tried again yet, and why."""
    today = datetime.now(UTC)
    known = remembering.known_failures(repository)
    return {
        h: f"{failure.told()}; the same recipe is tried again on {failure.next_try():%Y-%m-%d}, or with --retry"
        for h, failure in known.items()
        if failure.next_try() > today
    }


def _refused(ready: Concretized) -> Report:
    """What Spack refused, and what this machine could not build itself, told as a build tells it."""
    told: Any = build_reports.build_report(
        building.BuildResult(outcomes={}, nodes={}, rejected=ready.rejected, mirror=str(Path()), written=0, elsewhere=ready.elsewhere)
    )
    return Report(lines=told.lines[:-1], exit_code=told.exit_code)
