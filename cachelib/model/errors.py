"""The errors of the cache: each says what went wrong, what to type next, and which code the process exits with."""

from __future__ import annotations


class CacheError(Exception):
    """Something the person at the keyboard can act on.

    `message` says what failed, for which spec or reference, and what was expected; `hint` is the next thing to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CacheError):
    """A flag of a task that can't be meant."""

    exit_code = 2


class ConfigError(CacheError):
    """`cache.yaml` is missing, unreadable or wrong; the message lists every problem with its line."""

    exit_code = 3


class InstallError(CacheError):
    """Spack or a package repository could not be installed."""

    exit_code = 4


class BuildError(CacheError):
    """A build could not start, or some of its specs failed."""

    exit_code = 5


class MirrorError(CacheError):
    """A local mirror is damaged or can't be read or written."""

    exit_code = 6


class RegistryError(CacheError):
    """A registry refused, failed, or answered with bytes that are not what their digest says.

    `status` is the HTTP status (0 when there was no answer), `code` the registry's own error code,
    `temporary` says whether the same request may succeed later, `retry_after` the seconds the registry asked for.
    """

    exit_code = 7

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        code: str = "",
        temporary: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.temporary = temporary
        self.retry_after = retry_after


class CatalogError(CacheError):
    """The catalog or Spack's index in a registry can't be read or written."""

    exit_code = 8


class RenderError(CacheError):
    """The site can't be rendered."""

    exit_code = 9


class VerifyError(CacheError):
    """What is stored is not what it claims to be."""

    exit_code = 10


class UnpublishedError(CacheError):
    """Nothing is published where it was looked for."""

    exit_code = 14


class PruneError(CacheError):
    """A cache can't be pruned as it was asked, or not all of it could be."""

    exit_code = 12


class FormatError(CacheError):
    """Outside data (a spec, a manifest, a reference) is not in the format that its specification asks for."""

    exit_code = 11


class GitHubError(CacheError):
    """GitHub's settings of a repository or a package keep the cache from working, or GitHub can't be asked for them.

    `status` is the HTTP status, 0 when there was no answer.
    """

    exit_code = 13

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class SigningError(CacheError):
    """Entries can't be signed, a key is not what it should be, or a signature is not to be believed."""

    exit_code = 16
