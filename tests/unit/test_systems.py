"""Stacks whose jobs run in a container: which jobs there are, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cachelib.model.check import Verdict
from cachelib.model.errors import ConfigError, FormatError
from cachelib.model.plan import parse_plan
from cachelib.model.stack import CONTAINER, PackagesPin, SpackPin, Stack
from cachelib.steps.local_checks import system_check
from cachelib.steps.runners import plan_jobs
from tests.unit.test_planning import lock, plan

COMMIT = "0" * 40
PLAIN = Stack(spack=SpackPin(version="v1.1.0", commit=COMMIT), packages=PackagesPin(version="v1", commit=COMMIT), targets=("x86_64_v3",))
ROCKY = f"rockylinux/rockylinux:9@sha256:{'0' * 64}"


def test_a_container_is_a_kind_of_runner() -> None:
    """Each place plans what is built there, and nothing else: another one finds other compilers."""
    rocky = replace(PLAIN, container=ROCKY)
    both = replace(rocky, targets=("x86_64_v3", "aarch64"))
    jobs = plan_jobs({"a": PLAIN, "b": rocky, "c": PLAIN, "d": both})
    assert [(job["name"], job["runner"], job["container"], job["number"], job["stacks"]) for job in jobs] == [
        ("ubuntu-24.04", "ubuntu-24.04", "", 1, "a c"),
        (f"ubuntu-24.04 in {ROCKY}", "ubuntu-24.04", ROCKY, 2, "b d"),
        (f"ubuntu-24.04-arm in {ROCKY}", "ubuntu-24.04-arm", ROCKY, 3, "d"),
    ]


def test_a_mac_has_no_containers() -> None:
    with pytest.raises(ConfigError, match="stack s is built in a container, on macos-15"):
        plan_jobs({"s": replace(PLAIN, container=ROCKY, runner="macos-15")})


def test_a_plan_takes_its_container_along() -> None:
    made = replace(plan(lock()), container=ROCKY)
    stack = made.json()
    body = {"meta": {"plan": "2.3"}, "stacks": [stack]}
    (read,) = parse_plan(body)
    assert read.container == ROCKY
    assert {job["container"] for job in read.jobs()} == {ROCKY}
    stack["container"] = "--privileged x"
    with pytest.raises(FormatError, match="no image of a container"):
        parse_plan(body)
    del stack["container"]
    assert parse_plan(body)[0].container == ""


@pytest.mark.parametrize(
    "image", ["debian:13", "ghcr.io/spack/ubuntu24.04:v1", "localhost:5000/a/b", "quay.io/almalinuxorg/9-base:9.4", ROCKY, "rockylinux"]
)
def test_images_as_docker_names_them(image: str) -> None:
    assert re.search(CONTAINER, image)


@pytest.mark.parametrize(
    "image", ["", "Debian:13", "docker://debian:13", "debian:13 --privileged", "debian:13\n", "-v", "debian@sha256:12", "a//b", "${{ x }}"]
)
def test_what_is_no_image(image: str) -> None:
    assert not re.search(CONTAINER, image)


@pytest.mark.parametrize(
    ("container", "here", "verdict", "words"),
    [
        ("debian:13", "", Verdict.WARNING, "debian:13 is a tag"),
        (ROCKY, "", Verdict.UNCHECKED, "what is built here is for this machine's own system"),
        (ROCKY, ROCKY, Verdict.OK, f"this is {ROCKY}"),
    ],
)
def test_the_doctor_tells_the_system(container: str, here: str, verdict: Verdict, words: str) -> None:
    (found,) = system_check("s", replace(PLAIN, container=container), container=here)
    assert (found.verdict, words in found.words) == (verdict, True), found
    assert list(system_check("s", PLAIN, container=here)) == []
