"""A journal on disk: one line a fact, written through at once; the end of a line that a kill cut off is passed over."""

from __future__ import annotations

import threading
from pathlib import Path

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError


class FileJournal:
    """Facts about digests, in a file that only grows; `begin` starts it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Forget what is noted."""
        self._path.unlink(missing_ok=True)

    def known(self) -> dict[str, str]:
        """Everything noted so far; lines that are not whole are no facts."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        facts = {}
        for line in lines:
            key, _, value = line.partition(" ")
            try:
                facts[str(Digest.parse(key))] = str(Digest.parse(value))
            except FormatError:
                continue
        return facts

    def note(self, key: str, value: str) -> None:
        """Remember something at once."""
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                # What a kill left of a line is not to spoil the next one.
                file.seek(max(0, file.seek(0, 2) - 1))
                cut_off = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * cut_off + f"{key} {value}\n".encode())
