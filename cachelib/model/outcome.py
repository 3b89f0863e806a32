"""What became of each item of a step: types that carry their reason, so that a report is never a guess."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of a build and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Compiled here, from source."""

    seconds: float
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """Not compiled: it was there. `source` says where: the install tree, or a binary from a cache."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The build of this spec went wrong. `log` is the file with all of it, empty where it failed before any output."""

    phase: str
    message: str
    error_lines: tuple[str, ...] = ()
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Not tried, for the reason given; `because_of` names the spec that stood in the way, where one did."""

    reason: str
    because_of: str = ""


BuildOutcome = Built | Reused | Failed | Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A request that Spack could not parse or concretize, with Spack's own reason."""

    request: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What of a stack this machine leaves to others, a target or a request, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Sent to the registry. `sent` counts the bytes that crossed the wire."""

    reference: str
    digest: str
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """Already published, and a published DAG hash is not overwritten."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPushed:
    """Could not be published, for the reason given."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Not sent: an upstream has it."""

    reference: str


PushOutcome = Pushed | Present | NotPushed | Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Written into the mirror. `received` counts the bytes of its blobs that came over the wire."""

    path: str
    received: int
    #: Whether it is byte for byte what was pushed, or was made anew because another program had pushed the image.
    original: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """In the mirror already, whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPulled:
    """Could not be pulled, for the reason given."""

    reason: str


PullOutcome = Pulled | Here | NotPulled


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Deleted from the registry; `size` is that of its tarball in bytes."""

    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """Not deleted after all, for the reason given; it is in the index again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPruned:
    """Could not be deleted, for the reason given."""

    reason: str


PruneOutcome = Pruned | Spared | NotPruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What nothing named any more and was deleted too: how many things, their bytes where known, and a word on it."""

    count: int
    size: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something in the registry that was passed over: which tag, and why."""

    tag: str
    reason: str
