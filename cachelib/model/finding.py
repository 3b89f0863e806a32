"""What is wrong in a cache."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it claims to be: where, what, and how to mend it."""

    where: str
    problem: str
    remedy: str
    #: Whether reading the tags anew mends it, or naming again what lost its tag.
    mendable: bool = False
