"""The jobs around the builds: one plan of several, the next run, requests and their answers, schedules that live on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.errors import UsageError
from cachelib.model.plan import PLAN_VERSION
from cachelib.model.schedule import Costs, Limits
from cachelib.pipeline.planning import read_inputs
from cachelib.pipeline.plans import plan_meta, read_plans, write_plan
from cachelib.steps import planning
from cachelib.steps.building import parse_lock
from tests.contract.test_repositories import commit
from tests.support.actions.server import serving_api
from tests.support.actions.state import RunState, State
from tests.support.mirrors import make_node

PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


@dataclass
class Hub:
    """A repository with a run under way."""

    folder: Path
    state: State
    run: RunState

    def ws(self, permissions: dict[str, str] | None = None, **env: str) -> pipeline.Workspace:
        token, _ = self.state.token(77, "a job", permissions or {"actions": "read"})
        told = {
            "GITHUB_API_URL": self.state.api_url, "GITHUB_REPOSITORY": "acme/hub", "GITHUB_RUN_ID": "77", "GITHUB_TOKEN": token,
            "GITHUB_OUTPUT": str(self.folder / "output"), "GITHUB_SERVER_URL": "https://github.com",
        }  # fmt: skip
        (self.folder / "output").unlink(missing_ok=True)
        return replace(pipeline.open_workspace(str(self.folder / "cache.yaml")), env={**told, **env})

    def outputs(self) -> dict[str, str]:
        found, lines = {}, iter((self.folder / "output").read_text().splitlines())
        for line in lines:
            name, _, end = line.partition("<<")
            found[name] = "\n".join(iter(lambda end=end: next(lines), end))  # type: ignore[misc]
        return found

    def hand_on(self, number: int, stack: str = "s", jobs: int = 1, remember: bool = False, wanted: bool = False) -> str:
        """The plan of one kind of runner, as an artifact; gives its digest."""
        nodes = [make_node(f"p{at}-{stack}") for at in range(jobs)]
        lock = {
            "_meta": {"lockfile-version": 6}, "concrete_specs": {node["hash"]: node for node in nodes},
            "roots": [{"hash": node["hash"], "spec": node["name"]} for node in nodes],
        }  # fmt: skip
        made = planning.make_plan(
            parse_lock(lock), id=f"{number:08x}", stack=stack, image="v1.1", runner="r", present={}, seconds={node["name"]: 9000.0 for node in nodes},
            limits=Limits(workers=jobs), costs=Costs(),
        )  # fmt: skip
        folder = self.folder / f"made-{number}"
        files = {f"{made.key}/spack.lock": json.dumps(lock).encode(), f"{made.key}/spack.yaml": b"spack: {}\n"}
        files |= {f"{made.key}/wanted.json": b"{}"} if wanted else {}
        digest = write_plan(folder, {"plan": PLAN_VERSION, "remember": {made.key: "key"} if remember else {}}, [made], files)
        self.upload(folder, f"plan-{number}")
        return digest

    def upload(self, folder: Path, name: str) -> None:
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        self.state.store(self.run, name, files, "plan", overwrite=True, level=0, days=None)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "cache.yaml").write_text(f"registry: oci-layout:r\nstacks:\n  s: {{spack: {PIN}, packages: {PIN}, specs: [top]}}\n")
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/cache.yml").write_text(
        "on: {workflow_dispatch: {inputs: {specs: {type: string}}}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
    )
    state = State("acme/hub", tmp_path, "https://github.com")
    run = RunState(id=77, number=1, sha="0" * 40, workflow="cache.yml", folder=tmp_path / "artifacts")
    run.folder.mkdir()
    state.runs[77] = run
    with serving_api(state):
        yield Hub(tmp_path, state, run)


def test_one_plan_of_several(hub: Hub) -> None:
    digests = {"digest_1": hub.hand_on(1, "a", 2), "digest_2": hub.hand_on(2, "b", 3), "digest_3": ""}
    report = pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps(digests), GITHUB_EVENT_NAME="push"))
    assert report.exit_code == 0, report.text
    said = hub.outputs()
    jobs = json.loads(said["matrix"])["include"]
    assert said["jobs"] == str(len(jobs)) == "5"
    assert len({job["name"] for job in jobs}) == 5
    assert (said["publish"], said["site"]) == ("true", "true")
    assert {made.stack for made in read_plans(hub.folder / "var/plan", said["digest"])} == {"a", "b"}


@pytest.mark.parametrize(
    ("event", "inputs", "publish", "site"),
    [
        ("schedule", "{}", "true", "true"), ("workflow_dispatch", '{"publish": false}', "false", "false"),
        ("push", '{"site": "false"}', "true", "false"), ("pull_request", "{}", "false", "false"),
        ("pull_request_target", '{"publish": true}', "false", "false"),
    ],
)  # fmt: skip
def test_who_publishes(hub: Hub, event: str, inputs: str, publish: str, site: str) -> None:
    outputs = json.dumps({"digest_1": hub.hand_on(1)})
    pipeline.schedule(hub.ws(PLAN_OUTPUTS=outputs, GITHUB_EVENT_NAME=event, WORKFLOW_INPUTS=inputs))
    assert (hub.outputs()["publish"], hub.outputs()["site"]) == (publish, site)


@pytest.mark.parametrize(("ref", "site"), [("refs/heads/trunk", "true"), ("refs/heads/try", "false"), ("refs/tags/v1", "false")])
def test_another_branch_publishes_but_shows_no_site(hub: Hub, ref: str, site: str) -> None:
    event = hub.folder / "event.json"
    event.write_text(json.dumps({"repository": {"default_branch": "trunk"}}))
    pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps({"digest_1": hub.hand_on(1)}), GITHUB_REF=ref, GITHUB_EVENT_PATH=str(event)))
    assert (hub.outputs()["publish"], hub.outputs()["site"]) == ("true", site)


def test_with_nothing_to_build_only_what_is_new_is_remembered(hub: Hub) -> None:
    for remember, wanted, publish in ((False, False, "false"), (True, False, "true"), (False, True, "true")):
        outputs = json.dumps({"digest_1": hub.hand_on(1, jobs=0, remember=remember, wanted=wanted)})
        (hub.folder / "var/plans/1/plan.json").unlink(missing_ok=True)
        pipeline.schedule(hub.ws(PLAN_OUTPUTS=outputs))
        assert (hub.outputs()["jobs"], hub.outputs()["publish"]) == ("0", publish)


def test_a_plan_that_was_replaced_is_refused_and_the_others_stand(hub: Hub) -> None:
    digests = {"digest_1": hub.hand_on(1, "a"), "digest_2": hub.hand_on(2, "b")}
    hub.hand_on(1, "evil")
    report = pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps(digests)))
    assert "REFUSED  plan 1" in report.text
    assert {made.stack for made in read_plans(hub.folder / "var/plan")} == {"b"}
    # A lock that was exchanged in a plan that wasn't.
    digest = hub.hand_on(3, "c")
    (lock,) = (hub.folder / "made-3").glob("*/spack.lock")
    lock.write_text("{}")
    hub.upload(hub.folder / "made-3", "plan-3")
    report = pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps({"digest_3": digest, "digest_2": digests["digest_2"]})))
    assert "REFUSED  plan 3" in report.text


@pytest.mark.parametrize("outputs", ["", "[]", "{}", '{"digest_1": "x"}', '{"digest_../../x": "' + "0" * 64 + '"}', '{"digest_1": ["a"]}'])
def test_outputs_that_are_none(hub: Hub, outputs: str) -> None:
    with pytest.raises(UsageError):
        pipeline.schedule(hub.ws(PLAN_OUTPUTS=outputs))


def test_stacks_that_take_more_runners_than_there_are_are_told(hub: Hub) -> None:
    digests = {f"digest_{at}": hub.hand_on(at, f"s{at}", 11) for at in (1, 2)}
    assert "22 jobs of 2 stacks: GitHub Free runs 20 at once" in pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps(digests))).text
    digests = {"digest_3": hub.hand_on(3, "s3", 22)}
    shutil.rmtree(hub.folder / "var")
    assert "GitHub Free" not in pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps(digests))).text


def test_a_run_has_so_many_jobs(hub: Hub) -> None:
    digests = {f"digest_{at}": hub.hand_on(at, f"s{at}", 200) for at in (1, 2)}
    report = pipeline.schedule(hub.ws(PLAN_OUTPUTS=json.dumps(digests)))
    assert hub.outputs()["jobs"] == "200"
    assert "the next run builds it" in report.text
    assert plan_meta(hub.folder / "var/plan", hub.outputs()["digest"])[1], "which is to be started"


def test_the_next_run_is_the_same_again(hub: Hub) -> None:
    event = hub.folder / "event.json"
    event.write_text(json.dumps({"inputs": {"specs": "$(touch hacked)\nzlib", "workers": None}}))
    where = "acme/hub/.github/workflows/cache.yml@refs/heads/main"
    report = pipeline.again(hub.ws({"actions": "write"}, GITHUB_WORKFLOW_REF=where, GITHUB_EVENT_PATH=str(event)))
    assert "cache.yml is started once more" in report.text
    (call,) = hub.run.calls
    assert (call.target, call.body["inputs"], call.body["ref"]) == ("cache.yml", {"specs": "$(touch hacked)\nzlib"}, "refs/heads/main")
    with pytest.raises(UsageError):
        pipeline.again(hub.ws(GITHUB_WORKFLOW_REF="nonsense"))


def test_the_first_job_pins_what_every_other_one_takes(hub: Hub) -> None:
    origin = hub.folder / "origin"
    first = commit(origin, {"spack_repo/a/repo.yaml": "repo: {namespace: a}"})
    asked = json.dumps({"repos": f"{origin.as_uri()}#main:spack_repo/a"})
    pipeline.plan_runners(hub.ws(WORKFLOW_INPUTS=asked), inputs=True)
    pinned = hub.outputs()["repos"]
    assert pinned == f"{origin.as_uri()}#{first}:spack_repo/a"
    commit(origin, {"new": ""})
    assert read_inputs(hub.ws(WORKFLOW_INPUTS=asked, PINNED_REPOS=pinned)).repos == (pinned,)
    with pytest.raises(UsageError, match="which can move"):
        read_inputs(hub.ws(WORKFLOW_INPUTS=asked, PINNED_REPOS=f"{origin.as_uri()}#main"))
    # And so does the run that goes on with what is left.
    takes = "on: {workflow_dispatch: {inputs: {repos: {type: string}}}}\n"
    (hub.folder / ".github/workflows/cache.yml").write_text(takes + "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
    event = hub.folder / "event.json"
    event.write_text(json.dumps({"inputs": {"repos": f"{origin.as_uri()}#main:spack_repo/a"}}))
    told = {"GITHUB_WORKFLOW_REF": "acme/hub/.github/workflows/cache.yml@refs/heads/main", "GITHUB_EVENT_PATH": str(event)}
    pipeline.again(hub.ws({"actions": "write"}, PINNED_REPOS=pinned, **told))
    assert hub.run.calls[-1].body["inputs"] == {"repos": pinned}


@pytest.mark.parametrize(
    ("called", "sent"),
    [
        # As GitHub hands on what our workflow was called with: all of its inputs, where the caller takes only `specs`.
        ({"specs": "zlib\nhdf5 +hl", "stack": "s", "rebuild": False, "workers": 0, "config": "cache.yaml"}, {"specs": "zlib\nhdf5 +hl"}),
        ({"specs": "", "workers": 0}, {}), (None, {}),
        # What is said to be false is not left to the default of a run by hand.
        ({"specs": "", "site": False}, {"site": "false"}),
    ],
)  # fmt: skip
def test_a_run_for_an_issue_goes_on_with_what_it_was_asked(hub: Hub, called: Any, sent: dict[str, str]) -> None:
    event = hub.folder / "event.json"
    event.write_text(json.dumps({"issue": {"number": 7}}))
    takes = "on: {workflow_dispatch: {inputs: {specs: {type: string}, site: {type: boolean}}}}\n"
    (hub.folder / ".github/workflows/cache.yml").write_text(takes + "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
    told = {"GITHUB_WORKFLOW_REF": "acme/hub/.github/workflows/cache.yml@refs/heads/main", "GITHUB_WORKSPACE": str(hub.folder)}
    pipeline.again(hub.ws({"actions": "write"}, GITHUB_EVENT_PATH=str(event), WORKFLOW_INPUTS=json.dumps(called), **told))
    (call,) = hub.run.calls
    assert call.body["inputs"] == sent


@pytest.mark.parametrize("events", ["[push]", "push", "{push: {branches: [main]}}"])
def test_a_workflow_that_nobody_can_start_says_so(hub: Hub, events: str) -> None:
    path, jobs = hub.folder / ".github/workflows/cache.yml", "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
    path.write_text(f"on: {events}\n{jobs}")
    told = {"GITHUB_WORKFLOW_REF": "acme/hub/.github/workflows/cache.yml@refs/heads/main", "GITHUB_WORKSPACE": str(hub.folder)}
    with pytest.raises(UsageError, match="can't be started by another run") as caught:
        pipeline.again(hub.ws({"actions": "write"}, **told))
    assert "workflow_dispatch" in caught.value.hint
    path.write_text("on: [push, workflow_dispatch]\n" + jobs)
    pipeline.again(hub.ws({"actions": "write"}, **told))
    path.write_text("a: [\n")
    with pytest.raises(UsageError, match="can't be read"):
        pipeline.again(hub.ws({"actions": "write"}, **told))


def issue(hub: Hub, body: Any, **env: str) -> pipeline.Workspace:
    event = hub.folder / "event.json"
    event.write_text(json.dumps({"issue": {"number": 7, "body": body}}))
    return hub.ws({"actions": "read", "issues": "write"}, GITHUB_EVENT_NAME="issues", GITHUB_EVENT_PATH=str(event), **env)


def test_an_issue_asks(hub: Hub) -> None:
    pipeline.request(
        issue(
            hub, "### Spec\r\n\r\nhdf5@1.14 +hl ~mpi\r\n\r\n### Stack\r\n\r\n_No response_\r\n\r\n### What for\r\n\r\n### Spec\r\n\r\nevil"
        )
    )
    assert hub.outputs() == {"specs": "hdf5@1.14 +hl ~mpi", "stack": "", "rebuild": "false"}
    pipeline.request(
        hub.ws(GITHUB_EVENT_NAME="workflow_dispatch", WORKFLOW_INPUTS='{"specs": "zlib", "compiler": "gcc@13", "rebuild": true}')
    )
    assert hub.outputs() == {"specs": "zlib %gcc@13", "stack": "", "rebuild": "true"}


@pytest.mark.parametrize("body", [None, "", "please build zlib", "### Spec\n\n_No response_\n", "### Stack\n\ns\n"])
def test_an_issue_that_asks_for_nothing_says_how(hub: Hub, body: Any) -> None:
    with pytest.raises(UsageError, match="nothing is asked for") as caught:
        pipeline.request(issue(hub, body))
    assert "Spec" in caught.value.hint


def test_an_issue_for_a_stack_that_is_not_there(hub: Hub) -> None:
    with pytest.raises(UsageError, match="there is no stack"):
        pipeline.request(issue(hub, "### Spec\n\nzlib\n\n### Stack\n\n../etc\n"))


def test_the_answer_is_what_the_registry_holds(hub: Hub) -> None:
    digest = hub.hand_on(1, "s", 1)
    hub.upload(hub.folder / "made-1", "plan")
    report = pipeline.answer(issue(hub, "### Spec\n\nzlib\n"), digest)
    assert "was not built" in report.text
    (call,) = hub.run.calls
    assert call.body["body"].endswith("[The run](https://github.com/acme/hub/actions/runs/77)")


def test_what_is_wrong_with_a_request_is_answered(hub: Hub) -> None:
    with pytest.raises(UsageError):
        pipeline.request(issue(hub, "### Spec\n\nzlib\n\n### Stack\n\n<b>no\n"))
    pipeline.answer(issue(hub, "", REQUEST_OUTPUTS=json.dumps(hub.outputs())))
    said = hub.run.calls[0].body["body"]
    assert "there is no stack" in said
    assert "<b>" not in said


def test_the_answer_says_that_another_run_goes_on(hub: Hub) -> None:
    digest = hub.hand_on(1, "s", 1)
    hub.upload(hub.folder / "made-1", "plan")
    report = pipeline.answer(issue(hub, "### Spec\n\nzlib\n", BUILD_OUTPUTS='{"again": "true"}'), digest)
    assert "another run goes on with it" in report.text
    with pytest.raises(UsageError, match="BUILD_OUTPUTS"):
        pipeline.answer(issue(hub, "", BUILD_OUTPUTS="[]"), digest)


def test_a_pull_request_has_no_part_in_what_runs_share(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_SHARED", str(hub.folder / "kept"))
    monkeypatch.delenv("RUNNER_ENVIRONMENT", raising=False)
    for event, shared in (("push", "kept"), ("pull_request", "var"), ("pull_request_target", "var")):
        monkeypatch.setenv("GITHUB_EVENT_NAME", event)
        assert pipeline.open_workspace(str(hub.folder / "cache.yaml")).shared == hub.folder / shared
    monkeypatch.setenv("RUNNER_ENVIRONMENT", "github-hosted")
    assert pipeline.open_workspace(str(hub.folder / "cache.yaml")).shared == hub.folder / "kept", "there it is gone with the job"


def test_without_a_plan_the_answer_says_so(hub: Hub) -> None:
    pipeline.answer(issue(hub, "### Spec\n\nzlib\n"))
    assert "could not make sense" in hub.run.calls[0].body["body"]
    with pytest.raises(UsageError, match="no issue"):
        pipeline.answer(hub.ws(GITHUB_EVENT_NAME="push"))


def test_schedules_live_on_but_for_those_that_a_person_switched_off(hub: Hub) -> None:
    for name in ("off.yml", "tired.yml"):
        (hub.folder / ".github/workflows" / name).write_text("on: push\n")
    hub.state.switched |= {"off.yml": "disabled_manually", "tired.yml": "disabled_inactivity"}
    report = pipeline.keep_alive(hub.ws({"actions": "write"}))
    assert [line.split()[1] for line in report.lines] == [".github/workflows/cache.yml", ".github/workflows/tired.yml"]
    assert [call.target for call in hub.run.calls] == ["1", "3"]
