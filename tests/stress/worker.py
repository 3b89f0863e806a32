"""A process of a crowd: pushes a mirror, or indexes until told to stop. python -m tests.stress.worker push MIRROR URL"""

from __future__ import annotations

import sys
from pathlib import Path

from cachelib.model.oci import LayoutLocation, parse_location
from cachelib.model.outcome import NotPushed
from cachelib.model.ports import Repository
from cachelib.steps import indexing
from cachelib.steps.pushing import plan_push, push
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from tests.support.quiet import QuietProgress


def open_repository(url: str) -> Repository:
    """The repository at an address, as a task opens it."""
    location = parse_location(url, folder=Path("/"))
    return LayoutRepository(location) if isinstance(location, LayoutLocation) else RegistryRepository(location, None)


def push_mirror(mirror: Path, url: str, jobs: int = 4) -> list[str]:
    """Push a mirror; return why some entries were not pushed."""
    repository = open_repository(url)
    plan = plan_push(DiskMirror(mirror), repository.tags())
    outcomes = push(plan, DiskMirror(mirror), repository, bases={}, labels={}, jobs=jobs, progress=QuietProgress())
    return [outcome.reason for outcome in outcomes.values() if isinstance(outcome, NotPushed)]


def main() -> None:
    """Do as the command line says; the reason of a failure is the last thing it says."""
    match sys.argv[1:]:
        case ["push", mirror, url]:
            if failed := push_mirror(Path(mirror), url):
                sys.exit("\n".join(failed))
        case ["index", stop, url]:
            while not Path(stop).exists():
                indexing.index(open_repository(url), labels={}, jobs=4, progress=QuietProgress())
            indexing.index(open_repository(url), labels={}, jobs=4, progress=QuietProgress())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
