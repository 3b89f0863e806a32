"""All targets of a stack that are of this machine's family, with real Spack: planned, built, published, and installed by stock Spack."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import archspec.cpu
import pytest

from cachelib import pipeline
from cachelib.pipeline.workspace import Workspace
from cachelib.steps.building import parse_lock
from cachelib.steps.targets import can_run, targets_here
from tests.e2e.conftest import CLIENTS, SHARED, Client
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server

#: Two targets of each family that any of its machines runs, as good as; and one that none runs that CI or we have.
TWO = {"x86_64": ("x86_64", "x86_64_v2"), "aarch64": ("aarch64", "armv8.1a")}


def family() -> str:
    return str(archspec.cpu.host().family)


def stack_of(ws: Workspace, *targets: str, specs: tuple[str, ...] = ("sundial", "moonphase +emoji")) -> Workspace:
    """The workspace with the examples for these targets."""
    stack = replace(ws.settings.stacks["examples"], targets=targets, specs=specs)
    return replace(ws, settings=replace(ws.settings, stacks={"examples": stack}))


def above() -> str:
    """A target of this family that this machine can't run."""
    host = archspec.cpu.host().name
    return next(name for name in ("zen3", "icelake", "a64fx", "neoverse_n1") if targets_here([name], family()) and not can_run(host, name))


@pytest.fixture(scope="module")
def two(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A stack of two targets of this machine, and one of another."""
    ws = stack_of(workspace, *TWO[family()], "power9le")
    return replace(ws, var=tmp_path_factory.mktemp("targets"))


@pytest.fixture
def client(certificates: Certificates, tmp_path: Path) -> Client:
    """A user of the stack's own Spack."""
    commit, _, packages = CLIENTS["v1.1.0"]
    key = f"{commit[:12]}-{packages[:12]}"
    return Client(
        root=SHARED / "spack" / commit[:12], packages=SHARED / "packages" / packages[:12], home=tmp_path / "user",
        certificates=certificates, cache=SHARED / "cache" / key / "misc",
    )  # fmt: skip


def plan(ws: Workspace, to: str, out: Path, workers: int = 0) -> tuple[str, dict[str, object]]:
    report = pipeline.plan(ws, to=to, out=str(out), workers=workers)
    assert report.exit_code == 0, report.text
    (stack,) = json.loads((out / "plan.json").read_text(encoding="utf-8"))["stacks"]
    return report.text, stack


def test_two_targets_from_a_plan_to_stock_spack(
    two: Workspace, client: Client, registry: Server, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    base, targets = f"{registry.url}/targets/cache", TWO[family()]
    text, planned = plan(two, base, tmp_path / "plan")
    key = f"{planned['stack']}-{planned['id']}"
    lock = parse_lock(json.loads((tmp_path / "plan" / key / "spack.lock").read_text(encoding="utf-8")))
    assert sorted(lock.roots.values()) == sorted(
        f"{request} target={target}" for request in ("sundial", "moonphase+emoji") for target in targets
    )
    for h, request in lock.roots.items():
        assert lock.nodes[h].target == request.rpartition("=")[2]
    # No dependency is of another target than who needs it, but what the machine has.
    for node in lock.buildable():
        assert {lock.nodes[edge.hash].target for edge in node.dependencies if not lock.nodes[edge.hash].external} <= {node.target}
    assert f"requested as 'sundial target={targets[1]}'" in text

    built = pipeline.build(two)
    assert built.exit_code == 0, built.text
    assert f" {len(lock.buildable())} built" in built.text
    assert pipeline.push(two, base).exit_code == 0
    assert pipeline.index(two, base).exit_code == 0
    again, left = plan(two, base, tmp_path / "again")
    assert "nothing to build" in again, again
    assert not left["needs"]
    told = pipeline.weather(two, to=base).text
    assert "of 4 requests 4 ready" in told, told
    lines = [line for line in told.splitlines() if line.startswith(tuple(f"  {target}: " for target in targets))]
    assert len(lines) == 2, told
    for line in lines:
        present, total = line.partition(": ")[2].split(" of ")
        assert present == total != "0", line

    user = replace(client, mirrors={"cache": f"{base}/v1.1"})
    for target in targets:
        user.run("install", "--use-buildcache", "only", "--no-check-signature", f"sundial target={target}")
        found = json.loads(user.run("find", "--json", "--no-groups", f"sundial target={target}"))
        assert {
            spec["arch"]["target"]["name"] if isinstance(spec["arch"]["target"], dict) else spec["arch"]["target"] for spec in found
        } == {target}
        assert user.run("location", "-i", f"sundial target={target}").strip()


def test_a_target_that_this_cpu_cant_run(workspace: Workspace, tmp_path: Path) -> None:
    """It is planned, and told; a build leaves it out, and a worker that is to build it says why it doesn't."""
    low, high = TWO[family()][0], above()
    ws = replace(stack_of(workspace, low, high, specs=("moonphase",)), var=tmp_path / "var")
    text, planned = plan(ws, f"oci-layout:{tmp_path / 'registry'}", tmp_path / "plan", workers=1)
    reason = f"it is for {high}, which this machine's CPU can't run ({archspec.cpu.host().name})"
    assert f"left     target {high}: {reason}" in text
    roots = planned["roots"]
    assert isinstance(roots, dict)
    assert sorted(roots.values()) == sorted([f"moonphase target={low}", f"moonphase target={high}"])

    worked = pipeline.work(ws, 1, str(tmp_path / "plan"), str(tmp_path / "parts"))
    lines = [line for line in worked.lines if "moonphase" in line]
    assert worked.exit_code == 5
    assert sum(line.startswith("  built") for line in lines) == 1, worked.text
    assert sum(line.startswith("  skipped") and reason in line for line in lines) == 1, worked.text

    built = pipeline.build(ws)
    assert built.exit_code == 0, built.text
    assert f"left     target {high}: {reason}" in built.text
    assert "skipped" not in built.text


def test_a_request_with_a_target_of_its_own_and_one_that_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """It is built once; what Spack refuses is told for each target."""
    first, second = TWO[family()]
    ws = replace(stack_of(workspace, first, specs=("moonphase", "moonphase@99", f"moonphase +emoji target={second}")), var=tmp_path / "var")
    report = pipeline.plan(ws, to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert report.exit_code == 5
    assert report.text.count("REJECTED") == 1
    assert f"REJECTED 'moonphase@99 target={first}'" in report.text
    (stack,) = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["stacks"]
    assert sorted(stack["roots"].values()) == [f"moonphase target={first}", f"moonphase+emoji target={second}"]


def test_a_target_of_one_request_is_not_for_what_an_environment_lists(workspace: Workspace, tmp_path: Path) -> None:
    """A matrix is no list of requests: it is concretized as a whole, for each target of the stack and no other."""
    first, second = TWO[family()]
    (tmp_path / "spack.yaml").write_text("spack: {specs: [matrix: [[almanac-data], ['@2026:']]]}", encoding="utf-8")
    ws = stack_of(workspace, first, specs=(f"moonphase target={second}",))
    stack = replace(ws.settings.stacks["examples"], environment=str(tmp_path / "spack.yaml"))
    ws = replace(ws, var=tmp_path / "var", settings=replace(ws.settings, stacks={"examples": stack}))
    report = pipeline.plan(ws, to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert report.exit_code == 0, report.text
    (planned,) = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["stacks"]
    roots = sorted(planned["roots"].values())
    assert [root.partition("target=")[2] for root in roots] == [first, second], roots


def test_what_an_environment_includes_is_read_each_time(workspace: Workspace, tmp_path: Path) -> None:
    """A file that it includes can change without it."""
    (tmp_path / "spack.yaml").write_text("spack: {specs: [], include: [packages.yaml]}", encoding="utf-8")
    ws = stack_of(workspace, family(), specs=("moonphase",))
    stack = replace(ws.settings.stacks["examples"], environment=str(tmp_path / "spack.yaml"))
    ws = replace(ws, var=tmp_path / "var", settings=replace(ws.settings, stacks={"examples": stack}))
    found = []
    for variant in ("+emoji", "~emoji", "@99"):
        (tmp_path / "packages.yaml").write_text(f"packages: {{moonphase: {{require: ['{variant}']}}}}", encoding="utf-8")
        report = pipeline.build(ws, dry_run=True)
        found += [report.text if report.exit_code == 0 else report.exit_code]
    assert found[0] != found[1]
    assert found[2] == 5, "an earlier lock is none for this"
