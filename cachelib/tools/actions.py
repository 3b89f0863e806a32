"""What a step tells GitHub Actions: outputs and summaries, by the files that it names (GitHub docs, Workflow commands)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

#: A summary of more bytes is thrown away whole by GitHub.
SUMMARY_LIMIT = 1024 * 1024


def set_outputs(env: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Set outputs of the step that runs this; elsewhere nothing happens. No value can end its own block and set another."""
    if not (path := env.get("GITHUB_OUTPUT", "")):
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = f"end-{secrets.token_hex(16)}"
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def add_summary(env: Mapping[str, str], text: str) -> None:
    """Add Markdown to the summary of the step that runs this, as much as fits; elsewhere nothing happens."""
    if not (path := env.get("GITHUB_STEP_SUMMARY", "")):
        return
    cut = "\n\n… cut here: a summary may have 1 MiB.\n"
    data = text.encode()
    if len(data) > SUMMARY_LIMIT:
        data = data[: SUMMARY_LIMIT - len(cut.encode()) - 4].decode(errors="ignore").encode() + cut.encode()
    with Path(path).open("ab") as file:
        file.write(data)
