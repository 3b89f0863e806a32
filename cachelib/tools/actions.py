"""What a step tells GitHub Actions: outputs, environment and summaries, by the files that it names (GitHub docs, Workflow commands)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cachelib.model.text import printable

#: A summary of more bytes is thrown away whole by GitHub.
SUMMARY_LIMIT = 1024 * 1024


def event(env: Mapping[str, str]) -> dict[str, Any]:
    """What started this run, as GitHub tells it; nothing where it can't be read."""
    try:
        found = json.loads(Path(env["GITHUB_EVENT_PATH"]).read_bytes())
    except (LookupError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def set_outputs(env: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Set outputs of the step that runs this; elsewhere nothing happens. No value can end its own block and set another."""
    _set(env.get("GITHUB_OUTPUT", ""), values)


def set_variables(env: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Set environment variables of the steps that follow in the job; elsewhere nothing happens."""
    _set(env.get("GITHUB_ENV", ""), values)


def add_to_path(env: Mapping[str, str], folder: Path) -> None:
    """Put a folder before all others on PATH, for the steps that follow; elsewhere nothing happens. Raise ValueError for two lines."""
    if len(str(folder).splitlines()) != 1:
        raise ValueError(f"{str(folder)!r} would be several folders")
    if path := env.get("GITHUB_PATH", ""):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{folder}\n")


def _set(path: str, values: Mapping[str, str]) -> None:
    if not path:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = f"end-{secrets.token_hex(16)}"
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def matrix(jobs: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """The output that a job's `strategy.matrix` takes. An empty one is an error there: guard the job by its number of jobs."""
    return {"matrix": json.dumps({"include": list(jobs)})}


def annotate(env: Mapping[str, str], kind: str, told: Iterable[tuple[str, str]]) -> None:
    """Print annotations (titles and texts) of a kind, error or warning; elsewhere than on GitHub nothing happens."""
    if env.get("GITHUB_ACTIONS") != "true":
        return
    for title, text in told:
        lines = "\n".join(printable(line) for line in text.splitlines())
        print(f"::{kind} title={_escaped(printable(title), ':,')}::{_escaped(lines, '')}", flush=True)  # noqa: T201


def _escaped(text: str, more: str) -> str:
    """Text as a workflow command takes it (actions/toolkit, command.ts)."""
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + more else char for char in text)


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
