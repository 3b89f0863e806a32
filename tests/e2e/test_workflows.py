"""The workflows as they stand, run on this machine: from an empty repository to a cache that is whole, killed and hostile runs too."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from tests.e2e.conftest import Client
from tests.e2e.test_stock_spack import program, spec_file
from tests.support.actions.records import RunResult
from tests.support.actions.settings import StepInfo
from tests.support.docker_registry import Server
from tests.support.hub import BUILD_CACHE, CALLER, EXAMPLES, WHOLE, Place, log, make_harness, settings, this_project, track


def workers(run: RunResult) -> list[str]:
    return sorted(name for name in run.jobs if "build (examples on " in name)


def conclusions(run: RunResult, without: list[str]) -> dict[str, str]:
    return {name: job.conclusion for name, job in run.jobs.items() if name not in without}


@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_the_template_from_nothing_to_a_cache_and_a_site(template: Place, client: Client) -> None:
    run = template.harness.run(BUILD_CACHE, event="workflow_dispatch")
    assert len(workers(run)) == 3, log(run)
    # The broken package makes its worker red, and nothing else.
    assert sorted(run.jobs[name].conclusion for name in workers(run)) == ["failure", "success", "success"], log(run)
    assert conclusions(run, workers(run)) == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "publish": "success", "site / deploy": "success",
        "again": "skipped",
    }, log(run)  # fmt: skip
    assert template.published() == WHOLE
    # All that was published is attested, by digest; the site shows it; the failure is told where people look.
    (attestation,) = run.attestations
    repository = template.repository()
    found = {repository.manifest(tag) for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"}
    assert {digest for _, digest in attestation.subjects} == {str(raw.digest) for raw in found if raw is not None}
    # And that lies beside each of them, where clients look for it.
    lists = [repository.manifest(f"sha256-{digest.removeprefix('sha256:')}") for _, digest in attestation.subjects]
    kinds = [[one["artifactType"] for one in json.loads(raw.data)["manifests"]] for raw in lists if raw is not None]
    assert kinds == [["application/vnd.dev.sigstore.bundle.v0.3+json"]] * len(attestation.subjects)
    (site,) = run.deployments
    front = (site.folder / "index.html").read_text(encoding="utf-8")
    assert "moonphase" in front
    # The documentation goes with it, and they lead to each other.
    assert '<a href="docs/index.html">' in front
    assert '<a href="./../index.html">' in (site.folder / "docs/index.html").read_text(encoding="utf-8")
    weather = (site.folder / "weather/index.html").read_text(encoding="utf-8")
    assert "<code>broken-clock</code>" in weather
    assert "failed since" in weather
    assert "4 ready" in weather
    # What it is all for: a user's Spack installs from it, with what the site has of the build, and compiles nothing.
    user = dataclasses.replace(client, mirrors={"cache": template.image})
    user.run("install", "--use-buildcache", "only", "--no-check-signature", str(spec_file(site.folder, "sundial")[1]))
    assert subprocess.run([program(user, "sundial"), "52", "172"], text=True, capture_output=True, check=True).stdout.startswith("16.50")
    (annotation,) = run.jobs["publish"].annotations
    assert (annotation.level, "broken-clock" in annotation.title, "no_such_variable" in annotation.text) == ("error", True, True)
    assert "https://github.com/spack/spack-packages/issues/new?title=" in run.jobs["publish"].summary
    assert "section Worker 1" in run.jobs["plan (ubuntu-24.04)"].summary

    # `Re-run failed jobs`: what failed is tried again, what was built is not, and all of it is handed on once more.
    red = next(name for name in workers(run) if run.jobs[name].conclusion == "failure")
    twice = template.harness.rerun_failed(run)
    assert [name for name, job in twice.jobs.items() if job.attempt == 2 and "build (" in name] == [red], log(twice)
    assert twice.jobs[red].log.count("FAILED   broken-clock") == 1
    assert twice.jobs[red].log.count("  built ") == run.jobs[red].log.count("  built ")
    assert "(2 times, last in phase install)" in twice.jobs["publish"].log, log(twice)
    assert template.published() == WHOLE

    # Again, with nothing changed: nothing is concretized or built, and hardly anything asked. What failed is not tried each night.
    before = template.registry.requests()
    again = template.harness.run(BUILD_CACHE, event="schedule")
    assert conclusions(again, []) == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "${{ matrix.name }}": "skipped",
        "publish": "skipped", "site": "skipped", "again": "skipped",
    }, log(again)  # fmt: skip
    said = again.jobs["plan (ubuntu-24.04)"].log
    assert "the concretization of stack examples is remembered" in said, said
    assert "concretizing" not in said
    assert "Spack v1.1.0 in" not in said  # it isn't even installed
    assert "failing  broken-clock" in said
    assert template.registry.requests() - before < 20


def test_fifteen_lines_in_a_repository_of_ones_own(workspace: pipeline.Workspace, server: Server, tmp_path: Path) -> None:
    """A pull request builds and publishes nothing; a run whose worker dies leaves a cache that works, and the next one ends it."""
    folder = tmp_path / "own"
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/cache.yml").write_text(CALLER)
    shutil.copytree(EXAMPLES / "spack_repo", folder / "spack_repo", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "cache.yaml").write_text(settings(f"{server.url}/me/own", "spack_repo/examples"), encoding="utf-8")
    killed: list[str] = []

    def kill(job: str, step: StepInfo, outcome: str) -> None:
        # The machine of the first worker, which has more to do, goes away once it has handed something on.
        if not killed and job.endswith(", worker 1)") and outcome == "success" and "slot" in step.uses:
            killed.append(job)
            harness.kill(job)

    harness = make_harness(
        track(folder), tmp_path, repository="me/own", actions={"spack-cache/spack-cache": track(this_project(tmp_path / "project"))}
    )
    place = Place(harness=harness, registry=server, image=f"{server.url}/me/own/v1.1")
    pull = {"pull_request": {"head": {"repo": {"full_name": "stranger/own"}}, "base": {"repo": {"full_name": "me/own"}}}}
    whole = (folder / "cache.yaml").read_text(encoding="utf-8")
    small = yaml.safe_load(whole)
    small["stacks"]["examples"]["specs"] = ["almanac-data"]
    (folder / "cache.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    run = harness.run(".github/workflows/cache.yml", event="pull_request", payload=pull)
    assert [run.jobs[name].conclusion for name in workers(run)] == ["success"], log(run)
    assert {name.rpartition(" / ")[2]: how for name, how in conclusions(run, workers(run)).items()} == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "publish": "skipped", "site": "skipped",
        "again": "skipped",
    }, log(run)  # fmt: skip
    assert place.repository().tags() == frozenset()

    (folder / "cache.yaml").write_text(whole, encoding="utf-8")
    harness.settings.after_step = kill
    run = harness.run(".github/workflows/cache.yml", event="push")
    assert killed, log(run)
    assert run.jobs[killed[0]].conclusion == "failure"
    assert run.jobs["cache / publish"].conclusion == "success", log(run)
    part = place.published()
    assert part < WHOLE
    # There is work left and some was done, so the run started the next one by itself.
    assert [call.target for call in run.dispatches] == ["cache.yml"], log(run)

    harness.settings.after_step = None
    run = harness.run(".github/workflows/cache.yml", event="workflow_dispatch")
    assert place.published() == WHOLE, log(run)
    assert run.dispatches == ()


def test_a_run_that_is_cancelled_between_any_two_jobs_costs_nothing(template: Place) -> None:
    """Cancelled at the beginning of one job after the other, the cache is as before or whole; the run after that ends it."""
    path = template.harness.settings.repo.folder / "cache.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["stacks"]["examples"]["specs"] = ["almanac-data"]
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    reached: list[str] = []
    for at, there in (("plan", set()), ("schedule", set()), ("build", set()), ("publish", set()), ("site", {"almanac-data"})):

        def cancel(job: str, step: StepInfo, at: str = at) -> None:
            if job.startswith(at):
                reached.append(at)
                template.harness.cancel()

        template.harness.settings.before_step = cancel
        run = template.harness.run(BUILD_CACHE, event="workflow_dispatch")
        assert run.conclusion == "cancelled", log(run)
        assert reached[-1] == at
        assert template.published() == there, log(run)
        assert run.deployments == ()
    template.harness.settings.before_step = None
    run = template.harness.run(BUILD_CACHE, event="workflow_dispatch", inputs={"rebuild": True})
    assert run.conclusion == "success", log(run)
    assert template.published() == {"almanac-data"}
    assert len(run.deployments) == 1
