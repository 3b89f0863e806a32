"""What one run remembers for the next, beside the catalog: concretizations, failures with their logs, and what stacks want."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Container, Iterable, Mapping, Set
from dataclasses import replace
from typing import IO

from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, CatalogError, FormatError
from cachelib.model.failure import Failure, merge_failures, parse_failures
from cachelib.model.oci import EMPTY, MANIFEST, Descriptor, ImageManifest, RawManifest, compact_json, parse_json
from cachelib.model.ports import Repository
from cachelib.model.record import Record
from cachelib.model.signing import KEY_LIMIT, KEY_TYPE, Key, PublicKey
from cachelib.model.wanted import Wanted, parse_wanted
from cachelib.steps.artifacts import described, find_manifest, write_manifest
from cachelib.steps.inflating import inflated

#: Tags of these artifacts. Not `*.spack`: Spack's update-index would take them for specs.
LOCKS_TAG, FAILURES_TAG, WANTED_TAG, KEYS_TAG = "locks", "failures", "wanted", "keys"
_TYPE = "application/vnd.spack-build-cache.{}.v1+json"
LOCKS_TYPE, FAILURES_TYPE, LOCK_TYPE, BOOK_TYPE = (_TYPE.format(name) for name in ("locks", "failures", "lock", "failure-list"))
WANTED_TYPE, WISHES_TYPE = (_TYPE.format(name) for name in ("wanted", "wanted-list"))
KEYS_TYPE = _TYPE.format("keys")
LOG_TYPE, SPEC_TYPE = "text/plain+gzip", _TYPE.format("failed-spec") + "+gzip"
_KEY, _STACK, _RUNNER = (f"io.github.spack-build-cache.{name}" for name in ("key", "stack", "runner"))
_ABOUT_KEY = "io.github.spack-build-cache.signing-key."
#: Public keys that are told of at most.
KEYS_KEPT = 100
#: Concretizations that are remembered at most: of each stack and runner the last ones.
LOCKS_KEPT = 16
#: Stacks, on each kind of runner, of which it is remembered what they want: the last ones.
WANTED_KEPT = 64
#: What a concretization, or a list of failures, inflates to at most (bytes).
_LIMIT = 256 * 1024 * 1024
_NOTHING = b"{}"


def remembered_lock(repository: Repository, key: str) -> dict[str, bytes] | None:
    """The files of a concretization (spack.yaml, spack.lock, ...), where one is remembered by this key; a damaged one is none."""
    for layer in _layers(repository, LOCKS_TAG, LOCKS_TYPE):
        if layer.annotations.get(_KEY) == key:
            try:
                files = parse_json(_inflated(repository, layer), "a remembered concretization")
                return {name: str(text).encode() for name, text in files.items()}
            except (CacheError, ValueError):  # text that is no Unicode can't be encoded
                return None
    return None


def remember_locks(repository: Repository, locks: Mapping[str, Mapping[str, bytes]]) -> bool:
    """Remember concretizations by their keys, the newest first; return whether anything was new."""
    known = _layers(repository, LOCKS_TAG, LOCKS_TYPE)
    blobs: dict[Digest, bytes] = {}
    layers = []
    for key, files in locks.items():
        data = gzip.compress(compact_json({name: data.decode() for name, data in files.items()}), mtime=0)
        layer = described(LOCK_TYPE, data, {_KEY: key})
        blobs[layer.digest] = data
        layers.append(layer)
    layers += [layer for layer in known if layer.annotations.get(_KEY) not in locks]
    return _write(repository, LOCKS_TAG, LOCKS_TYPE, layers[:LOCKS_KEPT], blobs)


def known_failures(repository: Repository, published: Container[str] = ()) -> dict[str, Failure]:
    """What failed and was not built since, by DAG hash; nothing where that can't be read: it is only a memory.

    A push by hand doesn't touch that memory: who tells people of it passes over what is `published` by now.
    """
    for layer in _layers(repository, FAILURES_TAG, FAILURES_TYPE):
        if layer.media_type == BOOK_TYPE:
            try:
                found = parse_failures(parse_json(_inflated(repository, layer), "the list of failures"))
                return {h: failure for h, failure in found.items() if h not in published}
            except CacheError:
                return {}
    return {}


def remember_failures(
    repository: Repository,
    records: Iterable[Record],
    read_log: Callable[[str], bytes | None],
    read_spec: Callable[[str], bytes],
    published: Set[str],
) -> dict[str, Failure]:
    """Bring what is remembered of failures up to date; return what is failing now.

    `read_log` and `read_spec` give the log and the concrete spec of a hash. What belongs to failures that are over is dropped.
    """
    known = known_failures(repository)
    failing = merge_failures(known, records, published)
    held = {str(layer.digest): layer for layer in _layers(repository, FAILURES_TAG, FAILURES_TYPE)}
    blobs: dict[Digest, bytes] = {}

    def keep(kind: str, text: bytes | None) -> str:
        if not text:
            return ""
        data = gzip.compress(text, mtime=0)
        layer = described(kind, data)
        blobs[layer.digest], held[str(layer.digest)] = data, layer
        return str(layer.digest)

    for h, failure in failing.items():
        if failure != known.get(h):
            failing[h] = replace(failure, log=keep(LOG_TYPE, read_log(h)), spec=keep(SPEC_TYPE, read_spec(h)))
    body = {"meta": {"failures": "1.0"}, "failures": [failing[h].json() for h in sorted(failing)]}
    data = gzip.compress((json.dumps(body, indent=1) + "\n").encode(), mtime=0)
    book = described(BOOK_TYPE, data)
    blobs[book.digest] = data
    named = {digest for failure in failing.values() for digest in (failure.log, failure.spec)}
    if failing or known:
        _write(repository, FAILURES_TAG, FAILURES_TYPE, [book, *(held[digest] for digest in sorted(named & held.keys()))], blobs)
    return failing


def failure_blob(repository: Repository, digest: str) -> bytes:
    """The log or the spec of a failure; raise CacheError where it has none, or none that can be read."""
    for layer in _layers(repository, FAILURES_TAG, FAILURES_TYPE):
        if str(layer.digest) == digest:
            return _inflated(repository, layer)
    raise CatalogError(f"{repository.name} has no {digest or 'log'} of a failure", hint="a failure that is over is forgotten")


def known_wanted(repository: Repository, stack: str = "", runner: str = "") -> tuple[Wanted, ...]:
    """What stacks want, or what one of them does on a kind of runner; what can't be read is left out: it is only a memory."""
    found = []
    for layer in _layers(repository, WANTED_TAG, WANTED_TYPE):
        if stack in ("", layer.annotations.get(_STACK)) and runner in ("", layer.annotations.get(_RUNNER)):
            try:
                found.append(parse_wanted(parse_json(_inflated(repository, layer), "what a stack wants")))
            except CacheError:
                continue
    return tuple(found)


def remember_wanted(repository: Repository, wanted: Iterable[Wanted]) -> bool:
    """Remember what stacks want, each in place of what it wanted before; return whether anything was new."""
    layers = list(_layers(repository, WANTED_TAG, WANTED_TYPE))
    blobs: dict[Digest, bytes] = {}
    for one in wanted:
        data = gzip.compress(compact_json(one.json()), mtime=0)
        made = described(WISHES_TYPE, data, {_STACK: one.stack, _RUNNER: one.runner})
        if made not in layers:
            blobs[made.digest] = data
            layers = [made, *(layer for layer in layers if _whose(layer) != _whose(made))]
    return bool(blobs) and _write(repository, WANTED_TAG, WANTED_TYPE, layers[:WANTED_KEPT], blobs)


def known_keys(repository: Repository) -> tuple[PublicKey, ...]:
    """The public keys that are published beside the images, as their publisher told of them; one that can't be read is left out."""
    found = []
    for layer in _layers(repository, KEYS_TAG, KEYS_TYPE)[:KEYS_KEPT]:
        about = {name.removeprefix(_ABOUT_KEY): value for name, value in layer.annotations.items() if name.startswith(_ABOUT_KEY)}
        try:
            key = Key(
                fingerprint=about.get("fingerprint", ""), user_id=about.get("user-id", ""), created=about.get("created", ""),
                expires=about.get("expires", ""), revoked=about.get("revoked") == "true",
            )  # fmt: skip
            found.append(PublicKey(key=key, data=repository.read_blob(layer, KEY_LIMIT)))
        except CacheError:
            continue
    return tuple(sorted(found, key=lambda one: one.key.fingerprint))


def remember_keys(repository: Repository, keys: Iterable[PublicKey]) -> bool:
    """Publish public keys, revoked ones too, in place of those that were; return whether anything was new."""
    blobs, layers = dict[Digest, bytes](), []
    for one in sorted(keys, key=lambda one: one.key.fingerprint)[:KEYS_KEPT]:
        key = one.key
        about = {"fingerprint": key.fingerprint, "user-id": key.user_id, "created": key.created, "expires": key.expires}
        about |= {"revoked": "true"} if key.revoked else {}
        layers.append(described(KEY_TYPE, one.data, {_ABOUT_KEY + name: value for name, value in about.items() if value}))
        blobs[one.digest] = one.data
    return _write(repository, KEYS_TAG, KEYS_TYPE, layers, blobs)


def _whose(layer: Descriptor) -> tuple[str, str]:
    return layer.annotations.get(_STACK, ""), layer.annotations.get(_RUNNER, "")


def _layers(repository: Repository, tag: str, kind: str) -> tuple[Descriptor, ...]:
    raw = find_manifest(repository, tag)
    if raw is None:
        return ()
    try:
        manifest = ImageManifest.parse(raw)
    except FormatError:
        return ()
    return manifest.layers if manifest.artifact_type == kind else ()


def _inflated(repository: Repository, layer: Descriptor) -> bytes:
    return inflated(repository.read_blob(layer, _LIMIT), _LIMIT, str(layer.digest))


def _write(repository: Repository, tag: str, kind: str, layers: list[Descriptor], blobs: Mapping[Digest, bytes]) -> bool:
    made: RawManifest = ImageManifest(
        media_type=MANIFEST, config=described(EMPTY, _NOTHING), layers=tuple(layers), annotations={}, artifact_type=kind
    ).raw()
    present = find_manifest(repository, tag)
    if present is not None and present.data == made.data:
        return False
    for blob in (*layers, described(EMPTY, _NOTHING)):
        if blob.digest in blobs or blob.media_type == EMPTY:
            repository.put_blob(blob, _opener(blobs.get(blob.digest, _NOTHING)))
    return write_manifest(repository, tag, made)


def _opener(data: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(data)
