"""Inflates what is gzipped in a registry, up to a limit: a few bytes can be made to inflate to more than anybody can hold."""

from __future__ import annotations

import zlib

from cachelib.model.errors import FormatError

# zlib, inflateInit2: 15 bits of window, and 16 for the header of gzip.
_GZIP = 31


def inflated(data: bytes, limit: int, what: str) -> bytes:
    """The bytes; raise FormatError, saying what they were meant to be, where it is no gzip or inflates to more than `limit` bytes."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise FormatError(f"{what} is no gzip: {error}") from None
    if len(text) > limit:
        raise FormatError(f"{what} inflates to more than {limit} bytes")
    if not inflater.eof:
        raise FormatError(f"{what} is no gzip: it breaks off")
    return text
