"""Finds the credentials for a registry in the usual places; they are never printed and never on a command line."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: For any registry, before all other places.
USERNAME_VARIABLE, PASSWORD_VARIABLE = "CACHE_REGISTRY_USERNAME", "CACHE_REGISTRY_PASSWORD"
_HELPER_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and what proves it; `source` says where they were found."""

    username: str
    password: str = field(repr=False)
    source: str

    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find_credentials(host: str, env: Mapping[str, str], home: Path) -> Credentials | None:
    """Look in the environment, then GitHub's token for ghcr.io, then docker's and podman's configuration."""
    if env.get(USERNAME_VARIABLE) and env.get(PASSWORD_VARIABLE):
        return Credentials(username=env[USERNAME_VARIABLE], password=env[PASSWORD_VARIABLE], source=USERNAME_VARIABLE)
    if host == "ghcr.io" and env.get("GITHUB_TOKEN"):
        return Credentials(username=env.get("GITHUB_ACTOR") or "token", password=env["GITHUB_TOKEN"], source="GITHUB_TOKEN")
    for path in _config_files(env, home):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        try:
            found = _from_config(config, host, path, env)
        except (AttributeError, TypeError):
            continue  # not in docker's format
        if found is not None:
            return found
    return None


def _config_files(env: Mapping[str, str], home: Path) -> Iterator[Path]:
    # podman's order: containers-auth.json(5); docker's: docker login.
    if env.get("REGISTRY_AUTH_FILE"):
        yield Path(env["REGISTRY_AUTH_FILE"])
    yield Path(env["DOCKER_CONFIG"], "config.json") if env.get("DOCKER_CONFIG") else home / ".docker" / "config.json"
    if env.get("XDG_RUNTIME_DIR"):
        yield Path(env["XDG_RUNTIME_DIR"], "containers", "auth.json")
    yield home / ".config" / "containers" / "auth.json"


def _from_config(config: dict[str, Any], host: str, path: Path, env: Mapping[str, str]) -> Credentials | None:
    auth = (config.get("auths") or {}).get(host) or {}
    if isinstance(auth, dict) and auth.get("auth"):
        try:
            username, _, password = base64.b64decode(auth["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError, TypeError):
            return None
        return Credentials(username=username, password=password, source=str(path))
    helper = (config.get("credHelpers") or {}).get(host) or config.get("credsStore")
    return _from_helper(str(helper), host, env) if helper else None


def _from_helper(helper: str, host: str, env: Mapping[str, str]) -> Credentials | None:
    """Ask a credential helper (docker-credential-helpers: `get`, the host on standard input)."""
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=host, text=True, capture_output=True, timeout=_HELPER_SECONDS, env=dict(env), check=True
        )
        found = json.loads(answer.stdout)
        return Credentials(username=str(found["Username"]), password=str(found["Secret"]), source=program)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
