"""Text from outside, made fit for a terminal and a log."""

from __future__ import annotations

import re
import unicodedata

# Characters that move a cursor, end a line, or turn the direction of what follows (Unicode categories Cc, Cf, Zl, Zp, Cs).
_HOSTILE = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# What GitHub's runner takes for a command of its own: `::name::` at the start of a line, `##[name]` anywhere in it
# (actions/runner, ActionCommand.cs).
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\[)")


def printable(text: str) -> str:
    """The text in one line, with everything in it that a terminal or a CI log would obey made visible as `?`."""
    if "::" in text or "##[" in text:
        text = _COMMAND.sub(r"\1?", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(character) in _HOSTILE and character != "\t" else character for character in text)


def markdown(text: str) -> str:
    """Text in one line of GitHub's Markdown, a cell of a table too: what a person or a program wrote stays text."""
    return "".join(f"&#{ord(char)};" if char in "|&<>`*_[]()#!~\\\"'$:@" else char for char in printable(text))
