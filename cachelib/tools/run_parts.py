"""Parts as artifacts of a GitHub run: fetched when they are there, handed on by the workflow's upload step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from cachelib.tools.github_run import GitHubRun, Job
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.parts import MOST_BYTES, MOST_FILES, PartFolder
from cachelib.tools.unzip import unpack

#: A part is compressed already: an archive that unpacks to more than this many times its size is a bomb.
_GROWTH, _ALWAYS = 20, 64 * 1024 * 1024
#: Seconds: from one look for parts to the next, from one look at the jobs to the next, and until a queued job is given up.
INTERVAL, LOOK, QUEUED = 10.0, 90.0, 1200.0


class RunParts:
    """The parts of a run: those that are in the folder, and those that other jobs handed on, which are fetched into it.

    With `listed`, what the run has by now is asked for once: nobody adds to it any more.
    """

    def __init__(
        self,
        folder: PartFolder,
        run: GitHubRun,
        *,
        listed: bool = False,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._run, self._interval, self._clock = folder, run, interval, clock
        self._listed = {artifact.name: artifact for artifact in sorted(run.artifacts(), key=lambda found: found.id)} if listed else None
        self._jobs: tuple[Job, ...] = ()
        self._looked = -math.inf
        self._since: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._outdated: dict[str, int] = {}

    def find(self, name: str) -> DiskMirror | None:
        """The part of a name, or nothing as long as it isn't there; raise FormatError where it holds what no mirror holds."""
        found = self._folder.find(name)
        if found is not None:
            return found
        artifact = self._run.artifact(name) if self._listed is None else self._listed.get(name)
        if artifact is None or artifact.id == self._outdated.get(name):
            return None
        self._seen[name] = artifact.id
        with self._folder.scratch() as place:
            archive = place / f"{name}.zip"
            self._run.download(artifact, archive)
            with self._folder.write(name) as part:
                unpack(archive, part.root, files=MOST_FILES, size=min(MOST_BYTES, _GROWTH * archive.stat().st_size + _ALWAYS))
        return self._folder.find(name)

    def lost(self, name: str, job: str, /) -> str:
        """Why a part that isn't there will never come: the job that was to make it has ended; nothing as long as it may come.

        A job that is still queued while this one waits for it may be queued because of this one: after some time its parts count as
        lost, so that this job ends and a runner is free.
        """
        waited = self._clock() - self._since.setdefault(name, self._clock())
        found = self._job(job)
        if found is None:
            return ""
        if found.status == "completed":
            self._outdated.pop(name, None)  # what it handed on before is all that there will be
            # It may have handed the part on just before it ended.
            return "" if self._run.artifact(name) else f"the job that was to build it has ended ({found.conclusion}): {found.name}"
        if found.status != "in_progress" and waited >= QUEUED:
            return f"the job that is to build it still waits for a runner: {found.name}"
        return ""

    def outdated(self, name: str, job: str, /) -> bool:
        """Whether the job that handed a part on is at it again: what it made before is then forgotten, and asked for anew."""
        found = self._job(job)
        if found is None or found.status == "completed":
            return False
        self._folder.forget(name)
        # Not fetched again and again: only what is handed on from now on is looked at.
        if name in self._seen:
            self._outdated[name] = self._seen[name]
        return True

    def _job(self, name: str) -> Job | None:
        # The list of jobs changes with each step of each of them, so it costs a request of the hour's each time.
        if self._clock() - self._looked >= LOOK:
            self._jobs, self._looked = self._run.jobs(), self._clock()
        # Where another workflow calls ours, the name of its job stands before that of ours.
        return next((one for one in self._jobs if one.name == name or one.name.endswith(f" / {name}")), None)

    def done(self, name: str, /) -> None:
        """Nobody asks for a part again: the disk of a runner is needed for the next one."""
        self._folder.forget(name)

    @property
    def interval(self) -> float:
        """Seconds from one look for a part to the next: longer where little of the hour's requests is left to all workers."""
        return self._run.interval(self._interval)

    def write(self, name: str) -> AbstractContextManager[DiskMirror]:
        """A new part, in the folder; the workflow's next step uploads it."""
        return self._folder.write(name)
