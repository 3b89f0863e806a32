"""The report of a task as a file for programs."""

from __future__ import annotations

import json
from pathlib import Path

from cachelib.model.errors import CacheError
from cachelib.steps.reports import Report
from cachelib.tools.files import write_atomically

#: The minor version counts additions; readers ignore keys they don't know.
REPORT_VERSION = "1.0"


def write_report(path: str, task: str, report: Report | None, error: CacheError | None = None) -> None:
    """Write what became of a task as JSON."""
    body = {
        "meta": {"report": REPORT_VERSION, "task": task},
        "exitCode": error.exit_code if error else report.exit_code if report else 0,
        "steps": list(report.data) if report else [],
        **({"error": {"message": error.message, "hint": error.hint}} if error else {}),
    }
    write_atomically(Path(path), (json.dumps(body, indent=1) + "\n").encode())
