"""Why Spack would not take a spec, a lock file's or an environment's from the cache."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachelib.model.errors import CacheError, CatalogError, FormatError, UsageError
from cachelib.model.oci import parse_json
from cachelib.model.spec import ConcreteSpec, parse_node, parse_spec
from cachelib.model.upstream import holders
from cachelib.pipeline.layers import upstreams_of
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, building, reports
from cachelib.steps.reports import Report
from cachelib.steps.why import answer
from cachelib.steps.why_reports import summary, why_report
from cachelib.tools.files import read_limited
from cachelib.tools.process import run

#: Bytes of a file that is asked about at most; specs of a lock file that are told of, each with its differences.
_LIMIT, MOST = 256 * 1024 * 1024, 40
#: What may be the name of a package, with its version and its variants.
_NAMED = re.compile(r"[A-Za-z0-9_][\w-]*([@%+~ ].*)?", re.S)
_HOW = "a spec (`hdf5+mpi`), a file of `spack spec --json`, a spack.lock, or the folder of an environment"


def why(ws: Workspace, what: str, to: str = "", image: str = "", spack_root: str = "") -> Report:
    """Hold specs against the catalogs, and tell of each that isn't there which build is nearest, what differs, and what to do."""
    if image and image not in ws.images():
        raise UsageError(f"there is no image {image!r}", hint=f"cache.yaml has: {', '.join(ws.images())}")
    specs = list(_specs(ws, what, spack_root))
    if not specs:
        raise UsageError(f"{what} asks for nothing", hint=f"name {_HOW}")
    found: list[Report] = []
    empty: list[str] = []
    for name in [image] if image else ws.images():
        repository = ws.repository(ws.location(to).child(name))
        catalog = artifacts.load_catalog(repository)
        if not catalog.entries:
            empty.append(repository.name)
            continue
        where = holders(upstreams_of(ws, name))
        above = [spec for spec in specs if spec.root.hash in where and spec.root.hash not in catalog.entries]
        found += [
            Report(lines=(f"why: {spec.label} is in upstream {where[spec.root.hash]}: Spack needs that as a mirror too",)) for spec in above
        ]
        answers = [answer(spec, catalog) for spec in specs if spec not in above]
        answers = [replace(one, lacks=tuple(node for node in one.lacks if node.hash not in where)) for one in answers]
        missing = [one for one in answers if not one.present or one.lacks]
        told = [why_report(one, repository.name) for one in (answers if len(answers) == 1 else missing)]
        found += reports.first(told, MOST)
        if len(answers) > 1 or (above and answers):
            found.append(summary(answers, repository.name))
    if not found:
        raise CatalogError(f"nothing is indexed in {', '.join(empty)}", hint="is it the right place?")
    # Of several images one may not be filled yet: that is no reason to fail.
    return reports.join([*found, *(Report(lines=(f"why: nothing is indexed in {name}",)) for name in empty)])


def _specs(ws: Workspace, what: str, spack_root: str) -> Iterator[ConcreteSpec]:
    path = named_path(what)
    if path is not None and path.is_dir():
        path = path / "spack.lock"
    if path is not None:
        yield from read_specs(path)
        return
    for data in _concretized(ws, what, spack_root):
        yield from _read(data)


def named_path(what: str) -> Path | None:
    """The file or the folder that a text names; nothing where it is a spec, of which there are longer ones than any name of a file.

    A folder that is called as a package is taken for the package, unless it is an environment.
    """
    try:
        path = Path(what).expanduser()
        if path.is_dir():
            environment = any((path / name).exists() for name in ("spack.lock", "spack.yaml"))
            return path if environment or not _NAMED.fullmatch(what) else None
        return path if path.is_file() or path.suffix in (".json", ".lock") else None
    except (OSError, RuntimeError, ValueError):  # too long; the home of `~mpi`; a zero byte
        return None


def read_specs(path: Path) -> Iterator[ConcreteSpec]:
    """The specs in a file: one of Spack's spec files, or the roots of a lock file. Raises UsageError naming the file."""
    try:
        yield from _read(parse_json(read_limited(path, _LIMIT, "a file of specs"), str(path)))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint=f"name {_HOW}") from None
    except UsageError:
        raise
    except CacheError as error:
        raise UsageError(f"{path} holds no concrete spec: {error.message}", hint="`spack spec --json SPEC > FILE` writes one") from None


def _read(data: Any) -> Iterator[ConcreteSpec]:
    if isinstance(data, dict) and "concrete_specs" in data:
        lock = building.parse_lock(data)
        for h in sorted(lock.roots, key=lambda h: (lock.roots[h], h)):
            if not lock.nodes[h].external:
                yield ConcreteSpec(root=lock.nodes[h], nodes=_below(lock, h), format=5)
        return
    if external := _external(data):
        raise UsageError(f"{external} is an external of your machine", hint="Spack takes it from there: there is nothing to fetch")
    yield parse_spec(data)


def _external(data: Any) -> str:
    """The label of the root of a spec file, where that is an external."""
    try:
        root = parse_node(data["spec"]["nodes"][0])
    except (KeyError, IndexError, TypeError, FormatError):
        return ""  # `parse_spec` says what is wrong with it
    return root.label if root.external else ""


def _below(lock: building.Lock, root: str) -> dict[str, Any]:
    found, waiting = {root: lock.nodes[root]}, [root]
    while waiting:
        for edge in lock.nodes[waiting.pop()].dependencies:
            if edge.hash not in found:
                found[edge.hash] = lock.nodes[edge.hash]
                waiting.append(edge.hash)
    return found


def _concretized(ws: Workspace, text: str, spack_root: str) -> list[Any]:
    """The spec as the person's own Spack, with all its settings, makes it concrete: that is what it would install."""
    if text.startswith("-"):
        raise UsageError(f"{text!r} is no spec", hint=f"name {_HOW}; `inv --help why` tells more")
    root = spack_root or ws.env.get("SPACK_ROOT", "")
    program = str(Path(root, "bin", "spack")) if root else shutil.which("spack", path=ws.env.get("PATH")) or ""
    if not program or not Path(program).is_file():
        raise UsageError(
            "no Spack is here that could make it concrete" if not root else f"{root} holds no Spack (bin/spack)",
            hint=f"run `spack spec --json '{text}' > spec.json` where you install, then `inv why spec.json`",
        )
    ws.progress.say(f"concretizing {text} with {program}")
    done = run([program, "spec", "--json", text], env=ws.env)
    if done.code:
        reason = next((line for line in done.lines if line.startswith("==> Error")), done.lines[-1] if done.lines else "it said nothing")
        raise UsageError(f"Spack can't make {text!r} concrete: {reason}", hint="`spack spec` tells more")
    return _printed(done.lines)


def _printed(lines: Sequence[str]) -> list[Any]:
    """The JSON among what Spack printed, of one spec or of several. Its lines are very long, so that they come in pieces."""
    start = next((at for at, line in enumerate(lines) if line.startswith("{")), 0)
    text, found = "".join(lines[start:]), list[Any]()
    while not found or text.startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            end = len(text)
        found.append(parse_json(text[:end].encode(errors="replace"), "what `spack spec --json` printed"))
        text = text[end:].lstrip()
    return found
