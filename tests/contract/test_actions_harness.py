"""The harness that runs workflows: it must go wrong where GitHub goes wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_socket import enable_socket

from tests.support.actions.harness import Harness
from tests.support.actions.records import RunResult
from tests.support.actions.settings import Action, StepInfo
from tests.support.actions.state import ActionError, Fault
from tests.support.actions.values import WorkflowError

SHA = "0123456789abcdef0123456789abcdef01234567"
Make = Callable[..., Harness]


@pytest.fixture(autouse=True)
def walled_off() -> None:
    """No wall here: a workflow is programs, and its API a server of this machine."""
    enable_socket()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A harness over files that the test writes; `w.yml` is the workflow. A minute takes a second."""

    def made(workflow: str = "", files: dict[str, str] | None = None, **arguments: Any) -> Harness:
        write(tmp_path / "repo", {".github/workflows/w.yml": workflow, **(files or {})})
        defaults: dict[str, Any] = {"minute": 1.0, "grace": (0.2, 0.2)}
        return Harness(tmp_path / "repo", tmp_path / "runs", **defaults | arguments)

    return made


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def go(harness: Harness, event: str = "workflow_dispatch", **arguments: Any) -> RunResult:
    return harness.run(".github/workflows/w.yml", event, **arguments)


def conclusions(run: RunResult) -> dict[str, str]:
    return {name: job.conclusion for name, job in run.jobs.items()}


#: A program that asks the API: METHOD PATH [ETag]; prints the status, the ETag and the body.
ASK = """
import json, os, sys, urllib.error, urllib.request
method, path, *tag = sys.argv[1:]
headers = {"Authorization": "Bearer " + os.environ["TOKEN"], **({"If-None-Match": tag[0]} if tag else {})}
body = sys.stdin.read().encode() or None
request = urllib.request.Request(os.environ["GITHUB_API_URL"] + "/repos/" + os.environ["GITHUB_REPOSITORY"] + path, body, headers, method=method)
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *a): return None
try:
    answer = urllib.request.build_opener(Stay).open(request)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.headers.get("ETag", "-"), answer.headers.get("Location", "-"), answer.headers["x-ratelimit-remaining"], answer.read().decode())
"""


def test_a_machine_has_what_github_puts_there_and_nothing_else(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "yes")
    harness = make(
        """
        on: [workflow_dispatch, push]
        env: {LEVEL: workflow, ONE: "${{ vars.ONE }}"}
        jobs:
          a:
            runs-on: ubuntu-24.04
            env: {LEVEL: job}
            steps:
              - run: |
                  env | sort
                  test "$PWD" = "$GITHUB_WORKSPACE" && test -z "$(ls)" && test -d "$HOME" && test -z "$(ls -A "$HOME")"
                  grep -q '"ref"' "$GITHUB_EVENT_PATH"
                  echo "LATER=set" >> "$GITHUB_ENV"
                  mkdir bin && printf '#!/bin/sh\\necho mine' > bin/tool && chmod +x bin/tool && echo "$PWD/bin" >> "$GITHUB_PATH"
                env: {LEVEL: step}
              - run: echo "$LATER ${{ env.LATER }} $LEVEL $(tool)"
              - run: 'false | true; echo went on'
              - run: 'false | true; echo went on'
                shell: bash
        """,
        env={"EXTRA": "1"},
        vars={"ONE": "eins"},
    )
    job = go(harness).jobs["a"]
    assert job.conclusion == "failure"
    said = dict(line.split("=", 1) for line in job.steps[0].log.splitlines() if "=" in line)
    assert "LEAKED" not in said
    assert said["LEVEL"] == "step"
    assert (said["ONE"], said["EXTRA"], said["CI"], said["GITHUB_ACTIONS"]) == ("eins", "1", "true", "true")
    assert (said["GITHUB_REPOSITORY"], said["GITHUB_REPOSITORY_OWNER"], said["GITHUB_REF_NAME"]) == ("acme/hub", "acme", "main")
    assert said["GITHUB_WORKFLOW_REF"] == "acme/hub/.github/workflows/w.yml@refs/heads/main"
    assert {
        "GITHUB_RUN_ID",
        "GITHUB_RUN_NUMBER",
        "GITHUB_RUN_ATTEMPT",
        "GITHUB_SHA",
        "GITHUB_JOB",
        "GITHUB_ACTOR",
        "RUNNER_OS",
        "RUNNER_ARCH",
        "ImageOS",
    } <= said.keys()
    assert "GITHUB_TOKEN" not in said
    assert job.steps[1].log == "set set job mine\n"
    assert [step.outcome for step in job.steps] == ["success", "success", "success", "failure"]
    assert job.steps[3].complaints == ("Process completed with exit code 1.",)


def test_failures_go_down_the_chain_as_documented(make: Make) -> None:
    run = go(
        make(
            """
            on: workflow_dispatch
            jobs:
              bad: {runs-on: x, steps: [{run: exit 3}, {run: echo never}, {run: "echo ${{ job.status }}", if: failure()}]}
              good: {runs-on: x, steps: [{run: "true"}]}
              after: {runs-on: x, needs: [bad, good], steps: [{run: "true"}]}
              later: {runs-on: x, needs: after, if: always(), steps: [{run: "echo ${{ needs.after.result }}"}]}
              last: {runs-on: x, needs: later, steps: [{run: "true"}]}
              report: {runs-on: x, needs: after, if: failure(), steps: [{run: "true"}]}
              tolerant: {runs-on: x, continue-on-error: true, steps: [{run: "false"}]}
              needy: {runs-on: x, needs: tolerant, steps: [{run: "echo ${{ needs.tolerant.result }}"}]}
              step: {runs-on: x, steps: [{run: "false", id: s, continue-on-error: true}, {run: "echo ${{ steps.s.outcome }} ${{ steps.s.conclusion }}"}]}
            """
        )
    )
    assert run.conclusion == "failure"
    assert conclusions(run) == {
        "bad": "failure", "good": "success", "after": "skipped", "later": "success", "last": "skipped", "report": "success",
        "tolerant": "failure", "needy": "success", "step": "success",
    }  # fmt: skip
    assert [step.outcome for step in run.jobs["bad"].steps] == ["failure", "skipped", "success"]
    assert run.jobs["bad"].log == "Process completed with exit code 3.\nfailure\n"
    assert run.jobs["later"].log == "skipped\n"
    assert run.jobs["needy"].log == "success\n"
    assert run.jobs["step"].log.endswith("failure success\n")


PARALLEL = """
on: workflow_dispatch
jobs:
  plan:
    runs-on: x
    outputs: {slots: "${{ steps.p.outputs.slots }}"}
    steps: [{id: p, run: 'echo ''slots=[{"package": "a", "worker": 1}, {"package": "b", "worker": 2}]'' >> "$GITHUB_OUTPUT"'}]
  build:
    name: build (${{ matrix.package }}, worker ${{ matrix.worker }})
    needs: plan
    runs-on: x
    strategy: {matrix: {include: "${{ fromJSON(needs.plan.outputs.slots) }}"}, fail-fast: false}
    outputs: {said: "${{ steps.s.outputs.said }}"}
    steps:
      - id: s
        run: |
          touch "$MEET/${{ matrix.worker }}"
          for i in $(seq 200); do [ "$(ls "$MEET" | wc -l)" = 2 ] && break; sleep 0.02; done
          [ "$(ls "$MEET" | wc -l)" = 2 ]
          [ ${{ matrix.worker }} = 1 ] && echo said=one >> "$GITHUB_OUTPUT" || sleep 0.1
  publish: {needs: build, runs-on: x, if: "${{ !cancelled() }}", steps: [{run: "echo ${{ needs.build.result }} ${{ needs.build.outputs.said }}"}]}
"""


def test_members_of_a_matrix_from_an_output_run_at_the_same_time(make: Make, tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    run = go(make(PARALLEL, env={"MEET": str(tmp_path / "meet")}))
    assert list(run.jobs)
    assert run.conclusion == "success"
    first, second = run.jobs["build (a, worker 1)"], run.jobs["build (b, worker 2)"]
    assert first.folder != second.folder
    assert first.started
    assert second.ended
    assert first.started < second.ended
    assert second.matrix == {"package": "b", "worker": 2}
    assert run.jobs["publish"].log == "success one\n"


def test_with_one_runner_they_do_not(make: Make, tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    run = go(make(PARALLEL.replace("seq 200", "seq 10"), env={"MEET": str(tmp_path / "meet")}, runners=1))
    assert sorted(conclusions(run).values()) == ["failure", "success", "success", "success"]


def test_an_empty_matrix_is_a_failure_and_a_skipped_one_is_none(make: Make) -> None:
    workflow = """
    on: workflow_dispatch
    jobs:
      build: {runs-on: x, if: "%s", strategy: {matrix: {a: "${{ fromJSON('[]') }}"}}, steps: [{run: "true"}]}
    """
    run = go(make(workflow % "true"))
    assert (run.conclusion, conclusions(run)) == ("failure", {"build": "failure"})
    assert "does not contain any values" in run.jobs["build"].complaints[0]
    assert conclusions(go(make(workflow % "false"))) == {"build": "skipped"}


def test_fail_fast_cancels_the_others(make: Make) -> None:
    workflow = """
    on: workflow_dispatch
    jobs:
      build:
        runs-on: x
        strategy: {matrix: {n: [1, 2]}, fail-fast: %s}
        steps:
          - run: if [ ${{ matrix.n }} = 1 ]; then sleep 0.2; exit 1; else sleep %s; fi
          - run: echo cleaned
            if: ${{ cancelled() }}
    """
    run = go(make(workflow % ("true", 30)))
    assert (conclusions(run), run.conclusion) == ({"build (1)": "failure", "build (2)": "cancelled"}, "failure")
    assert run.jobs["build (2)"].steps[1].log == "cleaned\n"
    assert conclusions(go(make(workflow % ("false", 0.3)))) == {"build (1)": "failure", "build (2)": "success"}


def test_a_killed_worker_says_nothing_more_and_others_go_on(make: Make) -> None:
    harness = make(
        """
        on: workflow_dispatch
        jobs:
          build:
            runs-on: x
            strategy: {matrix: {n: [1, 2]}, fail-fast: false}
            outputs: {n1: "${{ steps.s.outputs.n }}"}
            steps:
              - id: s
                run: |
                  echo "n=${{ matrix.n }}" >> "$GITHUB_OUTPUT"
                  if [ ${{ matrix.n }} = 1 ]; then trap 'echo trapped' EXIT; echo now; sleep 30; fi
              - run: echo never
                if: always()
          after: {runs-on: x, needs: build, if: "${{ !cancelled() }}", steps: [{run: "echo ${{ needs.build.result }}"}]}
          strict: {runs-on: x, needs: build, steps: [{run: "true"}]}
        """
    )

    def on_line(job: str, step: StepInfo, line: str) -> None:
        if line == "now":
            harness.kill(job)

    harness.settings.on_line = on_line
    run = go(harness)
    assert conclusions(run) == {"build (1)": "failure", "build (2)": "success", "after": "success", "strict": "skipped"}
    assert "trapped" not in run.jobs["build (1)"].log
    assert len(run.jobs["build (1)"].steps) == 1
    assert run.jobs["after"].log == "failure\n"
    assert "never" in run.jobs["build (2)"].log
    harness.settings.on_line = None
    before = run.jobs["build (2)"]
    harness.settings.repo.folder.joinpath(".github/workflows/w.yml").unlink()  # an attempt runs what the first one ran
    harness.settings.before_step = lambda job, step: harness.kill(job, "cancelled") if step.attempt == 2 and job == "build (1)" else None
    again = harness.rerun_failed(run)
    assert (again.id, again.attempt, again.conclusion) == (run.id, 2, "cancelled")
    assert again.jobs["build (2)"] == before
    assert again.jobs["build (1)"].attempt == 2
    assert conclusions(again)["strict"] == "skipped"


def test_a_machine_that_dies_within_an_action_runs_nothing_more_of_it(make: Make) -> None:
    action = (
        "name: x\nruns: {using: composite, steps: [{shell: bash, run: echo now; sleep 30}, {shell: bash, run: echo never, if: always()}]}"
    )
    harness = make("on: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{uses: $/x}]}}", {"x/action.yml": action})
    harness.settings.on_line = lambda job, step, line: harness.kill(job)
    job = go(harness).jobs["a"]
    assert (job.conclusion, job.steps[0].outcome) == ("failure", "cancelled")
    assert "never" not in job.log


def test_a_run_can_be_cancelled_between_two_jobs(make: Make) -> None:
    harness = make(
        """
        on: workflow_dispatch
        jobs:
          one: {runs-on: x, steps: [{run: echo 1, id: last}]}
          two: {runs-on: x, needs: one, steps: [{run: "true"}]}
          three: {runs-on: x, needs: two, if: always(), steps: [{run: "true"}]}
          four: {runs-on: x, needs: two, if: "${{ !cancelled() }}", steps: [{run: "true"}]}
        """
    )
    harness.settings.after_step = lambda job, step, outcome: harness.cancel() if step.id == "last" else None
    run = go(harness)
    assert run.conclusion == "cancelled"
    assert conclusions(run) == {"one": "cancelled", "two": "skipped", "three": "success", "four": "skipped"}


def test_rerun_failed_keeps_artifacts_and_outputs(make: Make) -> None:
    harness = make(
        f"""
        on: workflow_dispatch
        jobs:
          plan:
            runs-on: x
            outputs: {{n: "${{{{ steps.s.outputs.n }}}}"}}
            steps: [{{id: s, run: 'echo n=$RANDOM$RANDOM >> "$GITHUB_OUTPUT"; echo plan > p'}}, {{uses: actions/upload-artifact@{SHA}, with: {{name: plan, path: p}}}}]
          build:
            needs: plan
            runs-on: x
            steps:
              - uses: actions/download-artifact@{SHA}
                with: {{name: plan}}
              - run: test $(cat p) = plan && test "$GITHUB_RUN_ATTEMPT" = 2 && echo ${{{{ needs.plan.outputs.n }}}}
          after: {{needs: build, runs-on: x, steps: [{{run: "true"}}]}}
          good: {{needs: plan, runs-on: x, steps: [{{run: "true"}}]}}
        """
    )
    first = go(harness)
    assert conclusions(first) == {"plan": "success", "build": "failure", "after": "skipped", "good": "success"}
    second = harness.rerun_failed(first)
    assert conclusions(second) == {"plan": "success", "build": "success", "after": "success", "good": "success"}
    assert second.conclusion == "success"
    assert second.jobs["plan"] == first.jobs["plan"]
    assert second.jobs["good"] == first.jobs["good"]
    assert second.jobs["build"].log.endswith(f"{first.jobs['plan'].outputs['n']}\n")
    other = go(harness)
    assert (other.id != first.id, other.number, other.attempt) == (True, 2, 1)
    assert other.artifacts["plan"].id != first.artifacts["plan"].id


def test_artifacts_are_seen_by_a_job_that_runs_and_304_costs_nothing(make: Make) -> None:
    harness = make(
        f"""
        on: workflow_dispatch
        permissions: {{actions: read}}
        jobs:
          maker:
            runs-on: x
            steps:
              - run: until [ -e "$MEET/ready" ]; do sleep 0.02; done; mkdir parts; echo hello > parts/a.txt; echo > parts/.hidden
              - uses: actions/upload-artifact@{SHA}
                id: up
                with: {{name: part-1, path: parts}}
              - run: touch "$MEET/there"; echo ${{{{ steps.up.outputs.artifact-digest }}}}
          watcher:
            runs-on: x
            env: {{TOKEN: "${{{{ github.token }}}}"}}
            steps:
              - run: |
                  ask() {{ "$PYTHON" "$ASK" "$@" < /dev/null; }}
                  L=/actions/runs/$GITHUB_RUN_ID/artifacts
                  ask GET $L > 1; cat 1; ask GET $L "$(cut -d' ' -f2,2 1 | tr -d '\\n')" || true
                  touch "$MEET/ready"; until [ -e "$MEET/there" ]; do sleep 0.02; done
                  ask GET "$L?name=part-1&per_page=1" > 2; cat 2
                  ID=$(grep -o '"id": [0-9]*' 2 | head -1 | cut -d' ' -f2)
                  ask GET /actions/artifacts/$ID/zip > 3; cat 3
                  URL=$(cut -d' ' -f3 3)
                  "$PYTHON" - "$URL" <<'EOF'
                  import io, os, sys, urllib.request, urllib.error, zipfile
                  data = urllib.request.urlopen(sys.argv[1]).read()
                  print(zipfile.ZipFile(io.BytesIO(data)).namelist())
                  try:
                      urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={{"Authorization": "Bearer " + os.environ["TOKEN"]}}))
                  except urllib.error.HTTPError as error:
                      print("with a token", error.status)
                  EOF
                  ask GET /actions/runs/$GITHUB_RUN_ID/attempts/1/jobs
                  ask POST /issues/7/comments
        """
    )
    prepared(harness)
    run = go(harness)
    assert run.conclusion == "success", run.jobs["watcher"].log
    said = run.jobs["watcher"].log.splitlines()
    assert said[0].startswith("200 W/")
    assert '"total_count": 0' in said[0]
    assert said[1].startswith("304 W/")
    assert said[0].split()[3] == said[1].split()[3] == "999"
    artifact = run.artifacts["part-1"]
    assert '"total_count": 1' in said[2]
    assert artifact.digest in said[2]
    assert str(artifact.id) in said[2]
    assert said[3].startswith("302 - http://localhost:")
    assert said[4:6] == ["['a.txt']", "with a token 400"]
    assert '"status": "in_progress"' in said[6]
    assert '"name": "watcher"' in said[6]
    assert said[7].startswith("403")
    assert "Resource not accessible by integration" in said[7]
    assert run.jobs["maker"].log.endswith(f"{artifact.digest.removeprefix('sha256:')}\n")
    assert artifact.files() == {"a.txt": b"hello\n"}
    assert run.jobs["watcher"].used == {"actions: read", "issues: write"}
    assert run.jobs["maker"].used == frozenset()
    assert harness.state.tokens == {}
    assert run.calls == ()


def prepared(harness: Harness) -> None:
    """Give its machines the program that asks, a python, and a place to meet."""
    home = harness.settings.home.parent
    (home / "meet").mkdir()
    (home / "ask.py").write_text(ASK)
    harness.settings.env = {"ASK": str(home / "ask.py"), "PYTHON": sys.executable, "MEET": str(home / "meet")}


def test_what_is_written_through_the_api_is_kept(make: Make) -> None:
    harness = make(
        """
        on: workflow_dispatch
        jobs:
          a:
            runs-on: x
            permissions: {actions: write, issues: write, pages: read}
            env: {TOKEN: "${{ secrets.GITHUB_TOKEN }}"}
            steps:
              - run: |
                  ask() { "$PYTHON" "$ASK" "$@" | cut -c1-200; }
                  echo '{"ref": "main", "inputs": {"spec": "zlib"}}' | ask POST /actions/workflows/w2.yml/dispatches
                  echo '{"ref": "main"}' | ask POST /actions/workflows/w3.yml/dispatches
                  echo '{"ref": "main"}' | ask POST /actions/workflows/none.yml/dispatches
                  ask PUT /actions/workflows/w2.yml/enable < /dev/null
                  echo '{"body": "hi"}' | ask POST /issues/7/comments
                  echo '{"labels": ["x"]}' | ask POST /issues/7/labels
                  ask DELETE /issues/7/labels/needs%20work < /dev/null
                  ask GET /pages < /dev/null
                  ask GET /pages < /dev/null
                  ask GET /pages < /dev/null
                  echo "my token: $TOKEN"
        """,
        {
            ".github/workflows/w2.yml": "on: {workflow_dispatch: {inputs: {spec: {}}}}\njobs: {a: {runs-on: x, steps: []}}",
            ".github/workflows/w3.yml": "on: push\njobs: {a: {runs-on: x, steps: []}}",
        },
    )
    prepared(harness)
    harness.state.pages = {"html_url": "https://cache.example.org/", "cname": "cache.example.org", "build_type": "workflow"}
    harness.state.limit = 9
    harness.state.faults = [Fault("GET .*/pages", nth=2)]
    run = go(harness)
    said = run.jobs["a"].log.splitlines()
    assert [line.split()[0] for line in said[:10]] == ["204", "422", "404", "204", "201", "200", "200", "200", "502", "200"]
    assert [(call.kind, call.target) for call in run.calls] == [
        ("dispatch", "w2.yml"),
        ("enable", "w2.yml"),
        ("comment", "7"),
        ("label", "7"),
        ("unlabel", "7/needs work"),
    ]
    assert run.dispatches[0].body == {"ref": "main", "inputs": {"spec": "zlib"}}
    assert "cname" in said[7]
    assert said[10] == "my token: ***"
    again = go(harness).jobs["a"].log.splitlines()
    assert again[0].split()[:1] == ["403"]
    assert "rate limit" in again[0]
    assert again[0].split()[3] == "0"


def test_the_token_of_a_fork_only_reads(make: Make) -> None:
    harness = make(
        """
        on: [pull_request, pull_request_target]
        permissions: {contents: write, id-token: write}
        jobs: {a: {runs-on: x, steps: [{run: "echo $GITHUB_REF"}]}}
        """
    )
    forked = {
        "number": 5,
        "pull_request": {
            "number": 5,
            "head": {"ref": "x", "repo": {"full_name": "stranger/hub"}},
            "base": {"ref": "main", "repo": {"full_name": "acme/hub"}},
        },
    }
    job = go(harness, "pull_request", payload=forked).jobs["a"]
    assert (job.permissions, job.log) == ({"contents": "read"}, "refs/pull/5/merge\n")
    assert go(harness, "pull_request_target", payload=forked).jobs["a"].permissions["contents"] == "write"
    own = {"pull_request": {"head": {"repo": {"full_name": "acme/hub"}}}}
    assert go(harness, "pull_request", payload=own).jobs["a"].permissions == {"contents": "write", "id-token": "write"}


HUB = {
    ".github/workflows/build.yml": """
        on:
          workflow_call:
            inputs: {spec: {type: string, required: true}, jobs: {type: number, default: 2}, push: {type: boolean}}
            outputs: {made: {value: "${{ jobs.inner.outputs.made }}"}}
        jobs:
          inner:
            runs-on: x
            outputs: {made: "${{ steps.a.outputs.made }}"}
            steps:
              - id: a
                uses: $/.github/actions/make
                with: {spec: "${{ inputs.spec }}"}
              - run: test "${{ github.repository }} ${{ inputs.jobs == 2 }} ${{ inputs.push }}" = "acme/hub true false"
        """,
    ".github/actions/make/action.yml": """
        name: make
        inputs: {spec: {required: true}, suffix: {default: "-${{ github.event_name }}"}}
        outputs: {made: {value: "${{ steps.two.outputs.made }}"}}
        runs:
          using: composite
          steps:
            - uses: $/.github/actions/deeper
              id: one
            - id: two
              shell: bash
              run: |
                cat "$GITHUB_ACTION_PATH/../../../data.txt"
                test "$GITHUB_ACTION_PATH" = "${{ github.action_path }}"
                test ! -e data.txt
                echo "made=${{ inputs.spec }}${{ inputs.suffix }}+${{ steps.one.outputs.deep }}" >> "$GITHUB_OUTPUT"
        """,
    ".github/actions/deeper/action.yml": """
        name: deeper
        outputs: {deep: {value: "${{ steps.x.outputs.v }}"}}
        runs: {using: composite, steps: [{id: x, shell: sh, run: "echo v=deep >> $GITHUB_OUTPUT"}]}
        """,
    "data.txt": "from the tool's repository",
}
CALLER = """
    on: workflow_dispatch
    permissions: {contents: read, packages: write}
    jobs:
      cache:
        uses: tool/box/.github/workflows/build.yml@v1
        with: {spec: "${{ 'zlib' }}"}
        permissions: {contents: read}
        secrets: inherit
      after: {needs: cache, runs-on: x, steps: [{run: "echo ${{ needs.cache.outputs.made }}"}]}
    """


def test_a_workflow_of_another_repository_brings_its_own_actions(make: Make, tmp_path: Path) -> None:
    tool = write(tmp_path / "tool", HUB)
    run = go(make(CALLER, {"data.txt": "of the caller"}, actions={"tool/box": tool}))
    assert conclusions(run) == {"cache / inner": "success", "after": "success"}, run.jobs["cache / inner"].log
    assert run.jobs["after"].log == "zlib-workflow_dispatch+deep\n"
    assert run.jobs["cache / inner"].permissions == {"contents": "read"}
    assert run.jobs["cache / inner"].steps[0].log == "from the tool's repository\n"
    assert [step.outcome for step in run.jobs["cache / inner"].steps[0].steps] == ["success", "success"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "build.yml",
            "runs-on: x",
            "runs-on: x\n            permissions: {packages: write}",
            "'packages: write', but is only allowed 'packages: none'",
        ),
        ("build.yml", "type: string, required: true", "type: boolean, required: true", ""),
        ("build.yml", "workflow_call", "workflow_run", "missing a `on.workflow_call`"),
        ("build.yml", "$/.github/actions/make", "$/.github/actions/none", "Can't find 'action.yml'"),
        ("action.yml", "shell: bash", "env: {}", "Required property is missing: shell"),
        ("w.yml", "with: {", "with: {more: 1, ", "Invalid input, more is not defined"),
        ("w.yml", "with: {", "# ", "Input spec is required"),
        ("w.yml", "tool/box", "tool/other", "pinned"),
        ("w.yml", "needs: cache", "needs: [cache, none]", "unknown job 'none'"),
        ("w.yml", "needs: cache", "needs: after", "depends on itself"),
        ("w.yml", "needs: cache", "need: cache", "Unexpected value 'need'"),
        ("w.yml", "workflow_dispatch", "push", "no trigger"),
    ],
)
def test_what_github_would_not_begin(make: Make, tmp_path: Path, file: str, old: str, new: str, words: str) -> None:
    files = {f".github/workflows/{file}" if file != "action.yml" else f".github/actions/make/{file}": ""}
    name = next(iter(files))
    tool = write(tmp_path / "tool", {**HUB, **({name: HUB[name].replace(old, new)} if file != "w.yml" else {})})
    harness = make(CALLER.replace(old, new) if file == "w.yml" else CALLER, actions={"tool/box": tool})
    if words:
        with pytest.raises(WorkflowError, match=words):
            go(harness)
    else:
        assert go(harness).conclusion == "failure"


@pytest.mark.parametrize(
    "uses",
    ["actions/checkout@v7", "actions/checkout@0123456", "actions/checkout@main", f"who/knows@{SHA}", "actions/checkout", "docker://alpine"],
)
def test_actions_of_others_are_pinned_and_known(make: Make, uses: str) -> None:
    with pytest.raises(WorkflowError, match="uses: "):
        go(make(f"on: workflow_dispatch\njobs: {{a: {{runs-on: x, steps: [{{uses: '{uses}'}}]}}}}"))


def test_a_test_brings_its_own_stand_in(make: Make) -> None:
    def tool(action: Action) -> None:
        action.accept("x", y_z="2")
        action.outputs["sum"] = action.inputs["x"] + action.inputs["y-z"]

    workflow = f"on: workflow_dispatch\njobs: {{a: {{runs-on: x, steps: [{{id: t, uses: who/knows@{SHA}, with: {{x: 1%s}}}}, {{run: 'echo ${{{{ steps.t.outputs.sum }}}}'}}]}}}}"
    assert go(make(workflow % "", standins={"who/knows": tool})).jobs["a"].log == "12\n"
    assert "knows no input 'other'" in go(make(workflow % ", other: 1", standins={"who/knows": tool})).jobs["a"].log


@pytest.mark.parametrize(("failing", "given"), [((), "1 2 3"), (("1",), "2 3"), (("1", "3"), "2"), (("1", "2", "3"), None)])
def test_only_what_was_attested_is_put_beside_the_images(make: Make, failing: tuple[str, ...], given: str | None) -> None:
    """The steps of the workflow that publishes as they stand; three of four have something to attest."""

    def attest(action: Action) -> None:
        number = action.inputs["subject-checksums"]
        action.outputs["bundle-path"] = number  # attest, src/main.ts: it is told before anything is signed
        if number in failing:
            raise ActionError("Fulcio is away")

    text = (Path(__file__).resolve().parents[2] / ".github/workflows/build-cache.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["jobs"]["publish"]["steps"]
    told = "provenance=true subjects_1=1 subjects_2=2 subjects_3=3"
    publishes = {"id": "publish", "run": f'for one in {told}; do echo $one >> "$GITHUB_OUTPUT"; done'}
    *attests, beside = steps[[step.get("id") for step in steps].index("publish") + 1 :]
    beside = {**beside, "id": "beside", "run": "echo $FIRST $SECOND $THIRD $FOURTH"}
    workflow = {"on": "workflow_dispatch", "jobs": {"publish": {"runs-on": "x", "steps": [publishes, *attests, beside]}}}
    run = go(make(yaml.safe_dump(workflow), standins={"actions/attest": attest}))
    assert run.conclusion == ("failure" if failing else "success")
    step = run.jobs["publish"].step("beside")
    assert (step.conclusion, step.log) == (("skipped", "") if given is None else ("success", f"{given}\n"))


def test_outputs_in_all_their_forms(make: Make) -> None:
    harness = make(
        """
        on: workflow_dispatch
        jobs:
          good:
            runs-on: x
            outputs: {text: "${{ steps.a.outputs.text }}", token: "${{ steps.a.outputs.token }}"}
            steps:
              - id: a
                run: |
                  { echo 'text<<E'; echo one; echo 'two=2'; echo E; } >> "$GITHUB_OUTPUT"
                  echo "token=${{ github.token }}" >> "$GITHUB_OUTPUT"
                  echo '# Title' >> "$GITHUB_STEP_SUMMARY"
              - run: echo 'more' >> "$GITHUB_STEP_SUMMARY"
          bad: {runs-on: x, steps: [{run: 'echo oops >> "$GITHUB_OUTPUT"'}, {run: echo never}]}
          big:
            runs-on: x
            outputs: {text: "${{ steps.a.outputs.text }}"}
            steps: [{id: a, run: 'echo "text=$(head -c 600000 /dev/zero | tr "\\0" x)" >> "$GITHUB_OUTPUT"'}]
        """
    )
    run = go(harness)
    assert conclusions(run) == {"good": "success", "bad": "failure", "big": "failure"}
    assert run.jobs["good"].outputs == {"text": "one\ntwo=2"}
    assert run.jobs["good"].complaints == ("Skip output 'token' since it may contain secret.",)
    assert run.jobs["good"].summary == "# Title\n\nmore\n"
    assert run.jobs["bad"].steps[0].complaints == ("Unable to process file command 'output' successfully.", "Invalid format 'oops'")
    assert "UTF-16" in run.jobs["big"].complaints[0]


def test_a_hostile_log_makes_annotations_unless_it_is_stopped(make: Make) -> None:
    workflow = """
    on: workflow_dispatch
    jobs:
      a:
        runs-on: x
        steps:
          - run: |
              %s
              printf 'a\\r::error::one\\nx ##[warning]two\\n' >&2
              echo '::set-output name=x::y'
              %s
    """
    loud = go(make(workflow % ("true", "true"))).jobs["a"]
    assert [one.text for one in loud.annotations] == ["one", "two"]
    assert loud.steps[0].commands == ("error", "warning", "set-output")
    quiet = go(make(workflow % ("T=$RANDOM; echo ::stop-commands::t$T", "echo ::t$T::"))).jobs["a"]
    assert quiet.annotations == ()
    assert quiet.steps[0].commands == ("stop-commands",)


def test_a_step_past_its_time_fails(make: Make) -> None:
    run = go(
        make(
            """
            on: workflow_dispatch
            jobs:
              a: {runs-on: x, steps: [{run: "sleep 30 & sleep 30", name: Wait, timeout-minutes: 1}, {run: echo after, if: always()}]}
              b: {runs-on: x, timeout-minutes: 1, steps: [{run: sleep 30}, {run: echo after}]}
            """
        )
    )
    assert conclusions(run) == {"a": "failure", "b": "cancelled"}
    assert run.jobs["a"].steps[0].complaints == ("The action 'Wait' has timed out after 1 minutes.",)
    assert run.jobs["a"].steps[1].log == "after\n"
    assert run.jobs["a"].ended
    assert run.jobs["a"].started
    assert (run.jobs["a"].ended - run.jobs["a"].started).total_seconds() < 6


def test_what_a_job_leaves_running_ends_with_it(make: Make) -> None:
    run = go(make("on: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{run: 'setsid sleep 61.5 > /dev/null 2>&1 & echo $!'}]}}"))
    number = run.jobs["a"].log.strip()
    status = Path(f"/proc/{number}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_concurrency_group_is_a_queue(make: Make, tmp_path: Path) -> None:
    run = go(
        make(
            """
            on: workflow_dispatch
            jobs:
              a:
                runs-on: x
                concurrency: {group: "one-${{ github.ref }}"}
                strategy: {matrix: {n: [1, 2, 3]}}
                steps: [{run: mkdir "$LOCK" && sleep 0.1 && rmdir "$LOCK"}]
            """,
            env={"LOCK": str(tmp_path / "lock")},
        )
    )
    assert run.conclusion == "success"
    assert run.jobs["a (1)"].concurrency == "one-refs/heads/main"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"spec": "zlib"}, "zlib true 3 a | true number"),
        ({"spec": "x", "push": False, "kind": "b", "n": "7"}, "x false 7 b | false number"),
        ({}, "Required input 'spec' not provided"),
        ({"spec": "x", "kind": "c"}, "not in the list of allowed values"),
        ({"spec": "x", "more": "c"}, "Unexpected inputs provided"),
    ],
)
def test_inputs_of_a_run_by_hand(make: Make, inputs: dict[str, Any], said: str) -> None:
    harness = make(
        """
        on:
          workflow_dispatch:
            inputs:
              spec: {required: true}
              push: {type: boolean, default: true}
              n: {type: number, default: 3}
              kind: {type: choice, options: [a, b], default: a}
        jobs:
          a:
            runs-on: x
            steps:
              - run: echo "$SPEC ${{ inputs.push }} ${{ inputs.n }} ${{ inputs.kind }} | ${{ github.event.inputs.push }} ${{ inputs.n < 'x' || 'number' }}"
                env: {SPEC: "${{ inputs.spec }}"}
        """
    )
    if "spec" in inputs and said.startswith(inputs["spec"]):
        assert go(harness, inputs=inputs).jobs["a"].log == f"{said}\n"
    else:
        with pytest.raises(WorkflowError, match=said):
            go(harness, inputs=inputs)


def test_checkout_takes_what_git_knows(make: Make, tmp_path: Path) -> None:
    harness = make(
        f"""
        on: workflow_dispatch
        jobs:
          a:
            runs-on: x
            steps:
              - uses: actions/checkout@{SHA}
                with: {{persist-credentials: false}}
              - run: ls && git status --porcelain && git rev-parse HEAD > /dev/null && ! git config --local --get-regexp 'include|http' && ./tool
              - uses: actions/checkout@{SHA}
                with: {{path: again}}
              - run: git -C again config --get-regexp extraheader > /dev/null && ls again
              - uses: actions/setup-python@{SHA}
                id: py
                with: {{python-version: "3.11"}}
              - run: test "$(python3.11 -c 'import sys; print(sys.version.split()[0])')" = "${{{{ steps.py.outputs.python-version }}}}"
              - uses: ./action
        """,
        {
            "tool": "#!/bin/sh\necho tool\n",
            "action/action.yml": "name: x\nruns: {using: composite, steps: [{shell: bash, run: ls}]}",
            "left": "not added",
        },
    )
    repo = tmp_path / "repo"
    (repo / "tool").chmod(0o755)
    subprocess.run("git init -q . && git add tool action .github", shell=True, check=True, cwd=repo)
    job = go(harness).jobs["a"]
    assert job.conclusion == "success", job.log
    assert job.steps[1].log.splitlines() == ["action", "tool", "tool"]
    assert job.steps[-1].log.splitlines() == ["action", "again", "tool"]


def test_artifacts_are_immutable_and_keep_their_shape(make: Make) -> None:
    up, down = f"actions/upload-artifact@{SHA}", f"actions/download-artifact@{SHA}"
    harness = make(
        f"""
        on: workflow_dispatch
        jobs:
          a:
            runs-on: x
            steps:
              - run: mkdir -p p/q r .d; echo 1 > p/q/one; echo 2 > r/two; echo 3 > .d/three; echo > 'p/a:b'
              - {{uses: "{up}", with: {{name: both, path: "p/q/\\nr"}}}}
              - {{uses: "{up}", with: {{name: file, path: p/q/one}}}}
              - {{uses: "{up}", with: {{name: glob, path: "**/two"}}}}
              - {{uses: "{up}", with: {{name: hidden, path: .d}}}}
              - {{uses: "{up}", id: same, continue-on-error: true, with: {{name: both, path: r}}}}
              - {{uses: "{up}", with: {{name: file, path: r, overwrite: true}}}}
              - {{uses: "{up}", id: none, continue-on-error: true, with: {{name: none, path: nowhere, if-no-files-found: error}}}}
              - {{uses: "{up}", id: colon, continue-on-error: true, with: {{name: colon, path: p}}}}
              - {{uses: "{down}", with: {{path: all}}}}
              - {{uses: "{down}", with: {{pattern: "*l*", path: merged, merge-multiple: true}}}}
              - run: find all merged -type f | sort
              - {{uses: "{down}", with: {{name: none}}}}
        """
    )
    job = (run := go(harness)).jobs["a"]
    assert {name: sorted(artifact.files()) for name, artifact in run.artifacts.items()} == {
        "both": ["p/q/one", "r/two"],
        "file": ["two"],
        "glob": ["r/two"],
    }
    assert [job.step(name).outcome for name in ("same", "none", "colon")] == ["failure"] * 3
    assert "(409) Conflict" in job.step("same").log
    assert "No files were found" in job.steps[4].complaints[0]
    assert job.steps[-2].log.splitlines() == [
        "all/both/p/q/one",
        "all/both/r/two",
        "all/file/two",
        "all/glob/r/two",
        "merged/r/two",
        "merged/two",
    ]
    assert "Artifact not found for name: none" in job.steps[-1].log


def test_pages_and_attestations_need_what_they_need(make: Make) -> None:
    workflow = f"""
    on: workflow_dispatch
    jobs:
      site:
        runs-on: x
        permissions: {{id-token: write, attestations: write}}
        steps:
          - run: mkdir -p _site/.well; echo hi > _site/index.html; echo > _site/.well/x; sha256sum _site/index.html > sums
          - uses: actions/upload-pages-artifact@{SHA}
          - uses: actions/attest@{SHA}
            with: {{subject-checksums: sums}}
          - run: D=$(head -c 64 /dev/zero | tr '\\0' a); for i in $(seq 1025); do echo "$D  n$i"; done > sums
          - uses: actions/attest@{SHA}
            with: {{subject-checksums: sums}}
            continue-on-error: true
            id: many
      deploy:
        needs: site
        runs-on: x
        permissions: {{pages: write%s}}
        environment: {{name: github-pages, url: "${{{{ steps.d.outputs.page_url }}}}"}}
        steps: [{{id: d, uses: actions/deploy-pages@{SHA}}}]
    """
    run = go(make(workflow % ", id-token: write"))
    assert run.conclusion == "success", run.jobs["deploy"].log
    (deployment,) = run.deployments
    assert [path.name for path in deployment.folder.rglob("*")] == ["index.html"]
    assert run.jobs["deploy"].url == deployment.url == "https://acme.github.io/hub/"
    assert run.jobs["deploy"].environment == "github-pages"
    ((name, digest),) = run.attestations[0].subjects
    assert (name, len(digest)) == ("_site/index.html", 71)
    assert "Too many subjects specified (1025)" in run.jobs["site"].step("many").log
    assert 'permission "id-token: write"' in go(make(workflow % "")).jobs["deploy"].log


def test_a_called_workflow_runs_on_its_own(make: Make, tmp_path: Path) -> None:
    tool = write(tmp_path / "repo", HUB)
    harness = Harness(tool, tmp_path / "runs", repository="tool/box")
    run = harness.run(".github/workflows/build.yml", "workflow_call", inputs={"spec": "zlib"})
    assert run.outputs == {"made": "zlib-workflow_call+deep"}
    with pytest.raises(WorkflowError, match="Unexpected value '2'"):
        harness.run(".github/workflows/build.yml", "workflow_call", inputs={"spec": "zlib", "jobs": "2"})


def test_the_server_ends(make: Make) -> None:
    harness = make("on: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{run: echo}]}}")
    with harness:
        go(harness)
        port = int(harness.state.api_url.rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
