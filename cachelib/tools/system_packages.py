"""The machine's own package manager: says what is missing, and on a machine that is thrown away afterwards installs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cachelib.model.errors import InstallError
from cachelib.tools.process import run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manager:
    """A package manager: what installs packages, and what says of one whether it is there."""

    install: tuple[str, ...]
    ask: tuple[str, ...]
    there: str = ""
    update: tuple[str, ...] = ()


_APT = _Manager(
    install=("apt-get", "install", "--yes", "--no-install-recommends", "--"), update=("apt-get", "update", "--quiet"),
    ask=("dpkg-query", "--show", "--showformat=${Status}", "--"), there="install ok installed",
)  # fmt: skip
_RPM = ("rpm", "--query", "--quiet", "--")
_DNF = _Manager(install=("dnf", "install", "--assumeyes", "--setopt=install_weak_deps=False", "--"), ask=_RPM)
_MICRODNF = _Manager(install=("microdnf", "install", "--assumeyes", "--setopt=install_weak_deps=0", "--"), ask=_RPM)
_ZYPPER = _Manager(install=("zypper", "--non-interactive", "install", "--no-recommends", "--"), ask=_RPM)
_BREW = _Manager(install=("brew", "install", "--"), ask=("brew", "list", "--versions", "--"))
_MANAGERS = (_APT, _DNF, _MICRODNF, _ZYPPER, _BREW)


def ensure(names: Sequence[str], *, install: bool, env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """See to it that packages are there; raise InstallError naming those that are not and can't be had.

    They are installed only where `install` says that the machine is ours to change: else whoever owns it is told what to type.
    """
    manager = next((one for one in _MANAGERS if shutil.which(one.install[0], path=env.get("PATH")) is not None), None)
    if manager is None:
        say(f"WARNING: none of apt, dnf, zypper and Homebrew is here, so whether {', '.join(names)} is isn't known")
        return
    missing = [name for name in names if not _is_there(manager, name, env)]
    if not missing:
        return
    root = () if manager is _BREW or os.geteuid() == 0 else ("sudo",)
    command = [*root, *manager.install, *missing]
    if not install:
        raise InstallError(f"the stack takes {', '.join(missing)} from the system, and that is not here", hint=f"run `{' '.join(command)}`")
    say(f"installing {', '.join(missing)}")
    quiet = {**env, "DEBIAN_FRONTEND": "noninteractive", "HOMEBREW_NO_AUTO_UPDATE": "1"}
    if manager.update:
        run([*root, *manager.update], env=quiet)  # where that fails, what follows says why
    done = run(command, env=quiet)
    if done.code:
        reason = done.lines[-1] if done.lines else "it said nothing"
        raise InstallError(f"`{' '.join(command)}` failed: {reason}", hint="are the names right?")


def _is_there(manager: _Manager, name: str, env: Mapping[str, str]) -> bool:
    done = run([*manager.ask, name], env=env)
    return done.code == 0 and manager.there in done.text
