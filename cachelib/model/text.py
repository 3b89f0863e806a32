"""Text from outside, made fit for a terminal and a log."""

from __future__ import annotations

import unicodedata

# Characters that move a cursor, end a line, or turn the direction of what follows (Unicode categories Cc, Cf, Zl, Zp, Cs).
_HOSTILE = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def printable(text: str) -> str:
    """The text in one line, with everything in it that a terminal or a CI log would obey made visible as `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(character) in _HOSTILE and character != "\t" else character for character in text)
