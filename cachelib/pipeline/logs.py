"""The log of a build: what was kept of a failure, or what lies in the tarball of a build that went well."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing

from cachelib.model.entry import EntryName
from cachelib.model.errors import CacheError, FormatError, UsageError
from cachelib.model.failure import Failure, merge_failures
from cachelib.model.ports import Repository
from cachelib.model.quantity import human_bytes
from cachelib.model.spec import Node, parse_node
from cachelib.model.text import printable
from cachelib.pipeline.reproducing import known_builds, repositories_of
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, reading, remembering, reproducing
from cachelib.steps.gathering import LOG_LIMIT
from cachelib.steps.reports import Report
from cachelib.steps.reproducing import Chosen
from cachelib.tools.build_log import find_log
from cachelib.tools.mirror import DiskMirror

#: A tarball of no more bytes is read on to its end behind the log, so that its digest is known to be right.
WHOLE = 32 * 1024 * 1024
_AGAIN = "run it again: `inv reproduce` tells how"


def log(ws: Workspace, wanted: str, to: str = "", image: str = "") -> Report:
    """The log of a build of the registry, or of one in the local mirror that is not pushed yet."""
    repositories = repositories_of(ws, to, image)
    failing, tags = known_builds(repositories)
    found = reproducing.candidates(wanted, failing, tags)
    if not found:
        here = {name: ws.mirror(name) for name in repositories}
        names = {name: {one.tag: one for one in mirror.names(lambda _: None)} for name, mirror in here.items()}
        local = {name: _failing(mirror) for name, mirror in here.items()}
        if found := reproducing.candidates(wanted, local, names):
            chosen = reproducing.only(wanted, found, local)
            return _local(here[chosen.image], chosen, names[chosen.image])
        _explain(repositories.values(), wanted)
    chosen = reproducing.only(wanted, found, failing)
    repository = repositories[chosen.image]
    if chosen.failure is None:
        held = reading.open_image(repository, chosen.tag)
        return _built(held.spec.label, repository.stream_blob(held.tarball), held.tarball.size, repository.name)
    if not chosen.failure.log:
        raise UsageError(f"no log was kept of {chosen.label}", hint="it failed before it had one: `inv reproduce` tells how to try again")
    return reproducing.log_report(remembering.failure_blob(repository, chosen.failure.log))


def _local(mirror: DiskMirror, chosen: Chosen, names: Mapping[str, EntryName]) -> Report:
    """The log of a build in a mirror on this machine."""
    if chosen.failure is not None:
        text = mirror.read_log(chosen.hash, LOG_LIMIT)
        if text is None:
            raise UsageError(f"the log of {chosen.label} in {mirror.root} can't be read", hint=_AGAIN)
        return reproducing.log_report(text)
    entry = mirror.entry(names[chosen.tag])
    return _built(entry.label, mirror.stream_blob(entry.tarball), entry.tarball.size, str(mirror.root))


def _failing(mirror: DiskMirror) -> dict[str, Failure]:
    records = filter(None, map(mirror.record, mirror.failed()))
    return merge_failures({}, records, frozenset())


def _built(label: str, pieces: Iterator[bytes], size: int, where: str) -> Report:
    """The log in a tarball. One that is large is read no further than the log goes."""
    read = _Counted(pieces)
    with closing(read.pieces()) as counted:
        try:
            found = find_log(counted, size, LOG_LIMIT)
        except FormatError as error:
            raise FormatError(f"the tarball of {label} in {where} {error.message}", hint="`inv verify` tells what else is wrong") from None
        whole = found is None or size <= WHOLE
        if whole:
            for _ in counted:
                pass
    if found is None:
        raise UsageError(
            f"{label} has no log: its tarball in {where} holds no .spack/spack-build-out.txt.gz",
            hint="Spack leaves one in what it builds itself, and not in what was made or installed in another way",
        )
    part = f"the last {human_bytes(len(found.text))} of {human_bytes(found.size)}; " if len(found.text) < found.size else ""
    proof = "whose digest is right" if whole else f"of which only the first {human_bytes(read.count)} were read: its digest was not checked"
    return reproducing.log_report(found.text, f"log: {label} in {where}; {part}from its tarball of {human_bytes(size)}, {proof}")


class _Counted:
    """Counts the bytes that pass."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self.count = pieces, 0

    def pieces(self) -> Generator[bytes, None, None]:
        try:
            for piece in self._pieces:
                self.count += len(piece)
                yield piece
        finally:
            if isinstance(self._pieces, Generator):
                self._pieces.close()  # what is not read to its end holds a connection


def _explain(repositories: Iterable[Repository], wanted: str) -> None:
    """Raise UsageError where a hash is that of something which the cache knows, but holds no build of."""
    text = wanted.strip().removeprefix("/")
    if not reproducing.is_beginning(text):
        return
    for repository in repositories:
        try:
            catalog = artifacts.load_catalog(repository)
            known = [(base, h) for base in (catalog.database, catalog.older) for h in base.lines if h.startswith(text)]
            nodes = [parse_node(base.node(h)) for base, h in sorted(known, key=lambda one: one[1]) if h not in catalog.entries]
        except CacheError:
            continue  # the catalog can't be read: then this isn't known, either
        if nodes:
            _tell(nodes[0])


def _tell(node: Node) -> None:
    label = printable(node.label)
    if node.external:
        raise UsageError(f"{label} has no log: it is an external, taken from the machine that built with it", hint="nobody built it here")
    raise UsageError(f"{label} is not in the cache, though something there was built with it", hint="what was never pushed leaves no log")
