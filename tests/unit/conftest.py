"""Unit tests touch neither network nor programs: what needs them belongs to another layer."""

from __future__ import annotations

import subprocess
from typing import Any, NoReturn

import pytest
from pytest_socket import disable_socket


@pytest.fixture(autouse=True)
def walled_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets and processes fail."""
    disable_socket(allow_unix_socket=True)

    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        raise AssertionError(f"a unit test ran a program: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
