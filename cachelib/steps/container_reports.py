"""What a container is made of and where it lies, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachelib.model.container import Choice
from cachelib.model.digest import Digest
from cachelib.model.quantity import human_bytes
from cachelib.steps.container_push import Made
from cachelib.steps.reports import Report, step_data


def container_report(made: Made, where: str, tags: Sequence[str], new: Sequence[str], sent: int, *, dry_run: bool = False) -> Report:
    """What is in a container, on what, and how to run it. `new` are the tags that did not name it before."""
    lines, items = [], []
    for choice, base, image in zip(made.choices, made.bases, made.images, strict=True):
        roots = ", ".join(f"{root.spec.label}" for root in choice.roots)
        below = f"on {base.name}" if base.name else "on no base: it has no libc and no shell, and does not run by itself"
        lent = sum(part.upstream for part in choice.parts)
        packages = f"{len(choice.parts)} packages" + (f" ({lent} of upstreams)" if lent else "")
        lines.append(f"  linux/{choice.architecture}: {roots}; {packages}, {human_bytes(choice.size)}, {below}")
        lines += [f"    WARNING  {warning}" for warning in choice.warnings]
        items.append(_item(choice, base.name, image.manifest.digest))
    names = [f"{where.removeprefix('oci-layout:')}:{tag}" for tag in tags]
    if dry_run:
        last = f"container would be put there as {', '.join(names)}; nothing was sent"
    elif not new:
        last = f"container: {', '.join(names)} is it already ({made.top.digest})"
    else:
        last = f"container: {', '.join(names)} is {made.top.digest} ({human_bytes(sent)} sent)"
    run = [] if where.startswith("oci-layout:") or dry_run else [f"  podman run --rm -it {names[0]}"]
    data = step_data("container", where, items, digest=str(made.top.digest), tags=list(tags), new=list(new), sent=sent)
    return Report(lines=(*lines, last, *run), data=(data,))


def _item(choice: Choice, base: str, digest: Digest) -> dict[str, Any]:
    return {
        "label": f"linux/{choice.architecture}",
        "outcome": "made",
        "digest": str(digest),
        "base": base,
        "roots": [{"spec": root.spec.label, "hash": root.entry.hash, "request": root.request} for root in choice.roots],
        "packages": len(choice.parts),
        "upstream": sum(part.upstream for part in choice.parts),
        "size": choice.size,
        "warnings": list(choice.warnings),
    }
