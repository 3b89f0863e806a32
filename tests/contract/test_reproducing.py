"""What a failure left in the registry is enough to do its build again; what a hostile one left there stays data."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

import tasks
from cachelib import pipeline
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError, UsageError
from cachelib.model.failure import Failure
from cachelib.model.oci import LayoutLocation
from cachelib.model.outcome import Built, Failed
from cachelib.model.record import Origin, Record
from cachelib.model.spec import parse_spec
from cachelib.steps import recalling, remembering, reproducing
from cachelib.steps.artifacts import described
from cachelib.steps.reading import open_image
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from tests.support.mirrors import add_entry, make_node

SPACK, PACKAGES, OTHER = "a" * 40, "b" * 40, "c" * 40
STACK = f"spack: {{version: v1.1.0, commit: {SPACK}}}, packages: {{version: v1, commit: {PACKAGES}}}, specs: [x]"
ORIGIN = Origin(stack="s", spack_version="1.1.0", spack_commit=OTHER, packages_commit="d" * 40, created="2026-11-01T10:00:00Z")
LIBC = make_node("glibc", "2.36", external={"path": "/usr", "module": None})
ALPHA = make_node("alpha", dependencies=[LIBC])
ALPHA_TWO = make_node("alpha", "2.0", dependencies=[LIBC])
BETA = make_node("beta", dependencies=[ALPHA, LIBC])
DAGS = {node["hash"]: dag for dag in ([ALPHA, LIBC], [ALPHA_TWO, LIBC], [BETA, ALPHA, LIBC]) for node in dag[:1]}
Node = dict[str, Any]


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pipeline.Workspace:
    """Two images, in a directory that is no git checkout."""
    text = f"registry: oci-layout:r\nstacks:\n  s: {{{STACK}, repos: [mine], padding: 64}}\n  t: {{{STACK}, image: other}}\n"
    (tmp_path / "cache.yaml").write_text(text)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/repo.yaml").write_text("repo: {namespace: mine}")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("CACHE_CONFIG", str(tmp_path / "cache.yaml"))
    return pipeline.open_workspace()


def repository(ws: pipeline.Workspace, image: str = "v1.1") -> LayoutRepository:
    return LayoutRepository(LayoutLocation(path=ws.folder / "r" / image))


def spec_file(dag: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"spec": {"_meta": {"version": 5}, "nodes": list(dag)}}).encode()


def fail(
    ws: pipeline.Workspace, node: Node, *, image: str = "v1.1", log: bytes | None = b"the log\n", spec: bytes = b"", origin: Origin = ORIGIN
) -> None:
    record = Record(
        name=node["name"], version=node["version"], hash=node["hash"], outcome=Failed(phase="build", message="boom"), origin=origin
    )
    remembering.remember_failures(
        repository(ws, image), [record], lambda _: log, lambda h: spec or spec_file(DAGS[h]), frozenset()
    )  # fmt: skip


def test_a_failure_is_written_out_and_can_be_typed_again(ws: pipeline.Workspace) -> None:
    fail(ws, BETA)
    report = pipeline.reproduce(ws, "/" + BETA["hash"])
    folder = ws.var / "reproduce" / BETA["hash"]
    spec = parse_spec(json.loads((folder / "spec.json").read_text()))
    assert (spec.root.hash, list(spec.nodes)) == (BETA["hash"], [BETA["hash"], ALPHA["hash"], LIBC["hash"]])
    assert json.loads((folder / "spec.json").read_text())["spec"]["nodes"] == [BETA, ALPHA, LIBC]
    assert (folder / "log.txt").read_bytes() == b"the log\n"
    assert json.loads((folder / "config/config.yaml").read_text())["config"]["install_tree"] == {"padded_length": 64}
    # No commit is known of the recipes, so those of this machine stand in, and that is told.
    repos = json.loads((folder / "config/repos.yaml").read_text())["repos"]
    assert repos == {"recipes1": str(ws.folder / "mine"), "builtin": "../packages/repos/spack_repo/builtin"}
    assert json.loads((folder / "config/mirrors.yaml").read_text()) == {"mirrors": {}}
    (data,) = report.data
    assert data["commands"] == [
        f"cd {folder}",
        "git init -q spack",
        f"git -C spack fetch -q --depth 1 https://github.com/spack/spack.git {OTHER} && git -C spack checkout -q FETCH_HEAD",
        "git init -q packages",
        f"git -C packages fetch -q --depth 1 https://github.com/spack/spack-packages.git {'d' * 40} && git -C packages checkout -q FETCH_HEAD",
        'export SPACK_DISABLE_LOCAL_CONFIG=1 SPACK_USER_CACHE_PATH="$PWD/cache"',
        "spack/bin/spack -C config install --use-buildcache package:never,dependencies:auto ./spec.json",
    ]
    assert all(f"  {line}" in report.lines for line in data["commands"])
    assert "failed since 2026-11-01 (once, last in phase build)" in report.text
    assert "glibc@2.36 in /usr" in report.text
    assert "of which commit its own recipes were isn't known" in report.text


def test_the_recipes_come_from_the_commit_that_was_built(ws: pipeline.Workspace) -> None:
    origin = replace(ORIGIN, source="https://example.org/o/r", revision="e" * 40)
    fail(ws, BETA, origin=origin)
    report = pipeline.reproduce(ws, "beta", out=str(ws.folder / "a folder"))
    repos = json.loads((ws.folder / "a folder/config/repos.yaml").read_text())["repos"]
    assert repos["recipes1"] == "../recipes/mine"
    assert f"git -C recipes fetch -q --depth 1 https://example.org/o/r {'e' * 40} " in report.text
    assert f"cd '{ws.folder}/a folder'" in report.text
    assert "NOTE" not in report.text


def test_this_checkout_stands_in_where_nobody_told_an_address(ws: pipeline.Workspace) -> None:
    subprocess.run(["git", "init", "-q", str(ws.folder)], check=True)
    fail(ws, BETA, origin=replace(ORIGIN, revision="e" * 40))
    assert f"git -C recipes fetch -q --depth 1 {ws.folder} {'e' * 40} " in pipeline.reproduce(ws, "beta").text


def test_further_recipes_are_those_that_it_was_built_with(ws: pipeline.Workspace) -> None:
    url, old, now = "https://example.org/recipes.git", "f" * 40, "9" * 40
    stack = replace(ws.settings.stacks["s"], repos=(f"{url}#{now}:spack_repo/mine", "mine"))
    ws = replace(ws, settings=replace(ws.settings, stacks={**ws.settings.stacks, "s": stack}))
    fail(ws, BETA, origin=replace(ORIGIN, repos=f"{url}#{old}:spack_repo/mine https://evil.invalid/x#{old}:a https://evil.invalid/y#{old}"))
    report = pipeline.reproduce(ws, "beta")
    repos = json.loads((ws.var / "reproduce" / BETA["hash"] / "config/repos.yaml").read_text())["repos"]
    assert list(repos.values())[:3] == ["../recipes-1/spack_repo/mine", "../recipes-2/a", str(ws.folder / "mine")]
    assert f"git -C recipes-2 fetch -q --depth 1 https://evil.invalid/x {old} " in report.text
    assert "come from https://evil.invalid/x, which cache.yaml doesn't name: look before you run them" in report.text
    assert "left out: cache.yaml doesn't name https://evil.invalid/y, of which no folder is told" in report.text
    # One that doesn't tell: as they are now, and that is told.
    fail(ws, BETA, origin=replace(ORIGIN, created="2026-11-02T10:00:00Z"))
    report = pipeline.reproduce(ws, "beta")
    assert f"git -C recipes-1 fetch -q --depth 1 {url} {now} " in report.text
    assert "further recipes were isn't told" in report.text
    fail(ws, BETA, origin=replace(ORIGIN, created="2026-11-03T10:00:00Z", repos="ext::sh $(touch x) ../up"))
    assert (report := pipeline.reproduce(ws, "beta")).text.count("NOTE     further recipes are left out") == 4
    assert "fetch -q --depth 1 ext" not in report.text


def test_a_cpu_that_cant_run_the_build_is_told(ws: pipeline.Workspace) -> None:
    publish(ws, record=True)
    wanted = next(iter(ws.mirror("v1.1").names())).hash
    assert "CPU can't run (core2)" in pipeline.reproduce(replace(ws, cpu="core2"), wanted).text
    assert "CPU can't run" not in pipeline.reproduce(replace(ws, cpu="zen4"), wanted).text


def test_recipes_of_another_repository_are_pointed_out(ws: pipeline.Workspace) -> None:
    fail(ws, BETA, origin=replace(ORIGIN, source="https://example.org/evil", revision="e" * 40))
    ws = replace(ws, settings=replace(ws.settings, source="https://example.org/o/r"))
    assert "not the source of this cache (https://example.org/o/r): look before you run them" in pipeline.reproduce(ws, "beta").text


def test_a_registry_that_spack_reads_gives_what_a_build_needs() -> None:
    setup = reproducing.Setup(
        spack=reproducing.Checkout(url="u", commit=SPACK), packages=reproducing.Checkout(url="u", commit=PACKAGES),
        mirror="oci://ghcr.io/o/r/v1.1",
    )  # fmt: skip
    made = dict(reproducing.files(parse_spec(json.loads(spec_file([BETA, ALPHA, LIBC]))), setup))
    mirror = {"url": "oci://ghcr.io/o/r/v1.1", "binary": True, "source": False, "signed": False}
    assert json.loads(made["config/mirrors.yaml"]) == {"mirrors": {"cache": mirror}}


@pytest.mark.parametrize("wanted", [BETA["hash"], f"/{BETA['hash']}", BETA["hash"][:7], f"/{BETA['hash'][:12]}", "beta"])
def test_ways_to_name_a_failure(ws: pipeline.Workspace, wanted: str) -> None:
    fail(ws, BETA)
    fail(ws, ALPHA, image="other")
    assert pipeline.reproduce(ws, wanted).data[0]["hash"] == BETA["hash"]


def test_what_is_not_known_names_what_is_failing(ws: pipeline.Workspace) -> None:
    for wanted in ("gamma", "a" * 32, "", "/", BETA["hash"] + "a", "b" * 5000):
        with pytest.raises(UsageError, match="nothing is failing"):
            pipeline.reproduce(ws, wanted)
    fail(ws, BETA)
    with pytest.raises(UsageError, match=f"failing now:\n  /{BETA['hash']}  beta@1.0  in v1.1"):
        pipeline.reproduce(ws, "gamma")
    with pytest.raises(UsageError, match="too little of a DAG hash"):
        pipeline.reproduce(ws, BETA["hash"][:6])
    with pytest.raises(UsageError, match="no image 'third'"):
        pipeline.reproduce(ws, "beta", image="third")


def test_several_builds_are_listed(ws: pipeline.Workspace) -> None:
    fail(ws, ALPHA)
    fail(ws, ALPHA_TWO)
    with pytest.raises(UsageError) as caught:
        pipeline.log(ws, "alpha")
    assert "names 2 builds" in caught.value.message
    assert all(f"/{node['hash']}  alpha@{node['version']}" in caught.value.message for node in (ALPHA, ALPHA_TWO))
    # One hash that fails in two images is two builds, until one of them is named.
    fail(ws, ALPHA, image="other")
    with pytest.raises(UsageError, match="names 2 builds"):
        pipeline.reproduce(ws, ALPHA["hash"])
    assert pipeline.reproduce(ws, ALPHA["hash"], image="other").data[0]["image"] == "other"


def test_an_ambiguous_beginning_lists_the_candidates() -> None:
    failures = {
        h: Failure(hash=h, label=f"p@1/{h[:7]}", phase="build", message="", since=ORIGIN.created, last=ORIGIN.created)
        for h in ("abcdefg" + "a" * 25, "abcdefg" + "b" * 25)
    }
    with pytest.raises(UsageError, match="names 2 builds") as caught:
        reproducing.choose("/abcdefg", {"v1.1": failures}, {})
    assert all(h in caught.value.message for h in failures)
    assert reproducing.choose("/abcdefga", {"v1.1": failures}, {}).hash == "abcdefg" + "a" * 25


def test_many_candidates_are_cut() -> None:
    failures = {}
    for at in range(50):
        h = f"{'abcdefghij'[at // 10]}{'abcdefghij'[at % 10]}" + "a" * 30
        failures[h] = Failure(hash=h, label="p@1", phase="", message="", since=ORIGIN.created, last=ORIGIN.created)
    with pytest.raises(UsageError, match="and 30 more"):
        reproducing.choose("p", {"v1.1": failures}, {})


# --- Published builds ----------------------------------------------------------------------------------------------------------------------


def publish(ws: pipeline.Workspace, *, record: bool) -> None:
    mirror = ws.mirror("v1.1")
    for node in (ALPHA, BETA):
        add_entry(mirror.root, DAGS[node["hash"]])
        if record:
            made = Record(name=node["name"], version=node["version"], hash=node["hash"], outcome=Built(seconds=1.0), origin=ORIGIN)
            DiskMirror(mirror.root).write_record(made)
    assert pipeline.push(ws).exit_code == 0


def test_a_published_build_is_told_by_its_image(ws: pipeline.Workspace) -> None:
    publish(ws, record=True)
    report = pipeline.reproduce(ws, BETA["hash"][:9])
    folder = ws.var / "reproduce" / BETA["hash"]
    assert json.loads((folder / "spec.json").read_text())["spec"]["nodes"] == [BETA, ALPHA, LIBC]
    assert "published in v1.1" in report.text
    assert f"https://github.com/spack/spack.git {OTHER} " in report.text
    assert not (folder / "log.txt").exists()
    assert f"  log      `inv log /{BETA['hash'][:7]}` prints what it said then" in report.lines


def test_an_image_in_dockers_format_tells_it_by_its_labels(ws: pipeline.Workspace) -> None:
    publish(ws, record=True)
    held = repository(ws)
    image = open_image(held, next(tag for tag in held.tags() if tag.startswith("beta-")))
    assert image.manifest.annotations
    config = {**image.config, "config": {"Labels": dict(image.manifest.annotations)}}
    docker = replace(image, manifest=replace(image.manifest, annotations={}), config=config)
    assert recalling.published_origin(docker) == recalling.published_origin(image) == ORIGIN
    odd: object
    for odd in (None, [], {"Labels": None}, {"Labels": [5]}):
        assert recalling.published_origin(replace(docker, config={"config": odd})) == Origin()


def test_an_image_that_tells_nothing_takes_the_pins(ws: pipeline.Workspace) -> None:
    publish(ws, record=False)
    report = pipeline.reproduce(ws, BETA["hash"])
    assert f"https://github.com/spack/spack.git {SPACK} " in report.text
    assert f"https://github.com/spack/spack-packages.git {PACKAGES} " in report.text
    assert "which Spack was used isn't told: this is the one that cache.yaml pins now" in report.text


# --- Logs ----------------------------------------------------------------------------------------------------------------------------------


def test_a_log_is_printed_whole(ws: pipeline.Workspace) -> None:
    fail(ws, BETA, log=b"one\r\n\ntwo\xff\n" + b"x" * 100_000 + b"\n" + b"line\n" * 10_000)
    lines = pipeline.log(ws, "beta").text.split("\n")
    assert lines[:4] == ["one", "", "two�", "x" * 100_000]
    assert len(lines) == 10_004


HOSTILE = b"\x1b[2Jgone\n::error::x\n##[error]y\n\x1b]0;title\x07\n[bold]markup[/bold]\nback\rward\n\xe2\x80\xaeright to left\n\x00\n"


def test_a_log_is_text_whatever_it_says(ws: pipeline.Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    fail(ws, BETA, log=HOSTILE)
    tasks.log.body(None, hash="beta")
    printed = capsys.readouterr().out
    assert printed.splitlines() == [
        "?[2Jgone", "?:error::x", "?#[error]y", "?]0;title?", "[bold]markup[/bold]", "back?ward",
        "?right to left", "?",
    ]  # fmt: skip
    # On disk it is what it was.
    pipeline.reproduce(ws, "beta")
    assert (ws.var / "reproduce" / BETA["hash"] / "log.txt").read_bytes() == HOSTILE


def test_what_is_told_is_told_to_programs_too(ws: pipeline.Workspace) -> None:
    fail(ws, BETA)
    tasks.reproduce.body(None, hash="beta", json=str(ws.folder / "report.json"))
    (step,) = json.loads((ws.folder / "report.json").read_text())["steps"]
    assert (step["step"], step["hash"], step["failed"], step["log"]) == ("reproduce", BETA["hash"], True, True)
    assert step["commands"][0] == f"cd {ws.var / 'reproduce' / BETA['hash']}"


def test_a_failure_without_a_log(ws: pipeline.Workspace) -> None:
    fail(ws, BETA, log=None)
    with pytest.raises(UsageError, match="no log was kept of beta"):
        pipeline.log(ws, "beta")
    folder = ws.var / "reproduce" / BETA["hash"]
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("of another build")
    assert "no log was kept" in pipeline.reproduce(ws, "beta").text
    assert sorted(path.name for path in folder.iterdir()) == ["config", "spec.json"]


# --- What a hostile registry holds ---------------------------------------------------------------------------------------------------------


def rewrite(ws: pipeline.Workspace, change: Mapping[str, Any]) -> None:
    """Change the list of failures behind everybody's back, as whoever may write to the registry can."""
    held = repository(ws)
    (known,) = remembering.known_failures(held).values()
    body = {**known.json(), **change}
    data = gzip.compress(json.dumps({"meta": {"failures": "1.0"}, "failures": [body]}).encode(), mtime=0)
    layers = remembering._layers(held, remembering.FAILURES_TAG, remembering.FAILURES_TYPE)
    book = described(remembering.BOOK_TYPE, data)
    others = [layer for layer in layers if layer.media_type != remembering.BOOK_TYPE]
    remembering._write(held, remembering.FAILURES_TAG, remembering.FAILURES_TYPE, [book, *others], {book.digest: data})


def test_what_stands_in_an_origin_is_no_command(ws: pipeline.Workspace) -> None:
    """Each field that gets near a command is one that git and a shell can't misunderstand, or isn't used."""
    fail(ws, BETA)
    for evil in ("; touch evil", "--upload-pack=touch evil", "ext::sh -c touch% evil", "$(touch evil)", "https://e.org/$(touch evil)\n"):
        origin = {"stack": evil, "spack_commit": evil, "packages_commit": evil, "source": evil, "revision": evil}
        rewrite(ws, {"origin": origin, "label": evil})
        report = pipeline.reproduce(ws, BETA["hash"])
        assert not any("evil" in command for command in report.data[0]["commands"])
        assert f"spack.git {SPACK} " in report.text
    # With everything else in order, too; the checkout that is here stands in.
    subprocess.run(["git", "init", "-q", str(ws.folder)], check=True)
    for evil in ("ext::sh -c touch% evil", "--upload-pack=touch evil", "file:///evil", "/evil", "https://e.org/ evil"):
        rewrite(ws, {"origin": {"stack": "s", "source": evil, "revision": "e" * 40}})
        report = pipeline.reproduce(ws, BETA["hash"])
        assert not any("evil" in command for command in report.data[0]["commands"])
        assert f"{evil!r}, which is no web address: the checkout in {ws.folder} stands in for it" in report.text
    rewrite(ws, {"origin": {"stack": "s", "source": "https://e.org/$(touch${IFS}evil)", "revision": "e" * 40}})
    recipes = next(line for line in pipeline.reproduce(ws, BETA["hash"]).data[0]["commands"] if "e.org" in line)
    assert f" 'https://e.org/$(touch${{IFS}}evil)' {'e' * 40} " in recipes


def test_terminal_codes_in_labels_reach_no_terminal(ws: pipeline.Workspace) -> None:
    fail(ws, BETA)
    rewrite(ws, {"label": "\x1b[2Jbeta\n::error::@1" + "x" * 9000, "phase": "\x1b[31m"})
    for wanted in ("nothing\x1b[0m", BETA["hash"][:3]):
        with pytest.raises(Exit) as caught:
            tasks.reproduce.body(None, hash=wanted)
        assert "\x1b" not in str(caught.value.message)
        assert "\n::error" not in str(caught.value.message)
        assert len(str(caught.value.message)) < 2000
    assert "\x1b" not in pipeline.reproduce(ws, BETA["hash"]).text


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (b"{", "is no JSON|not JSON"),
        (b"{}", "`spec`"),
        (spec_file([ALPHA, LIBC]), "is the spec of alpha"),
        (spec_file([{**BETA, "version": "6.6.6"}, ALPHA, LIBC]), "was changed: the DAG hash of beta"),
        (spec_file([BETA, {**ALPHA, "parameters": {"evil": True}}, LIBC]), "was changed: the DAG hash of alpha"),
        (spec_file([BETA]), "which the spec does not hold"),
        (b" " * (17 << 20), "no spec has so many"),
    ],
)
def test_a_spec_that_is_not_that_of_the_failure_is_refused(ws: pipeline.Workspace, spec: bytes, says: str) -> None:
    fail(ws, BETA, spec=spec)
    with pytest.raises(FormatError, match=says):
        pipeline.reproduce(ws, "beta")
    assert not (ws.var / "reproduce").exists()


def test_an_endless_log_is_refused(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(ws, BETA, log=b"a" * 3_000_000)
    monkeypatch.setattr(remembering, "_LIMIT", 1_000_000)
    with pytest.raises(FormatError, match="inflates to more than"):
        pipeline.log(ws, "beta")
    assert "the log can't be read" in pipeline.reproduce(ws, "beta").text
    assert (ws.var / "reproduce" / BETA["hash"] / "spec.json").exists()


def test_what_is_no_failures_blob_is_not_read(ws: pipeline.Workspace) -> None:
    """A digest that the list names, and the manifest doesn't, is nobody's."""
    fail(ws, BETA)
    rewrite(ws, {"log": str(Digest.of(b"elsewhere")), "spec": "../../etc/passwd"})
    with pytest.raises(CacheError, match="of a failure"):
        pipeline.log(ws, "beta")
    with pytest.raises(CacheError, match="of a failure"):
        pipeline.reproduce(ws, "beta")


def test_a_run_that_did_not_say_which_stack(ws: pipeline.Workspace) -> None:
    fail(ws, BETA, origin=replace(ORIGIN, stack="gone"))
    assert "its stack 'gone' isn't in cache.yaml: the first one of v1.1 stands in for it" in pipeline.reproduce(ws, "beta").text


def test_the_tasks_take_the_hash_as_it_is_printed(ws: pipeline.Workspace) -> None:
    """`inv log /HASH` and `inv log --hash HASH` are the same."""
    fail(ws, BETA)
    for arguments in (["log", f"/{BETA['hash'][:7]}"], ["log", "--hash", "beta"]):
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=Path(tasks.__file__).parent,
            env=dict(os.environ),
            text=True,
            capture_output=True,
            check=True,
        )
        assert done.stdout == "the log\n"
