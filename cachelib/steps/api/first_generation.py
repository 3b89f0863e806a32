"""The two endpoints of the cache's first generation (autamus/spack-build-cache, 2021), in its shape: its client still finds its way.

That client (autamus/spack-build-cache-client, mirrors/ghcr.py) asks for `/manifest/dates/`, tries `url_prefix` and each of the dates
with a spec file's name, and takes keys from `/manifest/`. It splits addresses at `/_cache/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from cachelib.model.config import Site
from cachelib.model.site import Build, Contents, key_path, page_path
from cachelib.steps.api.spec_files import FOLDER, stem
from cachelib.steps.api.specs import Key
from cachelib.steps.api.text import API, API_VERSION, Document, Ref, encode

LIMIT = 1_900_000
MANIFEST, DATES = "../../manifest/index.html", "../../manifest/dates/index.html"


def first_generation(
    site: Site, contents: Contents, builds: Iterable[Build], spec_files: Mapping[Key, Ref], limit: int = LIMIT
) -> Iterator[Document]:
    """Both documents. The manifest lists as many builds as have a spec file, and as one file has room for, in the given order."""
    root = site.url.rstrip("/")
    keys = [*(f"{root}/{key_path(one.key.fingerprint)}" for one in contents.keys if not one.key.revoked), *site.keys]
    lines: list[bytes] = []
    for build in builds:
        spec_file = spec_files.get((build.image, build.hash))
        if spec_file is None:
            continue
        line = _line(root, build, spec_file)
        limit -= len(line) + 2
        if limit < 0:
            break
        lines.append(line)
    count = contents.builds
    head = {"meta": {"api": API_VERSION, "kind": "manifest", "count": count, "complete": len(lines) == count}, "keys": keys}
    yield Document(MANIFEST, b'%s,\n"packages": [%s]}\n' % (_spaced(head)[:-1], b",\n".join(lines)))
    dates = {
        "meta": {"api": API_VERSION, "kind": "manifest-dates"},
        "keys": keys,
        "branch": "",
        "subfolder": API.as_posix(),
        "url_prefix": f"{root}/{API.as_posix()}/{FOLDER}/",
        "dates": [image.name for image in contents.images],
    }
    yield Document(DATES, _spaced(dates) + b"\n")


def _line(root: str, build: Build, spec_file: Ref) -> bytes:
    return _harmless(encode({
        "name": f"{stem(build)}.spack",
        "spec": f"{root}/{API.as_posix()}/{spec_file.path}",
        "url": build.reference,
        "html_url": f"{root}/packages/{page_path(build.name)}/index.html#{build.hash}",
    }))  # fmt: skip


def _spaced(data: Mapping[str, object]) -> bytes:
    # A directory's file is served as text/html: nothing of it may be markup.
    return _harmless(json.dumps(data, ensure_ascii=True).encode())


def _harmless(data: bytes) -> bytes:
    """JSON in which no character begins a tag or an entity: browsers take the file for HTML."""
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
