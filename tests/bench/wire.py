"""The least client there can be: POST and PUT of files over kept connections, as the limit of what a wire carries."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit


def put_all(host: str, repository: str, files: list[Path], *, jobs: int) -> None:
    """Upload files as blobs, their digests known beforehand from their names."""
    connections: dict[int, HTTPConnection] = {}

    def put(path: Path) -> None:
        connection = HTTPConnection(host, blocksize=1 << 20)
        try:
            connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
            answer = connection.getresponse()
            answer.read()
            where = urlsplit(answer.headers["Location"])
            with path.open("rb") as file:
                connection.request(
                    "PUT", f"{where.path}?{where.query}&digest=sha256:{path.name}", body=file,
                    headers={"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"},
                )  # fmt: skip
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise RuntimeError(f"PUT: {answer.status}")
        finally:
            connection.close()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(put, files))
    connections.clear()


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
