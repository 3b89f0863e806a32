"""Which of GitHub's runners build a stack: machines of the families of its targets."""

from __future__ import annotations

from collections.abc import Mapping

from cachelib.model.errors import ConfigError
from cachelib.model.stack import Stack
from cachelib.steps.targets import family, family_here

#: The hosted Linux runner of each family (GitHub docs, GitHub-hosted runners reference).
HOSTED = {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm"}
# GitHub runs jobs in containers on Linux alone (docs, Workflow syntax, jobs.<job_id>.container).
_NO_CONTAINERS = ("macos", "windows")
#: The plan job has so many outputs, one a runner.
MOST_RUNNERS = 8


def runners(stack: Stack) -> tuple[str, ...]:
    """The runners that build a stack: the one it names, or one for each family of its targets."""
    if stack.runner:
        return (stack.runner,)
    families = dict.fromkeys(family(target) for target in stack.targets) or {"x86_64": None}
    return tuple(HOSTED[name] for name in families if name in HOSTED)


def runner_here(stack: Stack, machine: str) -> str:
    """The runner that stands for this machine."""
    return stack.runner or HOSTED.get(family_here(machine), HOSTED["x86_64"])


def plan_jobs(stacks: Mapping[str, Stack]) -> list[dict[str, object]]:
    """The jobs that plan, as a matrix: one a runner or a container on it, as each concretizes for what it finds. Raise ConfigError."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, stack in stacks.items():
        if not (labels := runners(stack)):
            raise ConfigError(
                f"stack {name} has targets that no hosted runner has: {', '.join(stack.targets)}",
                hint="name a `runner` of your own in the stack",
            )
        for label in labels:
            if stack.container and label.startswith(_NO_CONTAINERS):
                raise ConfigError(
                    f"stack {name} is built in a container, on {label}", hint="containers take a Linux runner: leave out one of the two"
                )
            found.setdefault((label, stack.container), []).append(name)
    if len(found) > MOST_RUNNERS:
        hint = f"a run plans on {MOST_RUNNERS} at most: use fewer"
        raise ConfigError(f"the stacks take {len(found)} kinds of runners and containers", hint=hint)
    return [
        {
            "name": f"{label} in {image}" if image else label,
            "runner": label,
            "container": image,
            "number": at + 1,
            "stacks": " ".join(names),
        }
        for at, ((label, image), names) in enumerate(found.items())
    ]
