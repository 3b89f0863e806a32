"""How the stacks of a site stand: what each wants against what its image has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cachelib.model.catalog import CatalogEntry
from cachelib.model.site import SiteImage
from cachelib.model.upstream import Upstream
from cachelib.steps.image import PREFIX
from cachelib.steps.weather import Stored, Weather, weather


def standing(images: tuple[SiteImage, ...]) -> tuple[tuple[SiteImage, Weather], ...]:
    """The weather of every stack of every image, by their names."""
    return tuple(_every(images))


def stored(entries: Mapping[str, CatalogEntry]) -> dict[str, Stored]:
    """What a catalog knows of its builds."""
    return {h: Stored(size=entry.tarball.size, seconds=seconds_of(entry)) for h, entry in entries.items()}


def upstream_stored(upstreams: Iterable[Upstream]) -> dict[str, Stored]:
    """What upstreams have: those of another program tell nothing of sizes."""
    return {
        h: Stored(size=offer.size or 0, seconds=offer.seconds, upstream=True)
        for one in reversed(tuple(upstreams))
        for h, offer in one.offers.items()
    }


def _every(images: tuple[SiteImage, ...]) -> Iterator[tuple[SiteImage, Weather]]:
    for image in images:
        if image.wanted:
            held = upstream_stored(image.upstreams) | stored(image.catalog.entries)
            for wanted in sorted(image.wanted, key=lambda one: (one.stack, one.runner)):
                yield image, weather(wanted, held, image.failures)


def seconds_of(entry: CatalogEntry) -> float | None:
    """How long a build took, where it tells so."""
    try:
        seconds = float(entry.annotations.get(f"{PREFIX}build.seconds", "")[:40])
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e8 else None
