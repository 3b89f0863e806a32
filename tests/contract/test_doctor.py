"""inv doctor: each finding by a real cause, with its remedy; what can't be known is not checked, and says why."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import archspec.cpu
import pytest
from pytest_socket import SocketBlockedError, disable_socket, enable_socket

from cachelib import pipeline
from cachelib.model.check import Check, Unknown, Verdict
from cachelib.model.errors import ConfigError
from cachelib.model.machine import Disk, Machine
from cachelib.model.stack import PackagesPin, SpackPin, Stack
from cachelib.pipeline import doctoring
from cachelib.steps import local_checks
from cachelib.steps.reports import Report
from cachelib.steps.targets import can_run
from cachelib.tools import machine, web
from tests.conftest import need
from tests.support.double import Fault, RegistryDouble, serving, serving_double
from tests.support.github_site import (
    NAME,
    OWNER,
    PACKAGE,
    PERMISSIONS,
    REPOSITORY,
    WORKFLOWS,
    Door,
    Site,
    good_site,
    serving_door,
    serving_site,
)
from tests.support.mirrors import add_chain, add_entry, make_node

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "ghp_s3cretT0kenOfTheTests"
HOME = f"https://github.com/{OWNER}/{NAME}"
COMMIT = "2e907202bcc8209a6a62243aab50c179b524cc3b"
Items = dict[str, dict[str, Any]]


class Patient:
    """A set-up that has nothing wrong, as long as a test does nothing to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.settings: dict[str, Any] = {
            "stacks": {
                "main": {
                    "spack": {"version": "v1.1.0", "commit": COMMIT},
                    "packages": {"version": "v2025.11.0", "commit": COMMIT},
                    "specs": ["zlib"],
                    "targets": [str(archspec.cpu.host().family)],
                }
            }
        }
        self.report = Report(lines=())

    @property
    def stack(self) -> dict[str, Any]:
        found: dict[str, Any] = self.settings["stacks"]["main"]
        return found

    def spack(self, version: str, *, code: int = 0) -> Path:
        """Give it a Spack that says it is of this version."""
        root = self.folder / "their-spack"
        (root / "bin").mkdir(parents=True, exist_ok=True)
        (root / "bin/spack").write_text(f"#!/bin/sh\necho '{version}'\nexit {code}\n")
        (root / "bin/spack").chmod(0o755)
        self.monkeypatch.setenv("SPACK_ROOT", str(root))
        return root

    def look(self, *, offline: bool = False, to: str = "") -> Items:
        """Have the doctor look; give what is found by its name."""
        path = self.folder / "cache.yaml"
        if not path.exists():
            path.write_text(json.dumps(self.settings))
        self.report = pipeline.doctor(str(path), to, offline=offline)
        (step,) = self.report.data
        items: Items = {item["label"]: item for item in step["items"]}
        assert len(items) == len(step["items"]), "two checks have one name"
        for item in items.values():
            if item["outcome"] in ("warning", "problem"):
                assert item["remedy"], item
        problems = [item for item in items.values() if item["outcome"] == "problem"]
        assert bool(self.report.exit_code) == bool(problems), problems
        assert TOKEN not in json.dumps(self.report.data) + self.report.text
        return items

    def outcome(self, label: str, **how: Any) -> str:
        return str(self.look(**how)[label]["outcome"])


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    for name in list(os.environ):
        if name.startswith(("GITHUB_", "GH_", "CACHE_CONFIG", "CACHE_REGISTRY", "DOCKER_", "REGISTRY_AUTH", "XDG_", "SPACK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = Patient(tmp_path, monkeypatch)
    made.spack("1.1.0")
    return made


@pytest.fixture
def site(patient: Patient) -> Iterator[Site]:
    """GitHub, asked with a classic token."""
    with serving_site(good_site()) as site:
        site.token, site.headers = TOKEN, {"X-OAuth-Scopes": "repo, write:packages"}
        patient.monkeypatch.setenv("GITHUB_API_URL", site.url)
        patient.monkeypatch.setenv("GITHUB_REPOSITORY", f"{OWNER}/{NAME}")
        patient.monkeypatch.setenv("GH_TOKEN", TOKEN)
        yield site


@pytest.fixture
def door(patient: Patient) -> Iterator[Door]:
    """A registry that stands for ghcr.io."""
    with serving_door(RegistryDouble()) as door:
        patient.settings["registry"] = f"oci+http://{door.registry.host}/eurohpc/cache"
        patient.monkeypatch.setattr(doctoring, "GHCR", door.registry.host)
        yield door


def publish(patient: Patient, *, index: bool = True, to: str = "") -> None:
    """Push a chain of two, and index it."""
    patient.look(offline=True)
    add_chain(patient.folder / "var/mirror/v1.1", 2)
    ws = pipeline.open_workspace(str(patient.folder / "cache.yaml"))
    assert pipeline.push(ws, to).exit_code == 0
    if index:
        assert pipeline.index(ws, to).exit_code == 0


def log_in(patient: Patient, password: str) -> None:
    patient.monkeypatch.setenv("CACHE_REGISTRY_USERNAME", "me")
    patient.monkeypatch.setenv("CACHE_REGISTRY_PASSWORD", password)


def test_nothing_is_wrong(patient: Patient, site: Site, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient)
    items = patient.look()
    assert {label: item["outcome"] for label, item in items.items() if item["outcome"] != "ok"} == {}
    assert set(items) == {
        "cache.yaml", "registry name", "registry owner", "source", "Spack of stack main", "Python", "programs", "C compiler", "disk",
        "target of stack main", "public reading of v1.1", "index of v1.1", f"login to {door.registry.host}", f"repository {OWNER}/{NAME}",
        "token", "Pages", "workflows", "workflow permissions", "package v1.1",
    }  # fmt: skip
    assert patient.report.lines[-1] == f"doctor: 19 checks of {patient.folder}: 19 ok, 0 warnings, 0 problems, 0 not checked"
    assert door.password not in patient.report.text
    assert door.registry.count("^(POST|PUT|DELETE)") == door.registry.count("^(POST|PUT)") > 0
    assert not list(patient.folder.glob("var/work*")), "a diagnosis leaves nothing behind"


def test_looking_writes_nothing(patient: Patient, site: Site, door: Door) -> None:
    log_in(patient, door.password)
    patient.look()
    assert {request.split()[0] for request in door.registry.requests} == {"GET"}
    assert not (patient.folder / "var").exists()


# -- settings


def test_every_mistake_in_the_settings_is_shown_and_the_rest_is_looked_at(patient: Patient, site: Site) -> None:
    patient.settings |= {"registri": "x"}
    patient.stack["spack"]["commit"] = "v1.1.0"
    items = patient.look()
    assert (items["cache.yaml"]["outcome"], patient.report.exit_code) == ("problem", 3)
    assert "did you mean `registry`?" in items["cache.yaml"]["words"]
    assert "stacks.main.spack.commit is 'v1.1.0'" in items["cache.yaml"]["words"]
    assert items["Spack, targets, registry"]["outcome"] == "not checked"
    assert items["Pages"]["outcome"] == items["disk"]["outcome"] == "ok"
    assert len([line for line in patient.report.lines if "cache.yaml:1" in line]) == 2, "a line each"


def test_no_settings_at_all(patient: Patient) -> None:
    report = pipeline.doctor(str(patient.folder / "nowhere/cache.yaml"), offline=True)
    assert report.exit_code == 3
    assert "does not exist" in report.text


def test_a_registry_of_another_owner(patient: Patient, door: Door, site: Site) -> None:
    patient.monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/cache")
    item = patient.look(offline=True)["registry owner"]
    assert (item["outcome"], patient.report.exit_code) == ("problem", 3)
    assert "belongs to eurohpc, this repository to somebody" in item["words"]
    assert item["remedy"].endswith(f"registry: oci://{door.registry.host}/somebody/cache")


def test_a_registry_in_capitals(patient: Patient, door: Door, site: Site) -> None:
    patient.settings["registry"] = f"oci+http://{door.registry.host}/{OWNER}/{NAME}"
    items = patient.look(offline=True)
    assert items["registry name"]["outcome"] == "warning"
    assert "lower case" in items["registry name"]["remedy"]
    assert items["registry owner"]["outcome"] == "ok"


@pytest.mark.parametrize("origin", ["https://github.com/{}.git", "git@github.com:{}.git", "ssh://git@github.com/{}"])
def test_the_repository_is_known_by_its_remote(patient: Patient, origin: str) -> None:
    subprocess.run(["git", "init", "-q"], cwd=patient.folder, check=True)
    subprocess.run(["git", "remote", "add", "origin", origin.format("somebody/fork")], cwd=patient.folder, check=True)
    patient.settings["source"] = HOME
    item = patient.look(offline=True)["source"]
    assert (item["outcome"], item["remedy"]) == ("problem", "in cache.yaml, write source: https://github.com/somebody/fork")


def test_packages_that_would_be_linked_to_nothing(patient: Patient, door: Door) -> None:
    item = patient.look(offline=True)["source"]
    assert (item["outcome"], item["remedy"]) == ("warning", "in cache.yaml, write source: https://github.com/OWNER/REPO")
    assert item["link"].startswith("https://docs.github.com/")


@pytest.mark.parametrize("origin", ["https://gitlab.com/a/b.git", "/srv/git/cache", "https://github.com/../..", "https://[", ""])
def test_no_repository_is_known(patient: Patient, origin: str) -> None:
    subprocess.run(["git", "init", "-q"], cwd=patient.folder, check=True)
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=patient.folder, check=True)
    item = patient.look()["GitHub"]
    assert (item["outcome"], "no repository" in item["words"]) == ("not checked", True)


# -- Spack and the machine


@pytest.mark.parametrize(
    ("said", "code", "pinned", "outcome", "words", "remedy"),
    [
        ("1.1.0", 0, "v1.1.0", "ok", "1.1.0 in ", ""),
        ("1.1.0.dev0 (abc)", 0, "v1.1.0", "ok", "1.1.0", ""),
        ("1.2.0.dev0", 0, "develop", "ok", "1.2.0", ""),
        ("0.23.1", 0, "v1.1.0", "problem", "is 0.23.1: 1.0 or newer is needed", "pin v1.0.0 or newer"),
        ("0.22.3", 0, "develop", "problem", "is 0.22.3: 1.0 or newer is needed", "pin v1.0.0 or newer"),
        ("1.1.0", 0, "v0.23.0", "problem", "v0.23.0 is too old", "pin v1.0.0 or newer"),
        ("1.0.2", 0, "v1.1.0", "problem", "is 1.0.2, but the stack is pinned to v1.1.0", "unset SPACK_ROOT"),
        ("no python here", 1, "v1.1.0", "problem", "does not run: ", "mend SPACK_ROOT"),
    ],
)
def test_spack(patient: Patient, said: str, code: int, pinned: str, outcome: str, words: str, remedy: str) -> None:
    patient.spack(said, code=code)
    patient.stack["spack"]["version"] = pinned
    item = patient.look(offline=True)["Spack of stack main"]
    assert (item["outcome"], words in item["words"], remedy in item["remedy"]) == (outcome, True, True), item
    assert patient.report.exit_code == (4 if outcome == "problem" else 0)


def test_a_spack_root_without_a_spack(patient: Patient) -> None:
    shutil.rmtree(patient.folder / "their-spack/bin")
    item = patient.look(offline=True)["Spack of stack main"]
    assert (item["outcome"], "holds no Spack" in item["words"], "unset it" in item["remedy"]) == ("problem", True, True)


def test_a_spack_of_another_commit(patient: Patient) -> None:
    root = patient.spack("1.1.0")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    item = patient.look(offline=True)["Spack of stack main"]
    assert (item["outcome"], "pinned is 2e907202bcc8" in item["words"]) == ("warning", True)


def test_a_spack_that_is_not_installed_yet(patient: Patient) -> None:
    patient.monkeypatch.delenv("SPACK_ROOT")
    item = patient.look(offline=True)["Spack of stack main"]
    assert (item["outcome"], item["remedy"][:26]) == ("warning", "`inv install --stack main`")


def programs(patient: Patient, *without: str) -> None:
    """Leave programs out of PATH."""
    folder = patient.folder / "programs"
    folder.mkdir()
    for name in ("sh", "cc", *machine.PROGRAMS):
        found = shutil.which(name)
        if found and name not in without:
            (folder / name).symlink_to(found)
        elif not found:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
    for name in without:
        (folder / name).unlink(missing_ok=True)
    patient.monkeypatch.setenv("PATH", str(folder))


def test_programs_that_are_missing_are_named(patient: Patient) -> None:
    programs(patient, "patch", "unzip", "git", "cc")
    items = patient.look(offline=True)
    assert items["programs"]["words"] == "not found on PATH: git, patch, unzip"
    assert items["programs"]["remedy"].endswith("package manager: git, patch, unzip")
    assert (items["C compiler"]["outcome"], "build-essential" in items["C compiler"]["remedy"]) == ("problem", True)
    assert patient.report.exit_code == 4
    assert items["GitHub"]["outcome"] == "not checked", "without git no remote is known, and no traceback comes of it"


def test_a_compiler_is_known_by_its_name_and_that_it_runs(patient: Patient) -> None:
    programs(patient, "cc")
    (patient.folder / "programs/gcc-13").write_text("#!/bin/sh\n")
    (patient.folder / "programs/gcc-ar").write_text("#!/bin/sh\n")
    (patient.folder / "programs/gcc-ar").chmod(0o755)
    assert patient.outcome("C compiler", offline=True) == "problem", "what can't be run is no compiler"
    (patient.folder / "programs/gcc-13").chmod(0o755)
    assert patient.look(offline=True)["C compiler"]["words"] == "gcc-13"


@pytest.mark.parametrize(
    ("free", "inodes", "expected"),
    [
        (4.9e9, None, {"disk": Verdict.PROBLEM}),
        (9.9e9, None, {"disk": Verdict.WARNING}),
        (10e9, 10**6, {"disk": Verdict.OK}),
        (99e9, 199_999, {"disk": Verdict.OK, "inodes": Verdict.WARNING}),
        (99e9, 49_999, {"disk": Verdict.OK, "inodes": Verdict.PROBLEM}),
    ],
)
def test_room_to_build_in(free: float, inodes: int | None, expected: dict[str, Verdict]) -> None:
    disk = Disk(folder="var", free=int(free), inodes=inodes)
    made = Machine(python=(3, 11, 7), clingo=True, missing=(), compilers=("gcc",), target="zen3", disk=disk)
    found = {check.name: check for check in local_checks.machine_checks(made)}
    assert {name: found[name].verdict for name in ("disk", "inodes") if name in found} == expected
    assert all(check.remedy for check in found.values() if check.verdict is not Verdict.OK)


def test_the_disk_is_that_of_the_folder_that_is_to_be(tmp_path: Path) -> None:
    found = machine.look_at_machine(tmp_path / "not/there/yet", {"PATH": ""}).disk
    assert isinstance(found, Disk)
    assert abs(found.free - shutil.disk_usage(tmp_path).free) < 1e9
    assert (found.inodes is None) == (os.statvfs(tmp_path).f_files == 0)


def test_an_old_python_and_one_without_clingo() -> None:
    about: dict[str, Any] = {"missing": (), "compilers": ("cc",), "target": "zen3", "disk": Unknown(reason="it is gone")}
    old = next(iter(local_checks.machine_checks(Machine(python=(3, 9, 1), clingo=True, **about))))
    bare, *_, disk = local_checks.machine_checks(Machine(python=(3, 11, 7), clingo=False, **about))
    assert (old.verdict, bare.verdict, "3.11" in old.remedy, "clingo" in bare.words) == (Verdict.PROBLEM, Verdict.PROBLEM, True, True)
    assert (disk.verdict, disk.words) == (Verdict.UNCHECKED, "it is gone")


def test_a_runner_below_the_target_of_the_stack(patient: Patient) -> None:
    host = archspec.cpu.host()
    above = next(
        name for name, target in sorted(archspec.cpu.TARGETS.items()) if target.family == host.family and not can_run(host.name, name)
    )
    patient.stack["targets"] = [above]
    item = patient.look(offline=True)["target of stack main"]
    assert (item["outcome"], patient.report.exit_code) == ("problem", 5)
    assert f"this runner is {host.name}, below the stack's {above}" in item["words"]
    assert "pin a lower target" in item["remedy"]


def test_code_that_is_in_no_commit(patient: Patient) -> None:
    subprocess.run([need("git"), "init", "-q"], cwd=patient.folder, check=True)
    patient.stack["develop"] = {"solver": {"spec": "solver@main"}}
    item = patient.look(offline=True)["code of main"]
    assert (item["outcome"], patient.report.exit_code) == ("problem", ConfigError.exit_code)
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *author, "commit", "-qm", "one", "--allow-empty"], cwd=patient.folder, check=True)
    subprocess.run(["git", "add", "cache.yaml"], cwd=patient.folder, check=True)
    subprocess.run(["git", *author, "commit", "-qm", "two"], cwd=patient.folder, check=True)
    item = patient.look(offline=True)["code of main"]
    assert item["outcome"] == "ok"
    assert item["words"].startswith("solver@main is commit ")


def judged(targets: tuple[str, ...], machine: str, cpu: str | Unknown) -> Check:
    pins = {"spack": SpackPin(version="v1.1.0", commit=COMMIT), "packages": PackagesPin(version="v1", commit=COMMIT)}
    return local_checks.target_check("s", Stack(targets=targets, **pins), machine=machine, cpu=cpu)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "machine", "cpu", "verdict", "words"),
    [
        (("x86_64_v4",), "x86_64", "haswell", Verdict.PROBLEM, "haswell, below the stack's x86_64_v4"),
        (("x86_64_v3", "aarch64"), "x86_64", "haswell", Verdict.OK, "x86_64_v3"),
        (("x86_64_v3", "aarch64"), "arm64", "m1", Verdict.OK, "aarch64"),
        (("neoverse_v1",), "aarch64", "neoverse_n1", Verdict.PROBLEM, "below the stack's neoverse_v1"),
        (("x86_64_v3", "x86_64_v4"), "x86_64", "zen4", Verdict.OK, "x86_64_v3, x86_64_v4, which this machine (zen4) runs"),
        (("x86_64_v3", "x86_64_v4"), "x86_64", "haswell", Verdict.WARNING, "x86_64_v3 are built here; x86_64_v4 not"),
        (("x86_64_v4", "zen4"), "x86_64", "haswell", Verdict.PROBLEM, "haswell, below the stack's x86_64_v4 and zen4"),
        (("aarch64",), "x86_64", "zen4", Verdict.UNCHECKED, "it builds on other machines: aarch64"),
        (("x86_64_v3",), "x86_64", Unknown(reason="no /proc here"), Verdict.UNCHECKED, "no /proc here"),
        (("zen4",), "x86_64", "zen4", Verdict.OK, "zen4"),
        ((), "x86_64", "zen4", Verdict.WARNING, "every hash may differ"),
    ],
)
def test_targets(targets: tuple[str, ...], machine: str, cpu: str | Unknown, verdict: Verdict, words: str) -> None:
    found = judged(targets, machine, cpu)
    assert (found.verdict, words in found.words) == (verdict, True), found
    if verdict is Verdict.PROBLEM:
        assert f"such as {'x86_64_v3' if cpu == 'haswell' else 'aarch64'})" in found.remedy


# -- the registry


def test_nothing_is_published_yet(patient: Patient, door: Door) -> None:
    log_in(patient, door.password)
    items = patient.look()
    assert items["public reading of v1.1"]["words"] == items["index of v1.1"]["words"] == "nothing is published yet"
    assert items["public reading of v1.1"]["outcome"] == items["index of v1.1"]["outcome"] == "ok"
    assert "`inv push`" in items["index of v1.1"]["remedy"]


def test_a_private_package(patient: Patient, site: Site, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient)
    door.public = False
    site.set(PACKAGE, visibility="private")
    items = patient.look()
    for name in ("public reading of v1.1", "package v1.1"):
        assert items[name]["outcome"] == "problem"
        assert "Change visibility" in items[name]["remedy"]
        assert items[name]["link"] == "https://github.com/orgs/eurohpc/packages/container/package/cache%2Fv1.1"
    assert items["index of v1.1"]["outcome"] == "ok", "with a login it can be read"
    assert patient.report.exit_code == 7


def test_what_is_private_or_not_there_can_not_be_told_apart_without_a_login(patient: Patient, door: Door) -> None:
    door.public = False
    items = patient.look()
    assert items["public reading of v1.1"]["outcome"] == "warning"
    assert "private, or nothing is published yet" in items["public reading of v1.1"]["words"]
    assert items["public reading of v1.1"]["link"] == "https://github.com/users/eurohpc/packages/container/package/cache%2Fv1.1"
    assert items["index of v1.1"]["outcome"] == "not checked"
    log_in(patient, door.password)
    assert patient.outcome("public reading of v1.1") == "ok", "with a login it is seen to be empty"


def test_a_package_that_github_knows_is_private_not_missing(patient: Patient, site: Site, door: Door) -> None:
    door.public = False
    assert patient.outcome("public reading of v1.1") == "problem"
    del site.answers[PACKAGE]
    assert patient.outcome("public reading of v1.1") == "warning"


@pytest.mark.parametrize("public", [True, False])
def test_a_login_that_is_refused(patient: Patient, door: Door, public: bool) -> None:
    door.public = public
    log_in(patient, "an-0ld-passw0rd")
    item = patient.look()[f"login to {door.registry.host}"]
    assert (item["outcome"], "CACHE_REGISTRY_USERNAME is refused" in item["words"]) == ("problem", True)
    assert "docker login" in item["remedy"]
    assert "an-0ld-passw0rd" not in patient.report.text


def test_no_login(patient: Patient, door: Door) -> None:
    item = patient.look()[f"login to {door.registry.host}"]
    assert (item["outcome"], "docker login" in item["remedy"], "docs.github.com" in item["link"]) == ("warning", True, True)


def test_an_index_that_is_not_there(patient: Patient, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient, index=False)
    item = patient.look()["index of v1.1"]
    assert (item["outcome"], item["remedy"], patient.report.exit_code) == ("problem", "run `inv index`", 8)
    assert item["words"] == "index stale: there is no catalog, so clients see none of 2 images"


def test_an_index_that_lags_behind(patient: Patient) -> None:
    publish(patient)
    node = make_node("latecomer")
    add_entry(patient.folder / "var/mirror/v1.1", [node])
    ws = pipeline.open_workspace(str(patient.folder / "cache.yaml"))
    pipeline.push(ws)
    item = patient.look(offline=True)["index of v1.1"]
    assert (item["outcome"], item["words"]) == ("warning", f"index stale: it lacks latecomer-1.0-{node['hash']}.spack")
    assert "run `inv index`" in item["remedy"]
    pipeline.index(ws)
    assert patient.look(offline=True)["index of v1.1"]["words"] == "it tells of all 3 images"


def test_an_index_that_names_what_is_gone(patient: Patient, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient)
    gone = next(tag for tag in door.registry.tags if tag.startswith("part1"))
    del door.registry.tags[gone]
    item = patient.look()["index of v1.1"]
    assert (item["outcome"], item["words"]) == ("warning", f"index stale: it names what is gone: {gone}")


def test_a_spack_index_that_is_not_the_catalogs(patient: Patient, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient)
    del door.registry.tags["index.spack"]
    item = patient.look()["index of v1.1"]
    assert (item["outcome"], "index.spack: it is missing" in item["words"], item["remedy"]) == ("problem", True, "run `inv index`")


def test_a_catalog_that_is_none(patient: Patient, door: Door) -> None:
    log_in(patient, door.password)
    publish(patient)
    door.registry.tags["catalog"] = door.registry.tags["index.spack"]
    item = patient.look()["index of v1.1"]
    assert (item["outcome"], item["remedy"]) == ("problem", "run `inv index --full`")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "status", 500, times=99),
        Fault("GET", "limit", times=99),
        Fault("GET", "secondary-limit", times=99),
        Fault("GET /v2", "status", 200, times=99, body=b"<html>hello</html>"),
        Fault("GET", "status", 200, times=99, body=b'{"tags": 3}'),
        Fault("GET", "reset", times=99),
    ],
)
def test_a_registry_in_trouble_is_not_checked(patient: Patient, fault: Fault) -> None:
    with serving_double() as double:
        double.faults = [fault]
        log_in(patient, "s3cret")
        items = patient.look(to=f"oci+http://{double.host}/a/b")
        assert (items["public reading of v1.1"]["outcome"], items["index of v1.1"]["outcome"]) == ("not checked", "not checked")
        assert double.count("tags/list") == 1, "a diagnosis asks once"


def test_nobody_there(patient: Patient) -> None:
    patient.settings["stacks"]["other"] = {**patient.stack, "image": "other"}
    log_in(patient, "s3cret")
    items = patient.look(to="oci+http://127.0.0.1:9/a/b")
    for label in ("public reading of v1.1", "public reading of other", "index of other", "login to 127.0.0.1:9"):
        assert items[label]["outcome"] == "not checked"
    assert "refused" in items["public reading of v1.1"]["words"]


@pytest.mark.parametrize("kind", ["reset", "limit", "ghcr-limit", "secondary-limit"])
def test_a_host_that_gives_no_answer_is_not_asked_again(patient: Patient, kind: str) -> None:
    patient.settings["stacks"]["other"] = {**patient.stack, "image": "other"}
    log_in(patient, "s3cret")
    with serving_double() as double:
        double.faults = [Fault("GET", kind, times=99)]
        items = patient.look(to=f"oci+http://{double.host}/a/b")
        assert items["public reading of other"]["words"] == items["public reading of v1.1"]["words"]
        assert double.requests == ["GET /v2/a/b/v1.1/tags/list?n=1000"]


def test_where_runs_on_github_publish_is_named(patient: Patient) -> None:
    patient.monkeypatch.setenv("GITHUB_REPOSITORY", f"{OWNER}/{NAME}")
    item = patient.look(offline=True)["registry name"]
    assert item["remedy"] == "`inv doctor --to oci://ghcr.io/eurohpc/cache` looks at where runs on GitHub publish"
    patient.monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert patient.look(offline=True)["registry name"]["words"] == "oci://ghcr.io/eurohpc/cache"
    patient.monkeypatch.setenv("CACHE_CONFIG", str(patient.folder / "cache.yaml"))
    assert pipeline.doctor(offline=True).lines == patient.report.lines


def test_a_directory_is_looked_at_offline(patient: Patient) -> None:
    publish(patient)
    items = patient.look(offline=True)
    assert items["index of v1.1"]["words"] == "it tells of all 2 images"
    assert "needs no account" in items["registry name"]["words"]


# -- GitHub


@pytest.mark.parametrize(
    ("path", "changes", "label", "outcome", "words", "remedy", "link"),
    [
        (f"{REPOSITORY}/pages", {"build_type": "legacy"}, "Pages", "problem", "Pages not by Actions", "Source: GitHub Actions", "settings/pages"),
        (f"{REPOSITORY}/pages", {"cname": "c.org", "https_enforced": False}, "Pages", "warning", "without https", "Enforce HTTPS", "settings/pages"),
        (REPOSITORY, {"archived": True}, f"repository {OWNER}/{NAME}", "problem", "archived", "unarchive", "settings"),
        (REPOSITORY, {"private": True}, f"repository {OWNER}/{NAME}", "warning", "private", "make it public", "settings"),
        (PERMISSIONS, {"default_workflow_permissions": "write"}, "workflow permissions", "warning", "may write everything", "Read repository contents", "settings/actions"),
        (WORKFLOWS, {"workflows": []}, "workflows", "warning", "there are none", ".github/workflows", "actions"),
    ],
)  # fmt: skip
def test_findings(
    patient: Patient, site: Site, path: str, changes: Any, label: str, outcome: str, words: str, remedy: str, link: str
) -> None:
    site.set(path, **changes)
    item = patient.look()[label]
    assert (item["outcome"], words in item["words"], remedy in item["remedy"]) == (outcome, True, True), item
    assert item["link"] == f"{HOME}/{link}"
    assert patient.report.exit_code == (13 if outcome == "problem" else 0)


@pytest.mark.parametrize(
    ("state", "outcome", "words"),
    [
        ("disabled_inactivity", "problem", "schedule switched off"),
        ("disabled_manually", "warning", "somebody has disabled it"),
        ("disabled_fork", "warning", "as in every new fork"),
        ("asleep", "warning", "its state is asleep"),
    ],
)
def test_workflows_that_do_not_run(patient: Patient, site: Site, state: str, outcome: str, words: str) -> None:
    more = f"{site.url}/{WORKFLOWS}&page=2"
    good = site.answers[WORKFLOWS]
    site.answers[WORKFLOWS] = (200, {"Link": f'<{more}>; rel="next"'}, json.dumps(good).encode())
    weekly = {"id": 3, "name": "Weekly", "path": ".github/workflows/weekly.yml", "state": state}
    site.answers[f"{WORKFLOWS}&page=2"] = {"total_count": 2, "workflows": [weekly]}
    items = patient.look()
    assert (items["workflow Weekly"]["outcome"], words in items["workflow Weekly"]["words"]) == (outcome, True)
    assert "Enable workflow" in items["workflow Weekly"]["remedy"]
    assert items["workflow Weekly"]["link"] == f"{HOME}/actions/workflows/weekly.yml"
    assert "workflows" not in items


def test_pages_that_are_off(patient: Patient, site: Site) -> None:
    del site.answers[f"{REPOSITORY}/pages"]
    assert patient.outcome("Pages") == "not checked", "who may not see them is told the same"
    site.set(REPOSITORY, has_pages=False)
    item = patient.look()["Pages"]
    assert (item["outcome"], "Pages off" in item["words"], item["link"]) == ("problem", True, f"{HOME}/settings/pages")


def test_a_site_at_another_address(patient: Patient, site: Site) -> None:
    patient.settings["site"] = {"url": "https://old.github.io/cache"}
    item = patient.look()["Pages"]
    assert (item["outcome"], "`url: https://eurohpc.github.io/cache/`" in item["remedy"]) == ("warning", True)


@pytest.mark.parametrize("linked", [None, {"full_name": "EuroHPC/other"}])
def test_a_package_that_is_linked_elsewhere(patient: Patient, site: Site, door: Door, linked: Any) -> None:
    site.set(PACKAGE, repository=linked)
    item = patient.look()["package v1.1"]
    assert (item["outcome"], patient.report.exit_code) == ("problem", 13)
    assert ("EuroHPC/other" if linked else "package not linked") in item["words"]
    assert "Manage Actions access" in item["remedy"]
    assert item["link"] == "https://github.com/orgs/eurohpc/packages/container/package/cache%2Fv1.1"


def test_a_package_of_a_user(patient: Patient, site: Site, door: Door) -> None:
    site.set(REPOSITORY, owner={"login": OWNER, "type": "User"})
    site.answers[PACKAGE.replace("orgs/", "users/")] = {**site.answers.pop(PACKAGE), "visibility": "private"}
    assert patient.look()["package v1.1"]["link"] == "https://github.com/users/eurohpc/packages/container/package/cache%2Fv1.1"


def test_no_package_yet(patient: Patient, site: Site, door: Door) -> None:
    del site.answers[PACKAGE]
    assert "nothing is published yet" in patient.look()["package v1.1"]["words"]


@pytest.mark.parametrize("scopes", ["repo, read:packages", ""])
def test_a_token_without_write_packages(patient: Patient, site: Site, door: Door, scopes: str) -> None:
    site.headers = {"X-OAuth-Scopes": scopes}
    item = patient.look()["token"]
    assert (item["outcome"], "token without packages:write" in item["words"]) == ("problem", True)
    assert (item["remedy"], item["link"]) == ("give it the scope write:packages", "https://github.com/settings/tokens")


def test_an_actions_token_tells_no_scopes(patient: Patient, site: Site, door: Door) -> None:
    site.headers = {}
    items = patient.look()
    assert (items["token"]["outcome"], items["packages: write"]["outcome"]) == ("ok", "not checked")
    assert "permissions: packages: write" in items["packages: write"]["words"]


def test_a_fine_grained_token(patient: Patient, site: Site, door: Door) -> None:
    site.token, site.headers = "github_pat_11ABC", {}
    patient.monkeypatch.setenv("GH_TOKEN", site.token)
    item = patient.look()["token"]
    assert (item["outcome"], "fine-grained" in item["words"], "classic" in item["remedy"]) == ("warning", True, True)


@pytest.mark.parametrize("token", ["ghp_an0ld0ne", "ghp_\u00e4\u00f6", "ghp_a\nb"])
def test_a_token_that_is_refused_does_not_hide_the_rest(patient: Patient, site: Site, token: str) -> None:
    patient.monkeypatch.setenv("GITHUB_TOKEN", token)
    items = patient.look()
    assert (items["token"]["outcome"], "refuses the one in GITHUB_TOKEN" in items["token"]["words"]) == ("problem", True)
    assert items["Pages"]["outcome"] == items["workflows"]["outcome"] == "ok"
    assert token not in patient.report.text


def test_without_a_token(patient: Patient, site: Site, door: Door) -> None:
    patient.monkeypatch.delenv("GH_TOKEN")
    items = patient.look()
    assert {label for label, item in items.items() if item["outcome"] == "not checked"} == {"token", "workflow permissions", "package v1.1"}
    assert items["Pages"]["outcome"] == "ok"
    assert set(site.authorizations) == {""}
    assert PACKAGE not in site.requests, "what only a token may see is not asked for without one"


@pytest.mark.parametrize(("token", "outcome"), [(True, "problem"), (False, "warning")])
def test_no_such_repository(patient: Patient, site: Site, token: bool, outcome: str) -> None:
    site.answers.clear()
    if not token:
        patient.monkeypatch.delenv("GH_TOKEN")
    items = patient.look()
    assert items[f"repository {OWNER}/{NAME}"]["outcome"] == outcome
    assert items["Pages, workflows, permissions"]["outcome"] == "not checked"
    assert len(site.requests) == 1


def test_a_repository_with_a_new_name(patient: Patient, site: Site) -> None:
    found = {**site.answers[REPOSITORY], "full_name": "EuroHPC/renamed"}
    site.answers["repositories/7"] = found
    site.answers[REPOSITORY] = (301, {"Location": "/repositories/7"}, b"")
    item = patient.look()[f"repository {OWNER}/{NAME}"]
    assert (item["outcome"], item["words"]) == ("warning", "it is called EuroHPC/renamed now")
    assert "set-url origin" in item["remedy"]


def test_the_token_goes_to_no_other_host(patient: Patient, site: Site) -> None:
    with serving_site(good_site()) as stranger:
        site.answers[REPOSITORY] = (302, {"Location": f"{stranger.url}/{REPOSITORY}?secret=1"}, b"")
        item = patient.look()[f"repository {OWNER}/{NAME}"]
        assert (item["outcome"], "where the token must not go" in item["words"]) == ("not checked", True)
        site.answers = good_site().answers
        link = {"Link": f'<{stranger.url}/{WORKFLOWS}>; rel="next"'}
        site.answers[WORKFLOWS] = (200, link, json.dumps(site.answers[WORKFLOWS]).encode())
        assert patient.outcome("workflows") == "not checked"
        assert stranger.requests == []


def test_redirections_end(patient: Patient, site: Site) -> None:
    site.answers[REPOSITORY] = (302, {"Location": f"/{REPOSITORY}"}, b"")
    assert "redirected more than 5 times" in patient.look()[f"repository {OWNER}/{NAME}"]["words"]


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_said_once_and_not_pressed(patient: Patient, site: Site, status: int) -> None:
    limited = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600"}
    site.answers[f"{REPOSITORY}/pages"] = (status, limited, b'{"message": "API rate limit exceeded"}')
    items = patient.look()
    for label in ("Pages", "workflows", "workflow permissions"):
        assert (items[label]["outcome"], items[label]["words"]) == ("not checked", "GitHub's rate limit is used up until 00:00 UTC")
    assert site.requests == [REPOSITORY, f"{REPOSITORY}/pages"]


HOSTILE = [
    (200, {}, b"<html>All is well</html>"),
    (200, {}, b""),
    (200, {}, b"[]"),
    (200, {}, b'"text"'),
    (200, {}, b"null"),
    (200, {}, b"[" * 100_000),
    (200, {"Content-Encoding": "gzip"}, b"no gzip at all"),
    (200, {"Content-Length": "9999"}, b"{}"),
    (200, {}, b'{"full_name": 7, "visibility": [], "workflows": 3, "html_url": {}, "default_workflow_permissions": null}'),
    (200, {}, b'{"full_name": "a/b", "owner": [], "visibility": {}, "workflows": [1], "build_type": 3}'),
    (200, {}, b" " * (web.LIMIT + 1)),
    (500, {}, b'{"message": "Server Error"}'),
    (403, {}, b'{"message": ["Resource not accessible by integration"]}'),
    (403, {}, b"\xff\xfe"),
    (302, {"Location": "http://["}, b""),
    (302, {}, b""),
    (418, {}, b'{"message": "\\u001b[2J\\u202e"}'),
]


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_not_believed(patient: Patient, site: Site, door: Door, answer: Any) -> None:
    for path, label in (
        (f"{REPOSITORY}/pages", "Pages"),
        (WORKFLOWS, "workflows"),
        (PERMISSIONS, "workflow permissions"),
        (PACKAGE, "package v1.1"),
    ):
        site.answers[path] = answer
        items = patient.look()
        assert items[label]["outcome"] == "not checked", items[label]
        assert items[label]["words"]
        assert items[f"repository {OWNER}/{NAME}"]["outcome"] == "ok"
        site.answers = good_site().answers
    site.answers[REPOSITORY] = answer
    assert patient.outcome(f"repository {OWNER}/{NAME}") == "not checked"
    assert "\x1b" not in patient.report.text


def test_a_word_where_yes_or_no_belongs(patient: Patient, site: Site) -> None:
    site.set(REPOSITORY, private="no")
    assert patient.outcome(f"repository {OWNER}/{NAME}") == "not checked"


def test_a_right_answer_that_is_huge_is_not_taken(patient: Patient, site: Site) -> None:
    site.answers[f"{REPOSITORY}/pages"] = (200, {}, json.dumps(site.answers[f"{REPOSITORY}/pages"]).encode() + b" " * web.LIMIT)
    item = patient.look()["Pages"]
    assert (item["outcome"], "more than 4194304 bytes" in item["words"]) == ("not checked", True)


def test_an_answer_that_never_comes_is_given_up(patient: Patient, site: Site) -> None:
    patient.monkeypatch.setattr(web, "TIMEOUT", (1.0, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        patient.monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        items = patient.look()
    for label in (f"repository {OWNER}/{NAME}", "Pages, workflows, permissions"):
        assert items[label]["outcome"] == "not checked"
    assert "timed out" in items[f"repository {OWNER}/{NAME}"]["words"].lower()


def test_an_answer_that_drips_is_given_up(patient: Patient, site: Site) -> None:
    patient.monkeypatch.setattr(web, "LONGEST", 0.3)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(100):  # each byte in time, all of them not
                self.wfile.write(b" " * 65536)
                time.sleep(0.1)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    patient.monkeypatch.setattr(web, "LIMIT", 2**40)
    with serving(Handler) as host:
        patient.monkeypatch.setenv("GITHUB_API_URL", f"http://{host}")
        item = patient.look()[f"repository {OWNER}/{NAME}"]
    assert (item["outcome"], "took more than" in item["words"]) == ("not checked", True)


@pytest.mark.parametrize("api", ["http://127.0.0.1:9", "ftp://x", "http://[", "nonsense", "http://a b"])
def test_no_github_there(patient: Patient, site: Site, api: str) -> None:
    patient.monkeypatch.setenv("GITHUB_API_URL", api)
    items = patient.look()
    assert items[f"repository {OWNER}/{NAME}"]["outcome"] == "not checked"
    assert items["token"]["outcome"] == "not checked", "nobody has said that it is good"


def test_a_password_goes_nowhere_that_a_registry_sends_to_over_plain_http(patient: Patient) -> None:
    from cachelib.model.errors import RegistryError
    from cachelib.model.oci import RegistryLocation
    from cachelib.tools import registry_login
    from cachelib.tools.credentials import Credentials

    asked: list[tuple[str, dict[str, str]]] = []

    def get(session: Any, url: str, headers: Any = None) -> web.Answer:
        asked.append((url, dict(headers or {})))
        told = {"www-authenticate": 'Bearer realm="http://h.io/token",service="x"'}
        return web.Answer(url=url, status=401, headers=told, body=b"", links={})

    patient.monkeypatch.setattr(web, "get", get)
    with pytest.raises(RegistryError, match="a password must not go"):
        registry_login.takes_login(RegistryLocation(host="h.io", repository="a"), Credentials(username="u", password="p", source="s"))
    assert asked == [("https://h.io/v2/", {})]


# -- offline, and as it is typed


def test_offline_opens_no_socket(patient: Patient, site: Site, door: Door) -> None:
    log_in(patient, door.password)
    disable_socket(allow_unix_socket=True)
    try:
        items = patient.look(offline=True)
        with pytest.raises((SocketBlockedError, UserWarning)):
            patient.look()
    finally:
        enable_socket()
    assert items["GitHub"] == {
        "label": "GitHub",
        "outcome": "not checked",
        "words": "--offline: it needs a network",
        "remedy": "",
        "link": "",
    }
    assert items[f"registry {door.registry.host}"]["outcome"] == "not checked"
    assert items["Spack of stack main"]["outcome"] == "ok"
    assert (site.requests, door.registry.requests) == ([], [])


def inv(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    command = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), "doctor", "--config", str(folder / "cache.yaml"), *arguments]
    done = subprocess.run(
        command, cwd=PROJECT, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def test_as_it_is_typed(patient: Patient) -> None:
    patient.look(offline=True)
    code, said = inv(patient.folder, "--offline", "--json", str(patient.folder / "report.json"))
    assert code == 0, said
    assert "  ok           cache.yaml: it is right: one stack, Spack and packages pinned by commit\n" in said
    told = json.loads((patient.folder / "report.json").read_text())
    assert (told["meta"]["task"], told["exitCode"], told["steps"][0]["step"]) == ("doctor", 0, "doctor")
    (patient.folder / "cache.yaml").write_text("stacks: {}")
    code, said = inv(patient.folder, "--offline")
    assert (code, "  problem      cache.yaml: one problem in " in said, "remedy: mend them" in said) == (3, True, True), said
    code, said = inv(patient.folder, "--to", "ftp://x")
    assert (code, "hint:" in said) == (2, True), said
