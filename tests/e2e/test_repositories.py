"""Recipes out of git repositories, and a fork of Spack, with real Spack: by commit in cache.yaml, by branch on a command line or in an input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.outcome import Built
from cachelib.model.plan import Action, parse_plan
from cachelib.model.record import Record
from tests.contract.test_repositories import commit
from tests.e2e.conftest import EXAMPLES, SHARED
from tests.e2e.test_actions import OURS, QUICK, WORKFLOW, jobs, repository
from tests.support.hub import BUILD_CACHE, Place, log, make_harness, this_project, track

#: A recipe without sources, whose one file says which it is.
RECIPE = """
from spack_repo.builtin.build_systems.generic import Package
from spack.package import *

class {name}(Package):
    \"\"\"A package of a test.\"\"\"
    has_code = False
    version("{version}")

    def install(self, spec, prefix):
        mkdirp(prefix.share)
        with open(join_path(prefix.share, "said"), "w") as file:
            file.write("{said}")
"""


def recipe(name: str, version: str, said: str) -> dict[str, str]:
    return {f"spack_repo/acme/packages/{name}/package.py": RECIPE.format(name=name.capitalize(), version=version, said=said)}


def acme(said: str) -> dict[str, str]:
    """A repository of an organization: a package of its own, and one in the place of a builtin one."""
    files = {"spack_repo/acme/repo.yaml": "repo: {namespace: acme, api: v2.0}\n", "README": "recipes\n"}
    return files | recipe("stone", "1.0", said) | recipe("figlet", "99", said)


def examples(folder: Path, **changes: object) -> Path:
    """The examples' settings in a folder, with other keys in their stack; gives the file."""
    data = yaml.safe_load((EXAMPLES / "cache.yaml").read_text(encoding="utf-8"))
    data["stacks"]["examples"] |= {"repos": [str(EXAMPLES / "spack_repo/examples")], "externals": [], **changes}
    folder.mkdir(exist_ok=True)
    (folder / "cache.yaml").write_text(yaml.safe_dump({**data, "registry": "oci-layout:registry"}), encoding="utf-8")
    return folder / "cache.yaml"


def said(ws: pipeline.Workspace, name: str) -> str:
    """What an installed package of the test says."""
    (path,) = (ws.var / "work").glob(f"*/store/**/{name}-*/share/said")
    return path.read_text()


def records(ws: pipeline.Workspace) -> Mapping[str, Record]:
    mirror = ws.mirror("v1.1")
    found = [mirror.record(entry.hash) for entry in mirror.names(lambda _: None)]
    return {record.name: record for record in found if record is not None}


def test_by_commit_in_the_settings(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    old = commit(tmp_path / "origin", acme("old"))
    commit(tmp_path / "origin", acme("new"))
    url = (tmp_path / "origin").as_uri()
    config = examples(tmp_path / "here", repos=[f"{url}#{old}:spack_repo/acme"], specs=["stone", "figlet"])
    ws = pipeline.open_workspace(str(config), shared=str(SHARED))
    report = pipeline.build(ws)
    assert report.exit_code == 0, report.text
    assert (said(ws, "stone"), said(ws, "figlet")) == ("old", "old")
    assert {name: record.version for name, record in records(ws).items()} == {"stone": "1.0", "figlet": "99"}
    # The same once more is remembered; another commit is another concretization, and another build.
    assert "1 to build" not in (again := pipeline.build(ws)).text
    assert again.text.count("reused") >= 1, again.text
    new = commit(tmp_path / "origin", {"x": ""})
    examples(tmp_path / "here", repos=[f"{url}#{new}:spack_repo/acme"], specs=["stone"])
    assert pipeline.build(pipeline.open_workspace(str(config), shared=str(SHARED))).exit_code == 0
    texts = {path.read_text() for path in (ws.var / "work").glob("*/store/**/stone-*/share/said")}
    assert texts == {"old", "new"}
    shutil.rmtree(SHARED / "repos" / old[:12])
    shutil.rmtree(SHARED / "repos" / new[:12])


def test_an_earlier_commit_again(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """Spack's index of a later one of that namespace is no index of it: the earlier one has another provider."""
    provider = {"spack_repo/acme/packages/stone/package.py": RECIPE.format(name="Stone", version="1.0", said="") + '    provides("rock")\n'}
    wall = RECIPE.format(name="Wall", version="1.0", said="") + '    depends_on("rock")\n'
    old = commit(tmp_path / "origin", acme("old") | provider | {"spack_repo/acme/packages/wall/package.py": wall})
    flint = RECIPE.format(name="Flint", version="1.0", said="") + '    provides("rock")\n'
    new = commit(tmp_path / "origin", acme("new") | {"spack_repo/acme/packages/flint/package.py": flint})
    found = []
    for made in (old, new, old):
        repo = f"{(tmp_path / 'origin').as_uri()}#{made}:spack_repo/acme"
        ws = pipeline.open_workspace(str(examples(tmp_path / "here", repos=[repo], specs=["wall"])), shared=str(SHARED))
        shutil.rmtree(ws.var / "work/v1.1/env", ignore_errors=True)  # a lock that is remembered asks nobody
        report = pipeline.build(ws, dry_run=True)
        assert report.exit_code == 0, report.text
        found += [name for name in ("stone", "flint") if f" {name}@" in report.text]
    assert found == ["stone", "flint", "stone"]
    shutil.rmtree(SHARED / "repos" / old[:12])
    shutil.rmtree(SHARED / "repos" / new[:12])


def test_a_plan_and_its_workers_have_the_same_commit(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    planned = commit(tmp_path / "origin", acme("planned"))
    url = (tmp_path / "origin").as_uri()
    ws = pipeline.open_workspace(str(examples(tmp_path / "here")), shared=str(SHARED))
    report = pipeline.plan(ws, ["stone", "almanac-data"], repos=[f"{url}#main:spack_repo/acme"])
    assert report.exit_code == 0, report.text
    (made,) = parse_plan(json.loads((ws.var / "plan/plan.json").read_text()))
    assert made.repos == (f"{url}#{planned}:spack_repo/acme",)
    assert {item.label.partition("@")[0] for item in made.of(Action.BUILD)} >= {"stone", "almanac-data"}
    # The branch moves on, to a recipe that can't even be read: a worker elsewhere has what was planned.
    commit(tmp_path / "origin", {"spack_repo/acme/packages/stone/package.py": "raise SystemExit(1)\n"})
    elsewhere = replace(ws, var=tmp_path / "elsewhere")
    done = pipeline.work(elsewhere, 1, plan=str(ws.var / "plan"), parts=str(tmp_path / "parts"))
    assert done.exit_code == 0, done.text
    assert said(elsewhere, "stone") == "planned"
    assert isinstance(records(elsewhere)["stone"].outcome, Built)
    shutil.rmtree(SHARED / "repos" / planned[:12])


def test_a_fork_of_spack(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    stack = workspace.settings.stacks["examples"]
    fork, shared = tmp_path / "fork", tmp_path / "shared"
    subprocess.run(["git", "clone", "-q", (SHARED / "spack" / stack.spack.commit[:12]).as_uri(), str(fork)], check=True)
    init = fork / "lib/spack/spack/__init__.py"
    made = commit(fork, {"lib/spack/spack/__init__.py": init.read_text().replace('__version__ = "1.1.0"', '__version__ = "1.1.0.acme1"')})
    # Its recipes are those that lie here, and have been read.
    shared.mkdir()
    (shared / "packages").symlink_to(SHARED / "packages")
    pins = [f"{commit[:12]}-{stack.packages.commit[:12]}" for commit in (stack.spack.commit, made)]
    ignored = shutil.ignore_patterns("home", "sources", "reports")
    shutil.copytree(SHARED / "cache" / pins[0], shared / "cache" / pins[1], ignore=ignored)
    spack = {"version": "v1.1.0", "commit": made, "url": fork.as_uri()}
    ws = pipeline.open_workspace(str(examples(tmp_path / "here", spack=spack, specs=["almanac-data"])), shared=str(shared))
    report = pipeline.build(ws)
    assert report.exit_code == 0, report.text
    origin = records(ws)["almanac-data"].origin
    assert (origin.spack_version, origin.spack_commit) == ("1.1.0.acme1", made)


def test_an_input_of_the_action(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """`repos` of `build`: a branch, and a folder of the repository before it."""
    project = this_project(tmp_path / "project")
    (project / ".github/actions/tools/action.yml").write_text(QUICK, encoding="utf-8")
    (project / "nox.sh").write_text(
        f'#!/bin/sh\nroot=$(dirname "$2"); shift 5\nexec {sys.executable} -m invoke --search-root "$root" "$@"\n'
    )
    (project / "nox.sh").chmod(0o755)
    head = commit(tmp_path / "origin", acme("by an input") | {"spack-repo-index.yaml": "repo_index: {paths: [spack_repo/acme]}\n"})
    url = (tmp_path / "origin").as_uri()
    step = {"uses": f"{OURS}/.github/actions/build@v1", "with": {"spec": "stone\npebble", "repos": f"spack_repo/near, {url}#main\n"}}
    workflow = {
        "on": {"workflow_dispatch": None}, "permissions": {},
        "jobs": {"build": {"runs-on": "ubuntu-24.04", "permissions": {"contents": "read"}, "steps": [
            {"uses": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", "with": {"persist-credentials": False}}, step,
            {"run": "cat var/work/*/store/*/*/*/share/said var/work/*/store/*/*/share/said || find var/work/*/store -name said | xargs cat"},
        ]}},
    }  # fmt: skip
    folder = repository(tmp_path / "repo", yaml.safe_dump(workflow))
    near = "spack_repo/near"
    files = {f"{near}/repo.yaml": "repo: {namespace: near, api: v2.0}\n"}
    files |= {
        f"{near}/packages/{name}/package.py": RECIPE.format(name=name.capitalize(), version="3", said="near")
        for name in ("pebble", "stone")
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    examples(folder)
    run = make_harness(track(folder), tmp_path, actions={OURS: track(project)}).run(WORKFLOW)
    assert jobs(run) == {"build": "success"}, log(run)
    assert f"main is {head} now" in log(run)
    # The folder comes first: its recipe is the one that counts.
    assert "stone@3" in log(run), log(run)
    assert "pebble@3" in log(run)


def test_an_input_of_the_workflow(template: Place, tmp_path: Path) -> None:
    """`repos` of *Build cache*: pinned by its first job, for every other one."""
    head = commit(tmp_path / "origin", acme("by an input"))
    url = (tmp_path / "origin").as_uri()
    inputs = {"specs": "stone", "repos": f"{url}#main:spack_repo/acme", "site": False}
    run = template.harness.run(BUILD_CACHE, event="workflow_dispatch", inputs=inputs)
    assert run.jobs["runners"].outputs["repos"] == f"{url}#{head}:spack_repo/acme", log(run)
    assert template.published() == {"stone"}, log(run)
    assert f"main is {head} now" in run.jobs["runners"].log
    assert "main is" not in "".join(job.log for name, job in run.jobs.items() if name != "runners")


@pytest.mark.parametrize("repos", ["ext::sh -c touch% hacked", "--upload-pack=touch hacked", "../outside", "nowhere"])
def test_what_is_no_repository_is_told_before_anything_is_fetched(tmp_path: Path, repos: str) -> None:
    folder = tmp_path / "here"
    config = examples(folder)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "--search-root", str(EXAMPLES.parent), "build", f"--config={config}", f"--repo={repos}"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "error: " in done.stdout
    assert "Traceback" not in done.stdout
    assert not (folder / "var").exists()
    assert not list(tmp_path.rglob("hacked"))
