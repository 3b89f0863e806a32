"""A progress that keeps what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class QuietProgress:
    """Remembers lines and counts."""

    lines: list[str] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)

    def start(self, what: str, total: int) -> None:
        """Note a step."""
        self.steps.append((what, total))

    def advance(self, item: str) -> None:
        """Note an item."""
        self.lines.append(item)

    def say(self, line: str) -> None:
        """Note a line."""
        self.lines.append(line)

    def finish(self) -> None:
        """Nothing."""
