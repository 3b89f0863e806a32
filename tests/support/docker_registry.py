"""Debian's docker-registry as a server of the tests: plain or TLS, open, by password or by token."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.certificates import Certificates
from tests.support.tokens import TokenIssuer, root_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running registry: `host` as in oci://HOST/NAME, and where its files lie."""

    host: str
    tls: bool
    data: Path
    log: Path

    def requests(self) -> int:
        """How many requests it has answered; only one that runs with `counted` knows."""
        return sum(b"http.request.method" in line and b"response completed" in line for line in self.log.read_bytes().splitlines())

    @property
    def url(self) -> str:
        """The place as this project and Spack write it, without a name."""
        return f"{'oci' if self.tls else 'oci+http'}://{self.host}"


@contextmanager
def running(
    folder: Path,
    *,
    certificates: Certificates | None = None,
    htpasswd: Path | None = None,
    issuer: TokenIssuer | None = None,
    counted: bool = False,
) -> Iterator[Server]:
    """Run a registry on a free port of 127.0.0.1, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}"}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info" if counted else "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": http,
    }
    if certificates is not None:
        http["tls"] = {"certificate": str(certificates.certificate), "key": str(certificates.key)}
    if htpasswd is not None:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
    if issuer is not None and certificates is not None:
        bundle = root_bundle(folder, certificates)
        config["auth"] = {"token": {"realm": issuer.url, "service": "registry", "issuer": "tests", "rootcertbundle": str(bundle)}}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    log = (folder / "registry.log").open("wb")
    process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, certificates)
        yield Server(host=f"127.0.0.1:{port}", tls=certificates is not None, data=data, log=folder / "registry.log")
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int, certificates: Certificates | None) -> None:
    scheme = "https" if certificates else "http"
    for _ in range(100):
        if process.poll() is not None:
            raise RuntimeError("docker-registry did not start")
        try:
            requests.get(f"{scheme}://127.0.0.1:{port}/v2/", timeout=2, verify=str(certificates.authority) if certificates else True)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("docker-registry does not answer")
