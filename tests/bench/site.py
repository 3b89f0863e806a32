"""The site of caches of several sizes: time, memory, bytes, and what a second render writes."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

from cachelib.tools.site import MARKER
from tests.bench.clock import PROJECT, Row, Table, invoke, peak, seconds
from tests.bench.local import settings

#: Spack's own index is one file, by its format; all others are ours to cut.
FILE_LIMIT, SITE_LIMIT, MEMORY_LIMIT = 2_000_000, 500_000_000, 2048
SECONDS = {10_000: 15, 100_000: 150}


def rendering(table: Table, folder: Path, *, sizes: tuple[int, ...]) -> None:
    """Render caches of several sizes, each twice: the second time with ten builds more."""
    per_build: dict[int, float] = {}
    for size in sizes:
        place = folder / str(size)
        config = settings(place, site={"url": "https://owner.github.io/cache"})
        publish(place, size)
        took: list[float] = []
        used: list[float] = []
        took.append(seconds(lambda: used.append(peak("render", "--config", config, folder=place))))  # noqa: B023
        per_build[size] = took[0] / size
        limit = SECONDS.get(size)
        table.add(
            Row(name=f"site of {size:,} builds, rendered", ours=took[0], theirs=None, unit="s", promise=f"<= {limit} s" if limit else "",
                holds=took[0] <= limit if limit else None)
        )  # fmt: skip
        table.add(
            Row(name=f"site of {size:,} builds, memory", ours=used[0], theirs=None, unit="MiB", promise=f"<= {MEMORY_LIMIT}",
                holds=used[0] <= MEMORY_LIMIT)
        )  # fmt: skip
        _sizes(table, place / "var/site", size)
        publish(place, size + 10)
        text = ""

        def again() -> None:
            nonlocal text
            text = invoke("render", "--config", config).stdout  # noqa: B023

        table.add(
            Row(
                name=f"site of {size:,} builds, ten more",
                ours=seconds(again),
                theirs=None,
                unit="s",
                note=text.strip().splitlines()[-1].strip(),
            )
        )
    if {10_000, 100_000} <= per_build.keys():
        ratio = per_build[100_000] / per_build[10_000]
        table.add(
            Row(name="render, time a build: 100,000 against 10,000", ours=per_build[100_000] * 1000, theirs=per_build[10_000] * 1000, unit="ms",
                ratio=ratio, promise="<= 1", holds=ratio <= 1)
        )  # fmt: skip


def publish(folder: Path, size: int) -> None:
    """Put a catalog of so many builds into the folder's registry: by a process of its own, which gives its memory back."""
    script = (
        "import sys; from pathlib import Path; from cachelib.model.oci import parse_location; from cachelib.tools.layout import LayoutRepository\n"
        "from tests.support.caches import made_catalog, publish_catalog\n"
        "place = parse_location(f'oci-layout:{sys.argv[1]}/var/registry', folder=Path.cwd()).child('v1.1')\n"
        "publish_catalog(LayoutRepository(place), made_catalog(int(sys.argv[2])))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder), str(size)], cwd=PROJECT, check=True)


def _sizes(table: Table, site: Path, size: int) -> None:
    files = zipped = whole = largest = 0
    for path in site.rglob("*"):
        if path.is_file() and path.name != MARKER:
            data = path.read_bytes()
            files, whole, zipped = files + 1, whole + len(data), zipped + len(gzip.compress(data, 6))
            if "blobs" not in path.relative_to(site).parts:
                largest = max(largest, len(data))
    table.add(
        Row(name=f"site of {size:,} builds", ours=whole / 1e6, theirs=None, unit="MB", promise=f"<= {SITE_LIMIT / 1e6:.0f}",
            holds=whole <= SITE_LIMIT, note=f"{files:,} files, {zipped / 1e6:.1f} MB gzipped")
    )  # fmt: skip
    table.add(
        Row(name=f"site of {size:,} builds, largest file but Spack's index", ours=largest / 1e6, theirs=None, unit="MB", promise="<= 2",
            holds=largest <= FILE_LIMIT)
    )  # fmt: skip
