"""Benchmarks that need no Spack: bytes on the wire, pacing, growth, memory."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord
from tests.bench.clock import Row, Table, alternate, invoke, peak, seconds
from tests.bench.wire import put_all, sha256
from tests.support.docker_registry import running
from tests.support.mirrors import add_entry, make_node
from tests.support.proxy import fault_proxy
from tests.support.scale import made_mirror

_PIN = {"version": "v1.1.0", "commit": "0" * 40}


def settings(folder: Path, **more: object) -> str:
    """A cache.yaml for a folder; its mirror is var/mirror/v1.1."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = {"spack": _PIN, "packages": _PIN, "specs": ["none"], "retention": {"newest": 1, "max_size": "1 TB"}}
    path = folder / "cache.yaml"
    path.write_text(yaml.safe_dump({"registry": "oci-layout:var/registry", "stacks": {"bench": stack}, **more}), encoding="utf-8")
    return str(path)


def large_tarballs(table: Table, folder: Path, *, size: int, count: int, rounds: int) -> None:
    """A few large tarballs, against a minimal client that PUTs the same bytes to the same registry."""
    config, mirror = settings(folder), folder / "var/mirror/v1.1"
    for at in range(count):
        _large_entry(mirror, f"big{at}", size)
    blobs = sorted(mirror.glob("blobs/sha256/*/*"), key=lambda path: path.stat().st_size)[-count:]
    with running(folder) as server:
        # The build remembers what is in a tarball; so does this first push, which is not measured.
        invoke("push", "--config", config, "--to", f"{server.url}/warm/up")

        def ours(number: int) -> float:
            shutil.rmtree(server.data / "docker/registry/v2", ignore_errors=True)
            return seconds(lambda: invoke("push", "--config", config, "--to", f"{server.url}/ours/r{number}", "--jobs", str(count)))

        def raw(number: int) -> float:
            shutil.rmtree(server.data / "docker/registry/v2", ignore_errors=True)
            return seconds(lambda: put_all(server.host, f"raw/r{number}", blobs, jobs=count))

        start = _start_up(config)
        mine, wire = alternate([ours, raw], rounds)
        total = sum(path.stat().st_size for path in blobs)
        ratio = wire / (mine - start)
        table.add(
            Row(
                name=f"{total / 1e9:.1f} GB in {count} tarballs, pushed", ours=mine - start, theirs=wire, unit="s", ratio=ratio,
                promise=">= 0.9 of raw PUT", holds=ratio >= 0.9, note=f"start-up of {start:.2f} s taken off",
            )
        )  # fmt: skip


def _start_up(config: str) -> float:
    """What a task costs before it does anything."""
    return alternate([lambda _: seconds(lambda: invoke("config", "--config", config))], 3)[0]


def _large_entry(mirror: Path, name: str, size: int) -> None:
    """An entry whose tarball has so many bytes, of content that doesn't compress."""
    path = mirror / "making"
    path.parent.mkdir(parents=True, exist_ok=True)
    block = os.urandom(1 << 20)
    with gzip.open(path, "wb", compresslevel=0) as out, tarfile.open(fileobj=out, mode="w|") as tar:
        tar.addfile(tarfile.TarInfo(f"opt/{name}/.spack/spec.json"))
        info = tarfile.TarInfo(f"opt/{name}/data")
        info.size = size
        tar.addfile(info, _Blocks(block))  # type: ignore[arg-type]
    manifest = add_entry(mirror, [make_node(name)])
    digest = Digest(sha256(path))
    blob = BlobRecord(media_type="application/vnd.spack.install.v2.tar+gzip", digest=digest, size=path.stat().st_size, compression="gzip")
    data = json.loads(manifest.read_text())
    data["data"] = [blob.json(), data["data"][1]]
    manifest.write_text(json.dumps(data))
    target = mirror / "blobs/sha256" / digest.hex[:2] / digest.hex
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


class _Blocks:
    def __init__(self, block: bytes) -> None:
        self._block = block

    def read(self, count: int) -> bytes:
        return (self._block * (count // len(self._block) + 1))[:count]


def pacing(table: Table, folder: Path, *, entries: int) -> None:
    """Against a limiter like ghcr.io's: 2,000 requests a minute, and 429 past that."""
    config = settings(folder, requests_per_second=32.5)
    made_mirror(folder / "var/mirror/v1.1", entries)
    with running(folder) as server, fault_proxy(server.host, requests_per_minute=2000, burst=32) as proxy:
        to = f"oci+http://{proxy.host}/a/b"
        # Start-up, and reading the mirror, are no requests.
        before = seconds(lambda: invoke("push", "--config", config, "--to", to, "--dry-run"))
        proxy.requests.clear()
        taken = seconds(lambda: invoke("push", "--config", config, "--to", to)) - before
        allowed = 2000 / 60 * taken
        share = len(proxy.requests) / allowed
        table.add(
            Row(name="answers of 429 behind a limit of 2,000 a minute", ours=proxy.refused, theirs=None, unit="", promise="0",
                holds=proxy.refused == 0)
        )  # fmt: skip
        table.add(
            Row(name="requests, of those that the limit allows", ours=len(proxy.requests), theirs=allowed, unit="", ratio=share,
                promise=">= 0.95", holds=share >= 0.95)
        )  # fmt: skip


def growth(table: Table, folder: Path, *, sizes: tuple[int, ...], rounds: int) -> None:
    """An index run after ten new entries, in caches of several sizes: its time, and its requests beside the tag list."""
    found: dict[int, tuple[float, int, float]] = {}
    for size in sizes:
        found[size] = _index_after_ten(folder / str(size), size, rounds)
        table.add(
            Row(
                name=f"index after 10 new entries on {size:,}",
                ours=found[size][0],
                theirs=None,
                unit="s",
                note=f"{found[size][1]} requests",
            )
        )
        table.add(Row(name=f"index with nothing new on {size:,}", ours=found[size][2], theirs=None, unit="s"))
    if 1000 in found and 10000 in found:
        for name, at in (("time", 0), ("requests", 1)):
            ratio = found[10000][at] / found[1000][at]
            table.add(
                Row(name=f"index after 10 new entries, {name}: 10,000 against 1,000", ours=found[10000][at], theirs=found[1000][at],
                    unit="s" if name == "time" else "", ratio=ratio, promise="<= 1.5", holds=ratio <= 1.5)
            )  # fmt: skip


def _index_after_ten(folder: Path, size: int, rounds: int) -> tuple[float, int, float]:
    config, mirror = settings(folder), folder / "var/mirror/v1.1"
    made_mirror(mirror, size)
    with running(folder) as server, fault_proxy(server.host) as proxy:
        direct, counted = f"{server.url}/a/b", f"oci+http://{proxy.host}/a/b"
        _publish(config, direct)
        times, requests = [], 0
        for number in range(rounds):
            made_mirror(mirror, size + 10 * (number + 1), start=size + 10 * number)
            invoke("push", "--config", config, "--to", direct)
            times.append(seconds(lambda: invoke("index", "--config", config, "--to", direct)))
        idle = alternate([lambda _: seconds(lambda: invoke("index", "--config", config, "--to", direct))], rounds)[0]
        made_mirror(mirror, size + 10 * (rounds + 1), start=size + 10 * rounds)
        invoke("push", "--config", config, "--to", direct)
        proxy.requests.clear()
        invoke("index", "--config", config, "--to", counted)
        requests = sum("/tags/list" not in request for request in proxy.requests)
    return sorted(times)[len(times) // 2], requests, idle


def _publish(config: str, to: str) -> None:
    invoke("push", "--config", config, "--to", to, "--jobs", "32")
    invoke("index", "--config", config, "--to", to, "--jobs", "32")


def memory(table: Table, folder: Path, *, entries: int) -> None:
    """The peak of each step on many entries, to and from a directory."""
    config = settings(folder)
    made_mirror(folder / "var/mirror/v1.1", entries)
    steps: list[tuple[str, Callable[[], list[str]]]] = [
        ("push", lambda: ["push", "--config", config]),
        ("push again", lambda: ["push", "--config", config]),
        ("index", lambda: ["index", "--config", config]),
        ("index --full", lambda: ["index", "--config", config, "--full"]),
        ("render", lambda: ["render", "--config", config]),
        ("verify", lambda: ["verify", "--config", config]),
        ("pull", lambda: ["pull", "--config", config, "--out", str(folder / "pulled")]),
        ("prune", lambda: ["prune", "--config", config, "--grace", "0"]),
    ]
    for name, arguments in steps:
        start = time.perf_counter()
        found = peak(*arguments(), folder=folder)
        note = f"{time.perf_counter() - start:.0f} s"
        table.add(
            Row(
                name=f"memory of `{name}`, {entries:,} entries",
                ours=found,
                theirs=None,
                unit="MiB",
                promise="<= 300",
                holds=found <= 300,
                note=note,
            )
        )
