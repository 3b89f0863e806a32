"""What the token of a job may: it shrinks on its way into a called workflow, and has nothing to write for a fork."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.actions.values import WorkflowError

Permissions = Mapping[str, str]
RANKS = ("none", "read", "write")
SCOPES = frozenset({"actions", "artifact-metadata", "attestations", "checks", "contents", "deployments", "discussions", "id-token"})
SCOPES |= {"issues", "models", "packages", "pages", "pull-requests", "repository-projects", "security-events", "statuses"}
#: What a token has where no `permissions:` stands: the restricted setting, which new repositories have.
DEFAULT: Permissions = {"contents": "read", "packages": "read"}


def read_permissions(where: str, raw: Any) -> Permissions:
    """What `permissions:` says; what it doesn't name is none."""
    if raw in ("read-all", "write-all"):
        level = raw.removesuffix("-all")
        return {scope: level for scope in sorted(SCOPES) if scope != "id-token" or level == "write"}
    if not isinstance(raw, dict):
        raise WorkflowError(f"{where}: Unexpected value of permissions")
    for scope, level in raw.items():
        if scope not in SCOPES or level not in RANKS or (scope, level) in (("id-token", "read"), ("models", "write")):
            raise WorkflowError(f"{where}: Unexpected permission '{scope}: {level}'")
    return {scope: level for scope, level in raw.items() if level != "none"}


def exceeding(wanted: Permissions, allowed: Permissions) -> list[str]:
    """What is wanted and not allowed, in GitHub's words."""
    return [
        f"is requesting '{scope}: {level}', but is only allowed '{scope}: {allowed.get(scope, 'none')}'"
        for scope, level in sorted(wanted.items())
        if RANKS.index(level) > RANKS.index(allowed.get(scope, "none"))
    ]


def of_fork(permissions: Permissions) -> Permissions:
    """What is left of them for a pull request from a fork: nothing to write, and no identity."""
    return {scope: "read" for scope in permissions if scope != "id-token"}
