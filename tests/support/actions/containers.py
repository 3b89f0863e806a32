"""A job in a container: its steps' programs run in another system's files, which see the runner's folders in other places.

As the runner does it (github.com/actions/runner, ContainerOperationProvider and StepHost): contexts keep the paths of the machine, and
variables that begin with one of them get the container's. There is no engine here, so `chroot` in a mount namespace is in place of it.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.actions.values import WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as its files: `root`, of which each job has a copy. `mounts` are paths of this machine, and where they are seen in it.

    `path` is the PATH that the image has.
    """

    root: Path
    mounts: Mapping[Path, str] = field(default_factory=dict)
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Container:
    """A container that runs: what it sees where, and how a program is run in it."""

    def __init__(self, image: Image, folder: Path, seen: Mapping[Path, str]) -> None:
        self.id = folder.name
        self.path = image.path
        self._root, self._seen = folder / "root", {str(path): inside for path, inside in {**image.mounts, **seen}.items()}
        self._mounts = {**image.mounts, **seen, Path("/proc"): "/proc", Path("/dev"): "/dev"}
        # Hard links would let one job write into the files of all
        subprocess.run(["cp", "--archive", "--reflink=auto", str(image.root), str(self._root)], check=True)
        for name in ("resolv.conf", "hosts"):  # an engine brings them along
            shutil.copy(f"/etc/{name}", self._root / "etc" / name)
        for path, inside in self._mounts.items():
            if not path.exists():
                path.mkdir(parents=True)
            target = self._root / inside.removeprefix("/")
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()

    def remove(self) -> None:
        """Delete its files; what was seen in it was mounted for each program alone."""
        shutil.rmtree(self._root, ignore_errors=True)

    def inside(self, text: str) -> str:
        """A path of this machine as the container sees it, where it does; anything else as it is."""
        for path, inside in sorted(self._seen.items(), key=lambda pair: -len(pair[0])):
            if text == path or text.startswith(f"{path}/"):
                return inside + text[len(path) :]
        return text

    def outside(self, text: str) -> str:
        """A path in the container as this machine sees it."""
        for path, inside in sorted(self._seen.items(), key=lambda pair: -len(pair[1])):
            if text == inside or text.startswith(f"{inside}/"):
                return path + text[len(inside) :]
        return text

    def command(self, command: list[str], folder: Path, env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """What runs a command in the container, and the variables that it has."""
        mount, chroot, unshare = (shutil.which(name) or name for name in ("mount", "chroot", "unshare"))
        lines = [
            # `/dev` and `/proc` have mounts of their own within.
            shlex.join([mount, "--rbind", str(path), f"{self._root}{inside}"])
            for path, inside in sorted(self._mounts.items(), key=lambda pair: pair[1].count("/"))
        ]
        inner = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.inside(str(folder)), *(self.inside(part) for part in command)]
        lines.append(f"exec {shlex.join([chroot, str(self._root), *inner])}")
        return [unshare, "--mount", "--", "/bin/sh", "-e", "-c", "\n".join(lines)], {
            name: self.inside(value) for name, value in env.items()
        }


def image_of(images: Mapping[str, Image], name: str) -> Image:
    """The image of a name; raise WorkflowError where there is none, as where `docker pull` fails."""
    if name not in images:
        raise WorkflowError(f"Error response from daemon: manifest for {name} not found. Docker pull failed with exit code 1")
    return images[name]
