"""Signs entries of a mirror, and says what the signatures of others are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from cachelib.model.entry import TARBALL, EntryName, find_blob, is_one_message, is_signed, parse_blob_records, signed_text
from cachelib.model.errors import CacheError, MirrorError, SigningError
from cachelib.model.finding import Finding
from cachelib.model.ports import Mirror, Progress, Repository, Signer, Verifier
from cachelib.model.signing import Key, PublicKey, Signature, Standing
from cachelib.steps.entries import kept_entry
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reading import open_image

SECRET = "CACHE_SIGNING_KEY"  # noqa: S105 - its name


def choose_key(private: Sequence[Key], published: Iterable[PublicKey], moment: str) -> Key:
    """The key to sign with: the one private key, whose public half must be published and good; raise SigningError."""
    if len(private) != 1:
        what = "holds no private key" if not private else f"holds {len(private)} private keys"
        raise SigningError(f"{SECRET} {what}", hint=f"`gh secret set {SECRET} < FILE`, with the file that `inv keys create` wrote")
    [key] = private
    halves = {one.key.fingerprint: one.key for one in published}
    half = halves.get(key.fingerprint)
    if half is None:
        raise SigningError(
            f"{SECRET} is {key.label}, whose public half is not in keys/: nobody could check its signatures",
            hint="commit the .pub file that `inv keys create` wrote, or set the secret to the key whose half is there",
        )
    if half.revoked:
        raise SigningError(f"{SECRET} is {key.label}, which was revoked", hint="`inv keys create` makes another; set the secret to it")
    if half.expired(moment):
        raise SigningError(f"{SECRET} is {key.label}, which {half.state(moment)}", hint="`inv keys create` makes another")
    return half


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What became of entries that were to be signed: signed now, signed before, and what could not be."""

    key: Key
    signed: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, str]


def sign_entries(
    mirror: Mirror, names: Sequence[EntryName], signer: Signer, key: Key, progress: Progress, verifier: Verifier | None = None
) -> Signed:
    """Sign entries in place, one file after the other, each in one step: a kill leaves entries that are signed or not.

    An entry that is signed is left alone; with `verifier`, only where the signature is a good one of this very key. What
    bears a wrong or a foreign signature then fails: nobody knows whose it is.
    """
    signed, kept, failed = list[str](), list[str](), dict[str, str]()
    own = Signature(standing=Standing.GOOD, fingerprint=key.fingerprint)
    progress.start(f"sign with {key.fingerprint[-16:]}", len(names))
    for name in names:
        try:
            raw = mirror.entry(name).raw
            found = check(raw, verifier) if verifier is not None else own if is_signed(raw) else None
            if found is not None and found.standing in (Standing.BAD, Standing.FOREIGN):
                raise SigningError(f"not signed anew, for {found.words}")
            if found == own:
                kept.append(name.label)
                progress.advance(f"kept {name.label}")
                continue
            message = signer.sign(signed_text(raw), key.fingerprint)
            if not is_one_message(message) or parse_blob_records(message) != parse_blob_records(raw):
                raise SigningError("what gpg signed is not what it was given")
            mirror.put_entry(name.path, message)
            signed.append(name.label)
            progress.advance(f"signed {name.label}")
        except CacheError as error:
            failed[name.label] = error.message
            progress.advance(f"failed {name.label}")
    progress.finish()
    return Signed(key=key, signed=tuple(signed), kept=tuple(kept), failed=failed)


def check(raw: bytes, verifier: Verifier) -> Signature:
    """What the signature of an entry's manifest comes to."""
    if not is_signed(raw):
        return Signature(standing=Standing.UNSIGNED)
    return verifier.verify(raw) if is_one_message(raw) else Signature(standing=Standing.BAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How entries are taken that were signed, or not: by which keys, and whether unsigned ones are refused."""

    verifier: Verifier
    keys: tuple[PublicKey, ...]
    required: bool = False
    #: What a key signed that isn't known here is taken like what nobody signed: an upstream's, which others check by its key.
    strangers: bool = False
    #: What was found, by DAG hash; filled as entries are looked at.
    found: dict[str, Signature] = field(default_factory=dict)

    def look(self, dag_hash: str, raw: bytes) -> Signature:
        """What a signature comes to, remembered."""
        self.found[dag_hash] = check(raw, self.verifier)
        return self.found[dag_hash]

    def demand(self, dag_hash: str, raw: bytes) -> None:
        """Raise SigningError for an entry that is not to be taken."""
        signature = self.look(dag_hash, raw)
        if self.refuses(signature):
            raise SigningError(f"refused: {signature.words}")

    def refuses(self, signature: Signature) -> bool:
        """Whether what is signed so is not to be taken."""
        match signature.standing:
            case Standing.GOOD:
                return False
            case Standing.UNSIGNED:
                return self.required
            case Standing.FOREIGN:
                return self.required or not self.strangers
            case Standing.BAD | Standing.REVOKED:
                return True


def mirror_findings(mirror: Mirror, policy: Policy) -> Iterator[Finding]:
    """What is wrong with the signatures of a mirror's entries."""
    for name in mirror.names(lambda _: None):
        try:
            policy.demand(name.hash, mirror.entry(name).raw)
        except MirrorError as error:
            yield Finding(where=f"mirror: {name.label}", problem=error.message, remedy=error.hint)
        except SigningError as error:
            remedy = "`inv pull` fetches it again; `inv keys sign` signs what you built yourself"
            yield Finding(where=f"mirror: {name.label}", problem=error.message.removeprefix("refused: "), remedy=remedy)


def resigned(mirror: Mirror, repository: Repository, *, jobs: int, progress: Progress) -> frozenset[str]:
    """The DAG hashes whose entry is signed otherwise than the published one, around the same blobs: what is to be published again."""
    tags = repository.tags()
    names = [name for name in mirror.names(lambda _: None) if name.tag in tags]
    progress.start(f"compare signatures with {repository.name}", len(names))
    found = set()
    differs: Callable[[EntryName], bool] = partial(_resigned, mirror, repository)
    with workers(jobs) as pool:
        for name, future in in_order(pool, differs, names):
            progress.advance(name.label)
            if future.result():
                found.add(name.hash)
    progress.finish()
    return frozenset(found)


def _resigned(mirror: Mirror, repository: Repository, name: EntryName) -> bool:
    try:
        raw, image = mirror.entry(name).raw, open_image(repository, name.tag)
        kept = kept_entry(image.config, image.tarball, image.spec)
        same = find_blob(parse_blob_records(raw), TARBALL).digest == image.tarball.digest
        return is_signed(raw) and same and (kept is None or kept.raw != raw)
    except CacheError:
        return False  # what is damaged is named by `inv verify`, and mended otherwise
