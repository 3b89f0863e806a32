"""What is pushed while a pruning runs: whatever a newcomer needs is spared, for as long as it is still there."""

from __future__ import annotations

import time

from cachelib.model.errors import FormatError, PruneError
from cachelib.model.oci import is_spec_tag
from cachelib.model.ports import Repository
from cachelib.steps.reading import open_image
from cachelib.steps.tags import whole_tags

#: Seconds between two looks for newcomers while entries are deleted, one by one.
_SECONDS = 10.0


class Newcomers:
    """The specs whose tags were not there when a plan was made, and what they need to run."""

    def __init__(self, repository: Repository, planned: frozenset[str]) -> None:
        self._repository, self._seen = repository, planned
        self._needed: dict[str, str] = {}
        #: All tags as they were at the last look.
        self.tags = planned
        self._looked = 0.0

    def needed(self, *, now: bool = False) -> dict[str, str]:
        """The DAG hashes that newcomers need, each with the tag of one that does; looked up every few seconds, or `now`.

        Raises CacheError where a newcomer can't be read: what it needs isn't known, so nothing is safe to go.
        """
        if now or time.monotonic() - self._looked >= _SECONDS:
            tags = whole_tags(self._repository)
            if self._seen and not tags:
                raise PruneError(f"{self._repository.name}: the tag list is empty all at once", hint="run the same command again")
            for tag in sorted(filter(is_spec_tag, tags - self._seen)):
                try:
                    spec = open_image(self._repository, tag).spec
                except FormatError:
                    continue  # not the image of a spec
                for node in spec.runtime_closure():
                    self._needed.setdefault(node.hash, tag)
            self._seen |= tags
            self.tags = tags
            self._looked = time.monotonic()
        return self._needed
