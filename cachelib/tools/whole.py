"""Reads a blob of a repository into memory, where its size allows it."""

from __future__ import annotations

from cachelib.model.errors import RegistryError
from cachelib.model.oci import Descriptor
from cachelib.model.ports import Repository


def read_whole(repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
    """A blob, whole; raise RegistryError where it has more than `limit` bytes. No more are read than its descriptor says."""
    if descriptor.size > limit:
        raise RegistryError(f"{repository.name}: blob {descriptor.digest} has {descriptor.size} bytes: no more than {limit} are read")
    return b"".join(repository.stream_blob(descriptor))
