"""How to do a build again on one's own machine: which one is meant, and what to type. All of it is told, nothing is run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.failure import Failure
from cachelib.model.oci import parse_json
from cachelib.model.spec import ConcreteSpec, parse_spec
from cachelib.model.text import printable
from cachelib.steps.image import spec_dict
from cachelib.steps.reading import CONFIG_LIMIT
from cachelib.steps.reports import Report
from cachelib.steps.verifying import hash_fits

#: So many characters of a DAG hash are enough to ask by.
SHORTEST = 7
# Builds that are listed, and characters of what came from outside.
_LISTED, _LABEL = 20, 200
_HASH = re.compile(r"[a-z2-7]{1,32}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What git fetches from; its other transports (`ext::`) run commands.
_URL = re.compile(r"https?://[^\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The build that is meant: in which image, and either how it failed or under which tag it is published."""

    image: str
    hash: str
    label: str
    failure: Failure | None = None
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A commit of a git repository."""

    url: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a build takes beside its concrete spec.

    `recipes` are checkouts of the stack's own package repositories, by the folder that each goes into; `repos` are the folders to read, in
    those, or on this machine where it isn't known which commit was built.
    `padding` is the length of the install path, `mirror` the cache as Spack names it (empty where Spack can't read it), `notes` what
    the person should know of all that.
    """

    spack: Checkout
    packages: Checkout
    recipes: Mapping[str, Checkout] = field(default_factory=dict)
    repos: tuple[str, ...] = ()
    padding: int = 0
    mirror: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)


def choose(wanted: str, failing: Mapping[str, Mapping[str, Failure]], tags: Mapping[str, Iterable[str]]) -> Chosen:
    """The build that a person means by the beginning of a DAG hash, or by the name of a package that fails.

    `failing` are the failures and `tags` the tags of specs, by image. Raises UsageError where none is meant, or several.
    """
    return only(wanted, candidates(wanted, failing, tags), failing)


def candidates(wanted: str, failing: Mapping[str, Mapping[str, Failure]], tags: Mapping[str, Iterable[str]]) -> list[Chosen]:
    """Every build that may be meant: failures come before what is published under the same hash."""
    text, failed = _asked(wanted), _failed(failing)
    found: list[Chosen] = []
    if is_beginning(text):
        published = [
            Chosen(image=image, hash=h, label=f"{tag[: -len(h) - len('.spack') - 1]}/{h[:7]}", tag=tag)
            for image, held in tags.items()
            for tag in sorted(held)
            if _HASH.fullmatch(h := tag.removesuffix(".spack")[-32:]) and len(h) == 32
        ]
        found = [one for one in failed if one.hash.startswith(text)] or [one for one in published if one.hash.startswith(text)]
    return found or [one for one in failed if one.label.partition("@")[0] == text]


def only(wanted: str, found: list[Chosen], failing: Mapping[str, Mapping[str, Failure]]) -> Chosen:
    """The one that was found; raise UsageError, listing what there is, where it is none or several."""
    if len(found) == 1:
        return found[0]
    if found:
        names = "\n".join(_listed(found))
        raise UsageError(f"{wanted[:_LABEL]!r} names {len(found)} builds:\n{names}", hint="write more of the hash, or name the --image")
    text, failed = _asked(wanted), _failed(failing)
    if _HASH.fullmatch(text) and not is_beginning(text) and any(one.hash.startswith(text) for one in failed):
        raise UsageError(f"{wanted!r} is too little of a DAG hash", hint=f"it takes {SHORTEST}, or the name of a package")
    names = "\n".join(["failing now:", *_listed(failed)]) if failed else "nothing is failing"
    hint = "a failure that is over is forgotten; --hash takes what is listed"
    raise UsageError(f"there is no build {wanted[:_LABEL]!r}; {names}", hint=hint)


def is_beginning(text: str) -> bool:
    """Whether a text is enough of a DAG hash to ask by."""
    return _HASH.fullmatch(text) is not None and len(text) >= SHORTEST


def _asked(wanted: str) -> str:
    return wanted.strip().removeprefix("/")


def _failed(failing: Mapping[str, Mapping[str, Failure]]) -> list[Chosen]:
    return [
        Chosen(image=image, hash=h, label=printable(failure.label)[:_LABEL], failure=failure)
        for image, known in failing.items()
        for h, failure in known.items()
    ]


def _listed(found: list[Chosen]) -> Iterator[str]:
    """Builds, one a line, of which everything can be written back as --hash; hashes are checked, labels may say anything."""
    for one in sorted(found, key=lambda one: (one.label, one.hash, one.image))[:_LISTED]:
        yield f"  /{one.hash}  {one.label.partition('/')[0]}  in {one.image}"
    if len(found) > _LISTED:
        yield f"  ... and {len(found) - _LISTED} more"


def failed_spec(data: bytes, chosen: Chosen) -> ConcreteSpec:
    """The concrete spec that was kept of a failure; raise FormatError where it isn't that of the failure."""
    if len(data) > CONFIG_LIMIT:
        raise FormatError(f"the spec that was kept of {chosen.label} has {len(data)} bytes: no spec has so many")
    spec = parse_spec(parse_json(data, f"the spec that was kept of {chosen.label}"))
    if spec.root.hash != chosen.hash:
        raise FormatError(f"what was kept of {chosen.label} is the spec of {spec.label}")
    if wrong := next((node for node in spec.nodes.values() if not hash_fits(node, spec.format)), None):
        raise FormatError(f"what was kept of {chosen.label} was changed: the DAG hash of {wrong.label} is not that of its contents")
    return spec


def pinned(what: str, told: str, url: str, pin: str) -> tuple[Checkout, str]:
    """A checkout of the commit that a build tells of, and nothing to note; or of the pin, and a note that says so."""
    if _COMMIT.fullmatch(told):
        return Checkout(url=url, commit=told), ""
    return Checkout(url=url, commit=pin), f"which {what} was used isn't told: this is the one that cache.yaml pins now"


def is_commit(text: str) -> bool:
    """Whether a text is a whole commit."""
    return _COMMIT.fullmatch(text) is not None


def is_fetchable(url: str) -> bool:
    """Whether git may be sent to an address that came from outside."""
    return _URL.fullmatch(url) is not None


def files(spec: ConcreteSpec, setup: Setup) -> Iterator[tuple[str, bytes]]:
    """What the commands read: the concrete spec, and a configuration of Spack. JSON is YAML too."""
    yield "spec.json", _json(spec_dict(spec))
    repos = {f"recipes{at}": path if Path(path).is_absolute() else f"../{path}" for at, path in enumerate(setup.repos, 1)}
    # Spack itself would fetch a repository pinned by commit with all of its history (util/git.py, pull_checkout_commit).
    yield "config/repos.yaml", _json({"repos": {**repos, "builtin": "../packages/repos/spack_repo/builtin"}})
    tree = {"padded_length": setup.padding} if setup.padding else {}
    yield "config/config.yaml", _json({"config": {"install_tree": tree, "build_stage": ["$user_cache_path/stage"]}})
    mirror = {"cache": {"url": setup.mirror, "binary": True, "source": False, "signed": False}} if setup.mirror else {}
    yield "config/mirrors.yaml", _json({"mirrors": mirror})


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def commands(folder: Path, setup: Setup) -> tuple[str, ...]:
    """What to type: fetch what was built from, and have Spack build exactly that spec."""
    checkouts = {"spack": setup.spack, "packages": setup.packages} | dict(setup.recipes)
    return (
        f"cd {shlex.quote(str(folder))}",
        *(line for name, one in checkouts.items() for line in _checked_out(name, one)),
        # Nothing of the person's own Spack: settings, stages and caches are those of this folder.
        'export SPACK_DISABLE_LOCAL_CONFIG=1 SPACK_USER_CACHE_PATH="$PWD/cache"',
        # What ends in .json is read as a concrete spec (spack, spec_parser.py). What it needs may come from the cache, it itself may not.
        "spack/bin/spack -C config install --use-buildcache package:never,dependencies:auto ./spec.json",
    )


def _checked_out(name: str, one: Checkout) -> Iterator[str]:
    yield f"git init -q {name}"
    yield f"git -C {name} fetch -q --depth 1 {shlex.quote(one.url)} {one.commit} && git -C {name} checkout -q FETCH_HEAD"


def reproduce_report(chosen: Chosen, spec: ConcreteSpec, setup: Setup, folder: Path, log: int | None, typed: tuple[str, ...]) -> Report:
    """What was written and what to type; `log` is the number of bytes of the log."""
    root = spec.root
    told = chosen.failure.told() if chosen.failure else f"published in {chosen.image}"
    machine = f"{root.platform}-{root.os}-{root.target}"
    given = [f"{node.name}@{node.version} in {_prefix(node.raw)}" for node in spec.nodes.values() if node.external]
    lines = [
        f"reproduce: {root.label} {told}",
        f"  wrote    {folder / 'spec.json'}, and a configuration of Spack beside it",
        *([f"  wrote    {folder / 'log.txt'} ({log} bytes)"] if log is not None else []),
        *([f"  log      `inv log /{root.hash[:7]}` prints what it said then"] if chosen.failure is None else []),
        f"  machine  {machine}" + (f"; the spec takes from it {', '.join(given)}" if given else ""),
        *(f"  NOTE     {note}" for note in setup.notes),
        "the same build on this machine:",
        *(f"  {line}" for line in typed),
    ]
    data = {
        "step": "reproduce", "label": root.label, "hash": root.hash, "image": chosen.image, "failed": chosen.failure is not None,
        "folder": str(folder), "log": log is not None, "notes": list(setup.notes), "commands": list(typed),
    }  # fmt: skip
    return Report(lines=tuple(lines), data=(data,))


def log_report(log: bytes, note: str = "") -> Report:
    """The whole log, line by line; what a build printed is text here, whatever it would have a terminal do. The note comes last."""
    lines = log.decode(errors="replace").split("\n")
    told = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    return Report(lines=(*told, *([note] if note else [])))


def _prefix(raw: Mapping[str, Any]) -> str:
    external = raw.get("external")
    return str(external.get("path", "?"))[:200] if isinstance(external, dict) else "?"
