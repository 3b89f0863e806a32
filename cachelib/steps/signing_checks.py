"""What is wrong with the keys of a cache: verdicts on what was found of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachelib.model.check import Check, ok, problem, warning
from cachelib.model.errors import SigningError
from cachelib.model.signing import Key, PublicKey
from cachelib.steps.signing import SECRET

_NAME = "signing"


def signing_checks(public: Sequence[PublicKey] | SigningError, secret: Key | None, moment: str, soon: str) -> Iterator[Check]:
    """How the keys are at a `moment`; what expires before `soon` is told. A cache without keys and without a secret signs nothing."""
    if isinstance(public, SigningError):
        yield problem(_NAME, SigningError, public.message, public.hint or "`inv keys list` tells of the keys")
    elif secret is not None:
        yield _secret_check(secret, moment, soon)
    elif any(not one.key.revoked and not one.key.expired(moment) for one in public):
        yield ok(_NAME, f"{len(public)} public keys; {SECRET} is not set here: what is pushed from here is not signed")
    elif public:
        yield warning(_NAME, "every key in keys/ is revoked or expired", "`inv keys create` makes another")


def _secret_check(key: Key, moment: str, soon: str) -> Check:
    if key.expired(soon):
        remedy = f"`inv keys create` makes another; set {SECRET} to it, and leave the old .pub where it is"
        return warning(_NAME, f"{key.label} signs no more from {key.expires[:10]} on", remedy)
    return ok(_NAME, f"{key.label} signs: {key.state(moment)}")
