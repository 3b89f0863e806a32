"""Verifies Sigstore bundles as GitHub Actions makes them, by the `sigstore` package: the one module that knows it.

That package is no part of the tasks' environment, and takes a second to load: it is imported when a verifier is made.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from cachelib.model.attestation import ForeignAttestationError, Statement
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, InstallError, VerifyError
from cachelib.model.text import printable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Who vouches to Sigstore for a workflow of github.com.
ISSUER = "https://token.actions.githubusercontent.com"
#: The payload of an in-toto statement (in-toto attestation, spec/v1/envelope.md).
PAYLOAD_TYPE = "application/vnd.in-toto+json"
#: A bundle of more bytes than this is none of ours: 1,024 subjects take some 300,000.
LIMIT = 8 * 1024 * 1024
# Fulcio, oid-info.md: which workflow signed, with its ref, and the repository that it ran for. DER, UTF8String.
_SIGNER, _REPOSITORY = "1.3.6.1.4.1.57264.1.18", "1.3.6.1.4.1.57264.1.12"


class SigstoreVerifier:
    """Believes what workflows of one repository (its web address) signed by the public Sigstore instance."""

    def __init__(self, repository: str, *, offline: bool = False) -> None:
        """Load the roots of trust: those of today, or with `offline` the last that are here, at least those in the package."""
        try:
            from sigstore.errors import Error, TUFError
            from sigstore.models import Bundle
            from sigstore.verify import Verifier, policy
        except ImportError as error:
            raise InstallError(
                f"attestations are verified by the package sigstore, which is not here: {error}",
                hint="`nox -s attestations` has it, and takes the flags of `inv verify`; else `pip install sigstore`",
            ) from None
        logging.getLogger("sigstore").setLevel(logging.ERROR)  # it warns of being offline, which is asked for here
        #: What the person should know of the roots that were taken.
        self.notes: tuple[str, ...] = ()
        try:
            self._verifier = Verifier.production(offline=offline)
        except TUFError as error:
            self.notes = (f"Sigstore's roots of today can't be had ({printable(str(error))}): the last ones that are here hold",)
            self._verifier = Verifier.production(offline=True)
        self._bundle, self._errors = Bundle, Error
        self._policy = policy.AllOf([_OfRepository(repository), policy.OIDCIssuerV2(ISSUER)])

    def read(self, bundle: bytes) -> Statement:
        """What a bundle states; raises VerifyError where it isn't to be believed, saying why."""
        if len(bundle) > LIMIT:
            raise VerifyError(f"its attestation has {len(bundle)} bytes: none has so many")
        try:
            made = self._bundle.from_json(bundle)
            kind, payload = self._verifier.verify_dsse(made, self._policy)
            signer = _extension(made.signing_certificate, _SIGNER)
        except _AnotherRepositoryError as error:
            raise ForeignAttestationError(f"its attestation is of another repository: {error}") from None
        except self._errors as error:
            raise VerifyError(f"its attestation does not hold: {_reason(bundle, error)}") from None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # Of what is malformed not everything becomes an error of the package's own.
            raise VerifyError(f"its attestation is malformed: {printable(repr(error))[:300]}") from None
        if kind != PAYLOAD_TYPE:
            raise VerifyError(f"its attestation is no in-toto statement but {printable(kind)[:100]!r}")
        return Statement(subjects=_subjects(payload), signer=printable(signer)[:300])


class _AnotherRepositoryError(Exception):
    """The certificate speaks for a workflow of another repository."""


class _OfRepository:
    """A policy of sigstore: the certificate is of a repository. GitHub takes its names in capitals and small letters alike."""

    def __init__(self, repository: str) -> None:
        self._repository = repository

    def verify(self, cert: Certificate) -> None:
        """Raise unless the certificate speaks for the repository."""
        found = _extension(cert, _REPOSITORY)
        if found.lower() != self._repository.lower():
            raise _AnotherRepositoryError(printable(found)[:300] or "it names none")


def _extension(cert: Certificate, oid: str) -> str:
    from cryptography.hazmat import asn1
    from cryptography.x509 import ExtensionNotFound, ObjectIdentifier

    try:
        value: Any = cert.extensions.get_extension_for_oid(ObjectIdentifier(oid)).value
    except ExtensionNotFound:
        return ""
    return asn1.decode_der(str, value.value)


def _reason(bundle: bytes, error: Exception) -> str:
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        material = json.loads(bundle)["verificationMaterial"]
        if material.get("certificate") and not material.get("tlogEntries"):
            return "it is in no public log: private repositories' are signed by an instance of GitHub's own, see `gh attestation verify`"
    return printable(str(error)).strip()[:300] or type(error).__name__


def _subjects(payload: bytes) -> frozenset[Digest]:
    """The sha256 digests that a statement is of (in-toto attestation, spec/v1/statement.md)."""
    try:
        subjects = json.loads(payload)["subject"]
        return frozenset(Digest.parse(f"sha256:{one['digest']['sha256']}") for one in subjects if "sha256" in one["digest"])
    except (ValueError, LookupError, TypeError, RecursionError, FormatError) as error:
        raise VerifyError(f"its attestation states nothing that is understood: {printable(repr(error))[:300]}") from None
