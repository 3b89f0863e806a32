"""Runs the benchmarks: python -m tests.bench [--quick] [--docs] [STEP ...]"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.tools.files import write_atomically
from tests.bench import jekyll, local, page, real, search, site
from tests.bench.clock import PROJECT, Table
from tests.support.certificates import make_certificates

STEPS = ("spack", "wire", "pacing", "growth", "memory", "site", "jekyll", "search")
OUT = PROJECT / "var" / "bench" / "results.json"


def main() -> None:
    """Run what is asked for; the exit code says whether every promise held."""
    parser = argparse.ArgumentParser(
        prog="nox -s bench --", description="Measure this cache against Spack's own push, and against the wire."
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes and one round: minutes instead of half an hour")
    parser.add_argument("only", nargs="*", metavar="STEP", help=f"measure this alone; may be several: {', '.join(STEPS)}")
    parser.add_argument("--docs", action="store_true", help="write docs/explanation/performance.md from the results")
    asked = parser.parse_args()
    if unknown := set(asked.only) - set(STEPS):
        parser.error(f"there is no step {sorted(unknown)[0]!r}: there are {', '.join(STEPS)}")
    if shutil.which("docker-registry") is None:
        sys.exit("docker-registry is needed, a registry to measure with: apt-get install docker-registry")
    table, rounds = Table(), 1 if asked.quick else 3
    # Not in /tmp, which is memory on some machines: gigabytes are written here.
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var", prefix="bench-") as name:
        folder = Path(name)
        steps: dict[str, Callable[[], None]] = {
            "spack": lambda: real.against_spack(table, folder / "spack", PROJECT / "var", make_certificates(folder), rounds=rounds),
            "wire": lambda: local.large_tarballs(table, folder / "wire", size=(50 if asked.quick else 500) << 20, count=4, rounds=rounds),
            "pacing": lambda: local.pacing(table, folder / "pacing", entries=100 if asked.quick else 600),
            "growth": lambda: local.growth(
                table, folder / "growth", sizes=(100, 1000) if asked.quick else (100, 1000, 10000), rounds=rounds
            ),
            "memory": lambda: local.memory(table, folder / "memory", entries=1000 if asked.quick else 10000),
            "site": lambda: site.rendering(table, folder / "site", sizes=(1000, 10000) if asked.quick else (1000, 10000, 100000)),
            "jekyll": lambda: jekyll.against_jekyll(table, folder / "jekyll", size=1000, rounds=rounds),
            "search": lambda: search.searching(table, folder / "search", size=100000),
        }
        for step in asked.only or steps:
            (folder / step).mkdir(exist_ok=True)
            try:
                steps[step]()
            except InstallError as error:
                print(f"{step} is left out: {error.message.splitlines()[0]}")
            shutil.rmtree(folder / step, ignore_errors=True)
    about = {
        "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count() or 1, "rounds": rounds, "quick": asked.quick,
    }  # fmt: skip
    table.write(OUT, about)
    print(f"results: {OUT}")
    if asked.docs:
        write_atomically(PROJECT / "docs/explanation/performance.md", page.page(table.rows, about))
    sys.exit(any(row.holds is False for row in table.rows))


if __name__ == "__main__":
    main()
