"""The attestations that GitHub keeps of a repository's artifacts, by its REST API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import requests

from cachelib.model.attestation import Statement
from cachelib.model.digest import Digest
from cachelib.model.errors import UsageError, VerifyError
from cachelib.model.github import is_repository
from cachelib.tools.attestations import SigstoreVerifier
from cachelib.tools.github_rest import GitHubRest

#: Attestations of one digest that are looked at: each run that publishes the same bytes makes one more.
MOST = 30
HINTS = {
    "^401": "is the token right, and does it still live?",
    "^403": "in a job, `permissions:` takes `attestations: read`; a fine-grained token takes the permission Attestations (read)",
    "^404": "does the repository exist, and may this token see it?",
}
# A bundle that GitHub doesn't put into its answer: nothing of it was seen, so nothing is to be believed.
_ABSENT = b"null"


class GitHubAttestations:
    """What a repository attested of manifests, and what is made of that by a verifier."""

    def __init__(self, rest: GitHubRest, repository: str, verifier: SigstoreVerifier) -> None:
        if not is_repository(repository):
            raise UsageError(f"{repository!r} names no repository", hint="OWNER/NAME")
        self._rest, self.repository, self._verifier = rest, repository, verifier

    def bundles(self, digest: Digest) -> Sequence[bytes]:
        """The newest bundles of a digest. GitHub answers 404 where there is none, and where the repository can't be seen."""
        response = self._rest.send("GET", f"repos/{self.repository}/attestations/{digest}?per_page={MOST}", 200, 404)
        return self._parsed(response) if response.status_code == 200 else ()

    def read(self, bundle: bytes) -> Statement:
        """What a bundle states; raises VerifyError."""
        if bundle == _ABSENT:
            raise VerifyError("GitHub tells of its attestation without giving it: `gh attestation verify` fetches it from where it is")
        return self._verifier.read(bundle)

    def check(self) -> None:
        """Raise RegistryError unless the repository can be seen: else everything would count as attested by nobody."""
        self._rest.send("GET", f"repos/{self.repository}", 200)

    def _parsed(self, response: requests.Response) -> tuple[bytes, ...]:
        try:
            items: Any = response.json()["attestations"]
            if not isinstance(items, list):
                raise TypeError
            return tuple(json.dumps(item["bundle"], separators=(",", ":")).encode() for item in items)
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._rest.error(f"GitHub answered with something that is no list of attestations of {self.repository}") from None
