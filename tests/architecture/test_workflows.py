"""What the workflows promise: no permission without a use, no logic in a step, nothing of a person's in a command, all of it pinned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib.model.schedule import Limits
from cachelib.pipeline.working import JOB_MINUTES
from cachelib.tools.task_help import task_help

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((PROJECT / ".github/actions").glob("*/action.yml"))
RUN = re.compile(
    r'"\$RUNNER_TEMP/nox/bin/nox" -f "\$RUNNER_TEMP/cache/noxfile\.py" -s inv -- (?P<task>[a-z-]+)(?P<rest>( --[a-z-]+| "\$[A-Z_]+"| [0-9]+)*)'
)
#: What builds the documentation takes no task, and nothing of the job's token.
DOCS = '"$RUNNER_TEMP/nox/bin/nox" -f "$RUNNER_TEMP/cache/noxfile.py" -s docs -- "$DOCS"'
#: What each thing that a step does takes of the job's token.
USES = {
    "actions/checkout": {"contents": "read"}, "actions/attest": {"id-token": "write", "attestations": "write", "artifact-metadata": "write"},
    "actions/deploy-pages": {"pages": "write", "id-token": "write"}, "$/.github/actions/slot": {"actions": "read"},
}  # fmt: skip
TASKS = {
    "plan": {"packages": "read"}, "schedule": {"actions": "read"}, "publish": {"actions": "read", "packages": "write"},
    "provenance": {"packages": "write"},
    "again": {"actions": "write"}, "render": {"packages": "read"}, "index": {"packages": "write"}, "verify": {"packages": "read"},
    "keep-alive": {"actions": "write"}, "answer": {"actions": "read", "packages": "read", "issues": "write"},
    "runners": {}, "request": {}, "work": {},
}  # fmt: skip


def load(path: Path) -> dict[Any, Any]:
    data: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def steps() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            found += [(f"{path.name}, {name}", step) for step in job.get("steps", ())]
    for path in ACTIONS:
        found += [(f"{path.parent.name}", step) for step in load(path)["runs"]["steps"]]
    return found


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name}, {name}", job) for path in WORKFLOWS for name, job in load(path)["jobs"].items()]


def test_a_job_that_builds_has_the_time_that_workers_count_on() -> None:
    assert load(PROJECT / ".github/workflows/build-cache.yml")["jobs"]["build"]["timeout-minutes"] == JOB_MINUTES
    assert Limits().seconds < JOB_MINUTES * 60


def merged(*several: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in several:
        for name, access in one.items():
            found[name] = "write" if "write" in (access, found.get(name)) else access
    return found


def needed(job: dict[str, Any]) -> dict[str, str]:
    if called := job.get("uses"):
        return merged(*(needed(inner) for inner in load(PROJECT / called.removeprefix("$/"))["jobs"].values()))
    wanted = [USES.get(step.get("uses", "").partition("@")[0], {}) for step in job["steps"]]
    for step in job["steps"]:
        if match := RUN.fullmatch(step.get("run", "").strip()):
            wanted.append(TASKS[match["task"]])
    return merged(*wanted)


@pytest.mark.parametrize(("where", "job"), jobs(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_job_may_what_it_does_and_no_more(where: str, job: dict[str, Any]) -> None:
    assert job["permissions"] == needed(job), where


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_granted_to_all_jobs_and_nothing_comes_from_a_cache(path: Path) -> None:
    assert load(path)["permissions"] == {}
    assert load(path)["cache-mode"] == "none"
    assert "actions/cache" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("where", "step"), steps(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_step_is_one_nox_line(where: str, step: dict[str, Any]) -> None:
    """Only what fetches nox, what makes a bare container fit for that, and the test of this project itself, are other programs."""
    if "run" not in step:
        assert "@" not in step["uses"] or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]), where
        return
    assert "${{" not in step["run"], where
    if where in ("tools", "container") or step["run"] == ".ci/run":
        return
    if step["run"].strip() == DOCS:
        return
    match = RUN.fullmatch(step["run"].strip())
    assert match, f"{where}: {step['run']}"
    flags = {flag.name for task in task_help(PROJECT) if task.name == match["task"] for flag in task.flags}
    assert flags
    assert set(re.findall(r"--[a-z-]+", match["rest"])) <= flags, where


def test_others_actions_are_githubs_own() -> None:
    """Where an organisation allows no others, one of them would end every job: they are fetched before any condition is looked at."""
    others = {step["uses"].partition("@")[0] for _, step in steps() if "@" in step.get("uses", "")}
    assert all(name.startswith("actions/") for name in others), others


def test_python_for_containers_is_known_by_its_digest() -> None:
    """For each architecture that GitHub has runners of."""
    text = (PROJECT / ".github/actions/tools/python.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert [machine for machine, _, _ in lines] == ["x86_64", "aarch64"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for _, digest, _ in lines)
    assert all(f"-{machine}-unknown-linux-gnu-" in url and "cpython-3.11." in url for machine, _, url in lines)


def test_a_worker_may_write_nothing() -> None:
    build = load(PROJECT / ".github/workflows/build-cache.yml")["jobs"]["build"]
    assert set(build["permissions"].values()) == {"read"}
    assert all("secrets" not in str(value) for value in build["env"].values())


def test_the_one_step_that_publishes_has_the_signing_key() -> None:
    jobs = load(PROJECT / ".github/workflows/build-cache.yml")["jobs"]
    having = [(name, step.get("id")) for name, job in jobs.items() for step in job.get("steps", ()) if "secrets." in str(step)]
    assert having == [("publish", "publish")]
    whole = [name for name, job in jobs.items() if "secrets" in str({key: value for key, value in job.items() if key != "steps"})]
    assert whole == []


def test_there_are_as_many_slots_as_a_plan_may_have() -> None:
    build = load(PROJECT / ".github/workflows/build-cache.yml")["jobs"]["build"]
    slots = [step["with"]["slot"] for step in build["steps"] if step.get("uses") == "$/.github/actions/slot"]
    assert slots == [str(at + 1) for at in range(Limits().slots)]
    assert all(f"matrix.slots >= {step['with']['slot']}" in step["if"] for step in build["steps"] if "slot" in step.get("uses", ""))


def test_there_are_as_many_plans_and_attestations_as_a_run_may_have() -> None:
    from cachelib.pipeline.releasing import ATTESTATIONS
    from cachelib.steps.runners import MOST_RUNNERS

    found = load(PROJECT / ".github/workflows/build-cache.yml")["jobs"]
    assert list(found["plan"]["outputs"]) == [f"digest_{at + 1}" for at in range(MOST_RUNNERS)]
    files = [step["with"]["subject-checksums"] for step in found["publish"]["steps"] if "attest@" in step.get("uses", "")]
    assert files == [f"${{{{ steps.publish.outputs.subjects_{at + 1} }}}}" for at in range(ATTESTATIONS)]


def test_dispatch_and_call_take_the_same() -> None:
    on = load(PROJECT / ".github/workflows/build-cache.yml")[True]
    called = dict(on["workflow_call"]["inputs"])
    called.pop("config")
    assert called == on["workflow_dispatch"]["inputs"]
