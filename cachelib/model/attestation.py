"""What an attestation states, once it was verified."""

from __future__ import annotations

from dataclasses import dataclass

from cachelib.model.digest import Digest
from cachelib.model.errors import VerifyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """That a workflow (`signer`, an address with its ref) had these digests in its hands."""

    subjects: frozenset[Digest]
    signer: str


class ForeignAttestationError(VerifyError):
    """An attestation is of somebody else than the repository that is asked for, whatever it is worth."""
