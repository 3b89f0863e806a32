"""Benchmarks against real Spack: the same specs, the same registry, one run.

The specs are real ones, concretized from Spack's own recipes and installed with `--fake`: real DAGs, no sources.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import yaml

from cachelib import pipeline
from cachelib.pipeline.concretize import Concretizer
from cachelib.pipeline.installing import prepare_spack
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Spack
from tests.bench.clock import PROJECT, Row, Table, alternate, invoke, seconds
from tests.support import real_stack
from tests.support.certificates import Certificates
from tests.support.docker_registry import running
from tests.support.proxy import delay_proxy
from tests.support.scale import made_mirror


class RealSpack:
    """A Spack with a hundred and more fake installs of real specs."""

    def __init__(self, folder: Path, shared: Path) -> None:
        pins = yaml.safe_load((PROJECT / "cache.yaml").read_text(encoding="utf-8"))["stacks"]["examples"]
        stack = {"spack": pins["spack"], "packages": pins["packages"], "targets": pins["targets"], "padding": 0} | real_stack.settings()
        folder.mkdir(parents=True, exist_ok=True)
        self.config = str(folder / "cache.yaml")
        Path(self.config).write_text(yaml.safe_dump({"registry": "oci-layout:var/registry", "stacks": {"bench": stack}}), encoding="utf-8")
        ws = pipeline.open_workspace(self.config, shared=str(shared))
        name, settings = ws.stack("")
        self.spack, _ = prepare_spack(ws, settings, name, "")
        self.mirror = ws.mirror(settings.image_name).root
        concretizer = Concretizer(
            ws=ws, spack=self.spack, name=name, stack=settings, mirror=DiskMirror(self.mirror), location=ws.location("")
        )
        made = concretizer.concretize(settings.specs, asked=False, every=False)
        self.env, lock = made.env, made.lock
        if lock is None or made.rejected:
            raise RuntimeError(f"not concretized: {made.rejected}")
        self.must("install", "--fake", "--only-concrete", "--no-check-signature")
        self.hashes = [f"/{node.hash}" for node in lock.buildable() if node.name != real_stack.UNPUSHABLE]

    def must(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run Spack in the environment; raise where it fails."""
        done = self.spack.run("-e", str(self.env), *arguments, env=env)
        if done.code:
            raise RuntimeError(f"spack {' '.join(arguments)[:200]}: {done.text[-3000:]}")
        return done.text


def against_spack(table: Table, folder: Path, shared: Path, certificates: Certificates, *, rounds: int) -> None:
    """First push over a long road, the whole road, pushing again, and the index after ten more on a thousand."""
    real = RealSpack(folder / "real", shared)
    ca = {"SSL_CERT_FILE": str(certificates.authority)}
    os.environ["REQUESTS_CA_BUNDLE"] = str(certificates.authority)
    count = len(real.hashes)

    def push_spack(to: str, *more: str) -> Callable[[int], float]:
        return lambda number: seconds(
            lambda: real.must("buildcache", "push", "--unsigned", "--only", "package", *more, f"{to}{number}", *real.hashes, env=ca)
        )

    def push_ours(to: str) -> Callable[[int], float]:
        return lambda number: seconds(lambda: invoke("push", "--config", real.config, "--to", f"{to}{number}"))

    real.must("buildcache", "push", "--unsigned", "--only", "package", str(real.mirror), *real.hashes)
    with running(folder, certificates=certificates) as server:
        archive = alternate([push_spack(f"{folder}/archive")], rounds)[0]
        with delay_proxy(server.host, 0.08) as far:
            ours, theirs = alternate([push_ours(f"oci://{far.host}/far/ours"), push_spack(f"oci://{far.host}/far/spack")], rounds)
        ratio = (theirs - archive) / ours
        table.add(
            Row(name=f"first push of {count} real specs, 80 ms away", ours=ours, theirs=theirs - archive, unit="s", ratio=ratio,
                promise=">= 5x", holds=ratio >= 5, note=f"Spack's {archive:.1f} s of archiving taken off")
        )  # fmt: skip

        def road(number: int) -> float:
            to, mirror = f"{server.url}/road/ours{number}", f"{folder}/road{number}"
            config = Path(real.config).with_name(f"road{number}")
            config.mkdir()
            (config / "cache.yaml").write_text(Path(real.config).read_text(encoding="utf-8"), encoding="utf-8")
            (config / "var/mirror").mkdir(parents=True)
            (config / "var/mirror/v1.1").symlink_to(mirror)
            return seconds(
                lambda: (
                    real.must("buildcache", "push", "--unsigned", "--only", "package", mirror, *real.hashes),
                    invoke(
                        "push",
                        "--config",
                        str(config / "cache.yaml"),
                        "--to",
                        to,
                        "index",
                        "--config",
                        str(config / "cache.yaml"),
                        "--to",
                        to,
                    ),
                )
            )

        whole, theirs = alternate([road, push_spack(f"{server.url}/road/spack", "--update-index")], rounds)
        ratio = theirs / whole
        table.add(
            Row(name=f"{count} installed specs to published and indexed, loopback", ours=whole, theirs=theirs, unit="s", ratio=ratio,
                promise=">= 1x", holds=ratio >= 1)
        )  # fmt: skip

        push_ours(f"{server.url}/same/ours")(0), push_spack(f"{server.url}/same/spack")(0)
        with delay_proxy(server.host, 0.08) as far:
            for where, host, promise in (("80 ms away", far.host, 20.0), ("loopback", server.host, 1.0)):
                again = [lambda _, h=host: push_ours(f"oci://{h}/same/ours")(0), lambda _, h=host: push_spack(f"oci://{h}/same/spack")(0)]
                ours, theirs = alternate(again, rounds)
                table.add(
                    Row(name=f"push again of {count} specs, all present, {where}", ours=ours, theirs=theirs, unit="s", ratio=theirs / ours,
                        promise=f">= {promise:g}x", holds=theirs / ours >= promise, note="" if promise > 1 else "start-up is all that is left of ours")
                )  # fmt: skip
        _index_of_a_thousand(table, folder / "thousand", real.spack, server.url, ca, rounds)


def _index_of_a_thousand(table: Table, folder: Path, spack: Spack, registry: str, ca: dict[str, str], rounds: int) -> None:
    from tests.bench.local import settings

    config, to = settings(folder), f"{registry}/thousand"
    mirror = folder / "var/mirror/v1.1"
    made_mirror(mirror, 1000)
    invoke("push", "--config", config, "--to", to, "index", "--config", config, "--to", to)

    def ours(number: int) -> float:
        made_mirror(mirror, 1010 + 10 * number, start=1000 + 10 * number)
        invoke("push", "--config", config, "--to", to)
        return seconds(lambda: invoke("index", "--config", config, "--to", to))

    def theirs(_: int) -> float:
        def update() -> None:
            done = spack.run("buildcache", "update-index", f"{to}/v1.1", env=ca)
            if done.code:
                raise RuntimeError(done.text[-3000:])

        return seconds(update)

    def full(_: int) -> float:
        return seconds(lambda: invoke("index", "--config", config, "--to", to, "--full"))

    def pull(number: int) -> float:
        out = str(folder / f"pulled{number}")
        return seconds(lambda: invoke("pull", "--config", config, "--to", to, "--out", out))

    mine, spacks, whole, pulled = alternate([ours, theirs, full, pull], rounds)
    ratio = spacks / mine
    table.add(
        Row(
            name="index after 10 new entries on 1,000", ours=mine, theirs=spacks, unit="s", ratio=ratio, promise=">= 20x", holds=ratio >= 20
        )
    )
    table.add(
        Row(
            name="index --full of 1,000, against Spack's update-index", ours=whole, theirs=spacks, unit="s", ratio=spacks / whole,
            promise=">= 1x", holds=spacks >= whole,
        )
    )  # fmt: skip
    table.add(Row(name="pull of 1,000 into a mirror", ours=pulled, theirs=None, unit="s", note="Spack copies no OCI cache back"))
