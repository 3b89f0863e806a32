"""Which licences an owner publishes under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from cachelib.model.setting import LINE, doc

#: What stands in a list for recipes that state no licence, or none that SPDX lists; Spack's recipes write it so too.
UNKNOWN = "UNKNOWN"
#: Why something is withheld that its recipe doesn't allow to be given away.
BY_RECIPE = "its recipe doesn't allow its binaries to be given away"
# What the list of the library calls exceptions, and SPDX licences (spdx.org/licenses): by their names alone.
_LICENSES = frozenset({
    "MPL-2.0-no-copyleft-exception", "eCos-2.0", "GPL-2.0-with-GCC-exception", "GPL-2.0-with-autoconf-exception",
    "GPL-2.0-with-classpath-exception", "GPL-2.0-with-font-exception", "GPL-3.0-with-GCC-exception", "GPL-3.0-with-autoconf-exception",
})  # fmt: skip
_ITEM: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": LINE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Licenses:
    """Licences by SPDX's identifiers, such as GPL-3.0-only; UNKNOWN is what a recipe doesn't tell."""

    allow: tuple[str, ...] = field(
        default=(), metadata=doc("Only what can be used under these is published; everything, where it is left out.", item=_ITEM)
    )
    deny: tuple[str, ...] = field(
        default=(), metadata=doc("What can't be used without one of these is not published, whatever is allowed.", item=_ITEM)
    )

    def __bool__(self) -> bool:
        """Whether there is any list."""
        return bool(self.allow or self.deny)


class Known(Protocol):
    """A symbol of an expression, as the package license-expression has it."""

    key: str
    aliases: tuple[str, ...]
    is_exception: bool


def is_exception(symbol: Known) -> bool:
    """Whether a symbol is an exception, which by itself is no licence."""
    return symbol.is_exception and symbol.key not in _LICENSES


def is_listed(symbol: Known) -> bool:
    """Whether SPDX lists a symbol, under this name or another; a LicenseRef is whatever somebody calls so."""
    return any(not name.startswith("LicenseRef-") for name in (symbol.key, *symbol.aliases))
