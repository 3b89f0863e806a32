"""Whatever a person writes into an input of a workflow, or into an issue, stays data: no shell runs it, no runner obeys it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.actions.records import RunResult
from tests.support.actions.settings import StepInfo
from tests.support.hub import BUILD_CACHE, Place, log

REQUEST = ".github/workflows/request-package.yml"
PAYLOADS = [
    "$(touch hacked)", "`touch hacked`", "; touch hacked", "| touch hacked", "&& touch hacked", "\"; touch hacked; \"", "'; touch hacked; '",
    "${{ github.token }}", "::set-env name=HACKED::yes", "::set-output name=jobs::9", "::error::HACKED", "##[error]HACKED", "--config=/etc/passwd",
    "-h", "../../etc/passwd", "{{ 7*7 }}", "%{HACKED}", "zlib@$(touch hacked)", "\u202ezlib", "a\tb", "/etc/passwd",
]  # fmt: skip


def check(place: Place, run: RunResult) -> None:
    """Nothing ran, nothing was obeyed, nothing was told to the world."""
    home = place.harness.settings.home
    assert [path for path in home.rglob("hacked*") if path.is_file()] == []
    for job in run.jobs.values():
        for step in job.steps:
            assert step.commands == (), f"{job.name}, {step.name}: {step.commands}"
        assert "ghs_" not in job.log + job.summary
        assert "HACKED" not in str(job.outputs.get("jobs", ""))
    assert place.repository().tags() == frozenset()


def upto(place: Place, *jobs: str) -> None:
    """Go no further than these jobs: what they hand on is looked at, and nothing is built."""

    def stop(job: str, step: StepInfo) -> None:
        if not job.rpartition(" / ")[2].startswith(jobs):
            place.harness.cancel()

    place.harness.settings.before_step = stop


def test_specs(template: Place) -> None:
    upto(template, "runners", "plan", "schedule")
    run = template.harness.run(BUILD_CACHE, event="workflow_dispatch", inputs={"specs": "\n".join(PAYLOADS)})
    check(template, run)
    said = run.jobs["plan (ubuntu-24.04)"].log
    # Each was read by Spack, and refused by it.
    assert said.count("REJECTED") >= len(PAYLOADS) - 2, said
    assert run.jobs["schedule"].outputs.get("jobs", "0") == "0", log(run)


def test_package_repositories(template: Place) -> None:
    """Refused by the first job, before anything is fetched: also what an option or a transport of git would make of it."""
    upto(template, "runners", "plan", "schedule")
    for payload in [
        *PAYLOADS[::6],
        "ext::sh -c touch% hacked",
        "--upload-pack=touch hacked",
        "https://127.0.0.1:9/r#--upload-pack=touch hacked",
    ]:
        run = template.harness.run(BUILD_CACHE, event="workflow_dispatch", inputs={"repos": payload, "specs": "nosuchpackage"})
        check(template, run)
        assert run.jobs["runners"].conclusion == "failure", (payload, log(run))
        assert "error: " in run.jobs["runners"].log
        assert "Traceback" not in run.jobs["runners"].log
        assert run.jobs["schedule"].conclusion == "skipped"


@pytest.mark.parametrize("name", ["stack", "seed"])
def test_other_texts(template: Place, name: str) -> None:
    upto(template, "runners", "plan", "schedule")
    for payload in PAYLOADS[:: 7 if name == "stack" else 10]:
        run = template.harness.run(BUILD_CACHE, event="workflow_dispatch", inputs={name: payload, "specs": "nosuchpackage"})
        check(template, run)
        if name == "stack":
            assert run.jobs["runners"].conclusion == "failure"
            assert "there is no stack" in run.jobs["runners"].log


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [
        ({"specs": "; touch hacked", "compiler": "$(touch hacked)", "target": "::error::HACKED", "stack": ""}, None),
        (None, "### Spec\n\n$(touch hacked) ::error::HACKED ${{ github.token }}\n\n### Stack\n\n_No response_\n\n### Spec\n\nzlib\n"),
    ],
)
def test_requests(template: Place, inputs: dict[str, Any] | None, payload: str | None) -> None:
    upto(template, "request", "runners", "plan", "schedule", "answer")
    if inputs is not None:
        run = template.harness.run(REQUEST, event="workflow_dispatch", inputs=inputs)
    else:
        issue = {"number": 7, "title": "$(touch hacked)", "body": payload, "user": {"login": "`touch hacked`"}}
        run = template.harness.run(REQUEST, event="issues", payload={"action": "labeled", "label": {"name": "build"}, "issue": issue})
    check(template, run)
    assert run.jobs["request"].conclusion == "success", log(run)
    (planned,) = (job for name, job in run.jobs.items() if name.startswith("build / plan"))
    assert "REJECTED" in planned.log
    if payload is not None:
        # The answer says so, and what was written is no markup in it.
        (comment,) = (call for call in run.calls if call.kind == "comment")
        assert "could not make sense of the request" in str(comment.body)


@pytest.mark.parametrize("label", ["bug", "build; touch hacked", "BUILD IT"])
def test_another_label_starts_nothing(template: Place, label: str) -> None:
    issue = {"number": 7, "title": "t", "body": "### Spec\n\nzlib\n"}
    run = template.harness.run(REQUEST, event="issues", payload={"action": "labeled", "label": {"name": label}, "issue": issue})
    assert {job.conclusion for job in run.jobs.values()} == {"skipped"}, log(run)
    assert isinstance(template.harness.settings.home, Path)
