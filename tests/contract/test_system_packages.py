"""Packages of the system: asked for with the real dpkg, installed by a stand-in of apt-get that writes down what it was told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cachelib.model.errors import ConfigError, InstallError
from cachelib.tools.config_file import read_settings
from cachelib.tools.system_packages import ensure
from tests.conftest import need

PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A PATH whose apt-get and sudo are ours, before those of the machine."""
    need("dpkg-query")
    for name, text in (
        ("apt-get", f'echo "$@" >> {tmp_path}/told\ncase "$*" in *no-such*) echo "E: Unable to locate package"; exit 100;; esac'),
        ("sudo", '"$@"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_what_is_there_is_left_alone(env: dict[str, str], tmp_path: Path) -> None:
    ensure(["dpkg", "base-files"], install=True, env=env, say=pytest.fail)
    assert not (tmp_path / "told").exists()


def test_what_is_missing_is_installed_where_the_machine_is_ours(env: dict[str, str], tmp_path: Path) -> None:
    said: list[str] = []
    ensure(["dpkg", "gcc-of-tomorrow"], install=True, env=env, say=said.append)
    assert said == ["installing gcc-of-tomorrow"]
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["update --quiet", "install --yes --no-install-recommends -- gcc-of-tomorrow"]


def test_elsewhere_its_owner_is_told_what_to_type(env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="takes gcc-of-tomorrow from the system") as caught:
        ensure(["dpkg", "gcc-of-tomorrow"], install=False, env=env, say=pytest.fail)
    assert "apt-get install --yes --no-install-recommends -- gcc-of-tomorrow`" in caught.value.hint
    assert not (tmp_path / "told").exists()


def test_a_name_that_there_is_not_is_an_error_in_the_managers_words(env: dict[str, str]) -> None:
    with pytest.raises(InstallError, match=r"no-such-package.*failed: E: Unable to locate package"):
        ensure(["no-such-package"], install=True, env=env, say=lambda _: None)


def test_without_a_manager_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    ensure(["gcc-14"], install=True, env={"PATH": str(tmp_path)}, say=said.append)
    assert said == ["WARNING: none of apt, dnf, zypper and Homebrew is here, so whether gcc-14 is isn't known"]


@pytest.mark.parametrize("name", ["--reinstall", "gcc 14", "a;b", "$(id)", ""])
def test_what_is_no_name_of_a_package_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cache.yaml"
    text = f"stacks:\n  s: {{spack: {PIN}, packages: {PIN}, specs: [zlib], system_packages: [%s]}}\n"
    path.write_text(text % "g++-14")
    assert read_settings(path).stacks["s"].system_packages == ("g++-14",)
    path.write_text(text % f"'{name}'")
    with pytest.raises(ConfigError, match="system_packages"):
        read_settings(path)
