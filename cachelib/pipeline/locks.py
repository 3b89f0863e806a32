"""Concretizations: done here by Spack, or remembered from an earlier run in the registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from cachelib.model.errors import FormatError
from cachelib.model.oci import parse_json
from cachelib.model.outcome import Elsewhere, Rejected
from cachelib.model.ports import Repository
from cachelib.model.stack import Stack
from cachelib.model.text import printable
from cachelib.pipeline.concretize import given_environment
from cachelib.pipeline.developing import code_of
from cachelib.pipeline.preparing import prepare
from cachelib.pipeline.repositories import recipes_key
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building, remembering
from cachelib.steps.licensing import restricted
from cachelib.steps.targets import divide

#: Raised when the same settings would be concretized otherwise.
_VERSION = 5
_FILES = ("spack.yaml", "spack.lock")
#: The file beside them that has the hashes of what may not be given away, each with the reason.
RESTRICTED = "restricted.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concretized:
    """A stack's requests, concretized: the lock (none where Spack refused them all) and the files of its environment.

    `restricted` are the hashes of what may not be given away, with the reasons. `key` is what it is remembered by, and `news` says whether
    it isn't yet.
    """

    name: str
    stack: Stack
    lock: building.Lock | None
    rejected: tuple[Rejected, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    files: Mapping[str, bytes]
    restricted: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    news: bool = False


def concretized(ws: Workspace, repository: Repository, specs: Sequence[str], stack_name: str, spack_root: str, runner: str) -> Concretized:
    """The concretization of a stack's requests; no Spack is needed where the registry remembers it."""
    name, stack = ws.stack(stack_name)
    key = _key(ws, name, stack, specs, spack_root, runner)
    if key and (files := remembering.remembered_lock(repository, key)):
        ws.progress.say(f"the concretization of stack {name} is remembered in {repository.name}")
        return Concretized(
            name=name, stack=stack, lock=_parsed(files), files=files, restricted=_restricted(files), key=key,
            elsewhere=divide(stack.targets, tuple(specs) or stack.specs, machine=ws.machine, cpu=ws.cpu).elsewhere,
        )  # fmt: skip
    # For all targets, whatever this machine's CPU is: who builds them may have another one.
    ready = prepare(ws, specs, name, spack_root, every=True)
    files = {file: (ready.env / file).read_bytes() for file in _FILES} if ready.lock is not None else {}
    if ready.lock is not None:
        files[RESTRICTED] = json.dumps(restricted(ready.spack.describe(ready.env), stack.licenses), sort_keys=True).encode()
    # What was refused is told anew each time, so that is not remembered.
    news = bool(key and files and not ready.rejected)
    return Concretized(
        name=name, stack=stack, lock=ready.lock, rejected=ready.rejected, elsewhere=ready.elsewhere, files=files,
        restricted=_restricted(files), key=key, news=news,
    )  # fmt: skip


def _key(ws: Workspace, name: str, stack: Stack, specs: Sequence[str], spack_root: str, runner: str) -> str:
    """What a concretization hangs on, in one digest; empty where it isn't known, as on a person's own machine.

    What Spack finds on a hosted runner, compilers and externals, is told by the version of its image, and in a container by the digest of
    its own: what a tag means moves.
    """
    image = [ws.env.get(variable, "") for variable in ("ImageOS", "ImageVersion")]
    if stack.container:
        image = [ws.container if ws.container == stack.container and "@sha256:" in ws.container else ""]
    if not all(image) or spack_root or ws.env.get("SPACK_ROOT"):
        return ""
    given = given_environment(ws, stack)
    if given is not None and "include" in given:
        return ""  # what those files say is Spack's to find out
    code = [asdict(one) for one in code_of(ws, stack)]
    facts = [_VERSION, name, runner, ws.machine, image, asdict(stack), list(specs), recipes_key(ws, stack), given, code]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _restricted(files: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return {str(h): printable(str(reason)) for h, reason in json.loads(files.get(RESTRICTED, b"{}")).items()}
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise FormatError(f"a remembered concretization is malformed: {error}") from None


def _parsed(files: Mapping[str, bytes]) -> building.Lock:
    return building.parse_lock(parse_json(files.get("spack.lock", b""), "a remembered concretization"))
