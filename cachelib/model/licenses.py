"""Which licences an owner publishes under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cachelib.model.setting import LINE, doc

#: What stands in a list for recipes that state no licence, or none that SPDX lists; Spack's recipes write it so too.
UNKNOWN = "UNKNOWN"
#: Why something is withheld that its recipe doesn't allow to be given away.
BY_RECIPE = "its recipe doesn't allow its binaries to be given away"
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
