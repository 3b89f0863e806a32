"""What stands in for the actions of others: they do what those are documented to do, in this machine's folders."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.actions.artifacts import download_artifact, upload_artifact
from tests.support.actions.pages import attest, deploy_pages, upload_pages_artifact
from tests.support.actions.permissions import RANKS, Permissions
from tests.support.actions.settings import Action, Shared, StandIn, copy_repository
from tests.support.actions.state import ActionError
from tests.support.actions.steps import StepRunner


class Call:
    """One use of an action by a step; see settings.Action."""

    def __init__(self, step: StepRunner) -> None:
        self._step, self._job = step, step.job
        self.inputs, self.outputs = {name.lower(): self._outside(value) for name, value in step.inputs.items()}, step.outputs

    def _outside(self, value: str) -> str:
        """What is written as the container sees it; stand-ins run beside it, and not in it."""
        container = self._job.container
        return "\n".join(map(container.outside, value.split("\n"))) if container else value

    def inside(self, path: Path) -> str:
        """A path as the steps of the job see it."""
        return self._job.container.inside(str(path)) if self._job.container else str(path)

    @property
    def shared(self) -> Shared:
        """The run."""
        return self._job.shared

    @property
    def workspace(self) -> Path:
        """Where paths begin."""
        return self._job.workspace

    @property
    def temp(self) -> Path:
        """RUNNER_TEMP."""
        return self._job.temp

    @property
    def job(self) -> str:
        """The name of the job."""
        return self._job.name

    @property
    def permissions(self) -> Permissions:
        """What the token of the job may."""
        return self._job.place.permissions

    @property
    def environment(self) -> str:
        """The environment of the job."""
        return self._job.environment

    @property
    def token(self) -> str:
        """The token of the job."""
        return self._job.token

    def say(self, text: str) -> None:
        """A line of the log."""
        self._step.log.append(self._step.reader.mask(f"{text}\n"))

    def warn(self, text: str) -> None:
        """What the action warns of; it is no failure."""
        self._step.complain(text)

    def add_path(self, folder: Path) -> None:
        """Put a folder before all others on PATH."""
        self._job.path.insert(0, self.inside(folder))

    def set_env(self, name: str, value: str) -> None:
        """Set a variable for all later steps."""
        self._job.env[name] = value

    def need(self, permission: str, level: str) -> None:
        """Fail where the token may not."""
        self._job.grant.used.add(f"{permission}: {level}")
        if RANKS.index(self.permissions.get(permission, "none")) < RANKS.index(level):
            raise ActionError(f"Resource not accessible by integration: this needs the permission {permission}: {level}")

    def accept(self, *names: str, **defaults: str) -> None:
        """Take these inputs, with defaults (`_` for `-`), and no others: what isn't done here must not pass as done."""
        values = {name.replace("_", "-"): value for name, value in defaults.items()}
        if unknown := self.inputs.keys() - set(names) - values.keys():
            raise ActionError(f"the stand-in knows no input {min(unknown)!r}")
        self.inputs = {**dict.fromkeys(names, ""), **values, **{name: value for name, value in self.inputs.items() if value != ""}}


def checkout(action: Action) -> None:
    """The tracked files of the repository under test, or of one that the test gave, as one commit."""
    action.accept(
        "repository", "ref", "path", "token", persist_credentials="true", clean="true", fetch_depth="1", fetch_tags="false", lfs="false",
        submodules="false", show_progress="true", set_safe_directory="true",
    )  # fmt: skip
    inputs, settings = action.inputs, action.shared.settings
    origin = settings.origin(inputs["repository"] or settings.repo.name, inputs["ref"] or settings.ref)
    if origin is None:
        raise ActionError(f"Not Found: {inputs['repository']}")
    target = Path(os.path.normpath(action.workspace / inputs["path"]))
    if not target.is_relative_to(action.workspace):
        raise ActionError(f"Repository path '{target}' is not under '{action.workspace}'")
    if target.exists() and inputs["clean"] == "true":
        for path in target.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    copy_repository(origin.folder, target)
    _git(target, "init", "--quiet", "--initial-branch=main")
    _git(target, "add", "--all", "--force")
    _git(target, "commit", "--quiet", "--allow-empty", "--message", "checked out")
    _git(target, "checkout", "--quiet", "--detach")
    _git(target, "remote", "add", "origin", f"{settings.state.server_url}/{origin.name}")
    if inputs["persist-credentials"] == "true":
        # As since v6: not in the repository itself, but where any later step can read it.
        secret = base64.b64encode(f"x-access-token:{inputs['token'] or action.token}".encode()).decode()
        file = action.temp / f"git-credentials-{origin.name.replace('/', '-')}.config"
        file.write_text(f'[http "{settings.state.server_url}/"]\n\textraheader = AUTHORIZATION: basic {secret}\n', encoding="utf-8")
        _git(target, "config", "include.path", str(file))
    action.outputs |= {"ref": inputs["ref"] or settings.ref, "commit": settings.sha}
    action.say(f"Checked out {origin.name} to {target}")


def _git(folder: Path, *arguments: str) -> None:
    names: Mapping[str, str] = {f"GIT_{who}_{what}": "nobody@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    env = {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **names, **dates}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ActionError(f"git {arguments[0]}: {done.stderr}")


def setup_python(action: Action) -> None:
    """The python that the tests run with, under all names that it has."""
    action.accept(
        "python-version", "python-version-file", "cache", "cache-dependency-path", "architecture", "check-latest", "token",
        update_environment="true",
    )  # fmt: skip
    wanted, python = action.inputs["python-version"], action.shared.settings.python
    done = subprocess.run([python, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True)
    version = done.stdout.strip()
    if wanted and not f"{version}.".startswith(f"{wanted}."):
        raise ActionError(f"The version '{wanted}' was not found: the stand-in has {version}")
    folder = action.temp.parent.parent / "tools" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    minor = ".".join(version.split(".")[:2])
    for name, command in ((name, f'"{python}"') for name in ("python", "python3", f"python{minor}")):
        _script(folder / name, command)
    for name in ("pip", "pip3"):
        _script(folder / name, f'"{python}" -m pip')
    if action.inputs["update-environment"] == "true":
        action.add_path(folder)
        action.set_env("pythonLocation", str(folder))
    action.outputs |= {"python-version": version, "python-path": str(folder / "python"), "cache-hit": "false"}
    action.say(f"Successfully set up CPython ({version}), that of {sys.prefix}")


def _script(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


STANDINS: dict[str, StandIn] = {
    "actions/checkout": checkout,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload_artifact,
    "actions/download-artifact": download_artifact,
    "actions/upload-pages-artifact": upload_pages_artifact,
    "actions/deploy-pages": deploy_pages,
    "actions/attest": attest,
}
