"""Renders catalogs into a site: pages for people, JSON for programs, Spack's index. A pure function of its input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.config import Site
from cachelib.model.database import index_files
from cachelib.model.digest import Digest
from cachelib.model.ports import File, Templates
from cachelib.model.spec import ConcreteSpec, Node, format_node
from cachelib.model.version import version_key
from cachelib.steps.api_schema import api_schema
from cachelib.steps.image import PREFIX

#: The major version stands in the path; the minor one counts additions. Readers ignore keys they don't know.
API_VERSION = "1.0"
API = PurePosixPath("api/v1")
_OCI = "org.opencontainers.image."


#: A dependency of a build as its page lists it: name, DAG hash, whether it is published, and the path of its page.
Dependency = tuple[str, str, bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteImage:
    """One image of the cache: its name, where Spack finds it, and what it holds."""

    name: str
    mirror_url: str
    reference: str
    catalog: Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One published spec, as page and API show it. Sizes are in bytes."""

    image: str
    hash: str
    name: str
    version: str
    spec: str
    variants: str
    target: str
    os: str
    platform: str
    compilers: tuple[str, ...]
    libc: str
    size: int
    image_size: int
    digest: str
    reference: str
    created: str
    seconds: float | None
    run: str
    dependencies: tuple[Dependency, ...]

    def json(self) -> dict[str, Any]:
        """The build as the API tells it."""
        return {
            "hash": self.hash,
            "image": self.image,
            "name": self.name,
            "version": self.version,
            "spec": self.spec,
            "target": self.target,
            "os": self.os,
            "platform": self.platform,
            "compilers": list(self.compilers),
            "libc": self.libc,
            "size": self.size,
            "imageSize": self.image_size,
            "digest": self.digest,
            "reference": self.reference,
            "created": self.created or None,
            "buildSeconds": self.seconds,
            "run": self.run or None,
            "dependencies": [{"name": name, "hash": h, "cached": cached} for name, h, cached, _ in self.dependencies],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All builds of one name, newest version first."""

    name: str
    description: str
    homepage: str
    license: str
    builds: tuple[Build, ...]

    @property
    def path(self) -> str:
        """The name as a path of the site."""
        return page_path(self.name)

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(build.version for build in self.builds))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(sorted({build.target for build in self.builds}))

    def summary(self) -> dict[str, Any]:
        """The package as a line of a list."""
        return {
            "name": self.name,
            "path": self.path,
            "description": self.description,
            "versions": list(self.versions),
            "targets": list(self.targets),
            "builds": len(self.builds),
        }


def render(site: Site, images: Iterable[SiteImage], templates: Templates) -> Iterator[File]:
    """Every file of the site. The same input gives the same bytes, whenever and wherever it is rendered."""
    images = tuple(sorted(images, key=lambda image: image.name))
    packages = _packages(images)
    builds = sum(len(package.builds) for package in packages)
    size = sum({entry.tarball.digest: entry.tarball.size for image in images for entry in image.catalog.entries.values()}.values())
    common = {"site": site, "images": images, "packages": packages, "builds": builds, "size": size}
    for name, data in _api(images, packages, builds, size).items():
        yield API / name, data
    for image in images:
        for path, data in index_files(image.catalog.database.data()):
            yield PurePosixPath(image.name) / path, data
    yield PurePosixPath("assets/style.css"), templates.asset("site/style.css")
    yield PurePosixPath("assets/site.js"), templates.asset("site/site.js")
    yield PurePosixPath("index.html"), templates.render("site/index.html", {**common, "root": "", "page": "front"})
    yield PurePosixPath("packages/index.html"), templates.render("site/packages.html", {**common, "root": "../", "page": "packages"})
    for package in packages:
        values: dict[str, object] = {**common, "root": "../../", "page": "package", "package": package}
        yield PurePosixPath("packages", package.path, "index.html"), templates.render("site/package.html", values)
    # The page for what isn't there is shown at any depth, so its links start at the site's root.
    root = f"{site.url.rstrip('/')}/" if site.url else "/"
    yield PurePosixPath("404.html"), templates.render("site/404.html", {**common, "root": root, "page": "404"})


def _api(images: tuple[SiteImage, ...], packages: tuple[Package, ...], builds: int, size: int) -> dict[str, bytes]:
    service = {
        "packages": len(packages),
        "builds": builds,
        "size": size,
        "images": [
            {
                "name": image.name,
                "mirror": image.mirror_url,
                "builds": len(image.catalog.entries),
                "spackIndex": f"{image.name}/v3/manifests/index/index.manifest.json",
                "spackIndexDigest": str(Digest.of(image.catalog.database.data())),
            }
            for image in images
        ],
        "links": {"packages": "packages.json", "package": "packages/{path}.json", "schema": "schema.json"},
    }
    files = {
        "index.json": _body("service", service),
        "packages.json": _body("packages", {"packages": [package.summary() for package in packages]}),
        "schema.json": _json(api_schema()),
    }
    for package in packages:
        about = {"name": package.name, "description": package.description, "homepage": package.homepage, "license": package.license}
        files[f"packages/{package.path}.json"] = _body("package", about | {"builds": [build.json() for build in package.builds]})
    return files


def _body(kind: str, data: Mapping[str, Any]) -> bytes:
    return _json({"meta": {"api": API_VERSION, "kind": kind}, **data})


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _packages(images: tuple[SiteImage, ...]) -> tuple[Package, ...]:
    by_name: dict[str, list[tuple[Build, CatalogEntry]]] = {}
    for image in images:
        shared: dict[str, Dependency] = {}  # builds share most of their dependencies: each is held once
        for entry in image.catalog.entries.values():
            spec = image.catalog.spec(entry.hash)
            by_name.setdefault(spec.root.name, []).append((_build(image, entry, spec, shared), entry))
    return tuple(_package(name, found) for name, found in sorted(by_name.items()))


def _package(name: str, found: list[tuple[Build, CatalogEntry]]) -> Package:
    found.sort(key=lambda pair: (pair[0].image, pair[0].target, pair[0].hash))
    found.sort(key=lambda pair: version_key(pair[0].version), reverse=True)
    # What the newest build says of its package holds for the name.
    about = found[0][1].annotations
    return Package(
        name=name,
        description=about.get(f"{_OCI}description", ""),
        homepage=_web(about.get(f"{_OCI}url", "")),
        license=about.get(f"{_OCI}licenses", ""),
        builds=tuple(build for build, _ in found),
    )


def _build(image: SiteImage, entry: CatalogEntry, spec: ConcreteSpec, shared: dict[str, Dependency]) -> Build:
    root, about = spec.root, entry.annotations
    line = format_node(root.raw)
    return Build(
        image=image.name,
        hash=entry.hash,
        name=root.name,
        version=root.version,
        spec=line,
        variants=_variants(line),
        target=root.target,
        os=root.os,
        platform=root.platform,
        compilers=spec.compilers(),
        libc=spec.libc(),
        size=entry.tarball.size,
        image_size=entry.layers_size,
        digest=str(entry.manifest.digest),
        reference=f"{image.reference}:{entry.tag}",
        created=about.get(f"{_OCI}created", ""),
        seconds=_seconds(about.get(f"{PREFIX}build.seconds", "")),
        run=_web(about.get(f"{PREFIX}build.run", "")),
        dependencies=tuple(
            shared.get(node.hash) or shared.setdefault(node.hash, _dependency(node, image.catalog)) for node in spec.runtime_closure()[:-1]
        ),
    )


def _dependency(node: Node, catalog: Catalog) -> Dependency:
    return node.name, node.hash, node.hash in catalog.entries, page_path(node.name)


def page_path(name: str) -> str:
    """A package's name as a path.

    Names with capitals are marked, as some disks don't tell them from small letters; so are names with dots, which could
    be those of files of the site itself.
    """
    plain = name == name.lower() and "." not in name
    return name if plain else f"{name.lower()}.{Digest.of(name.encode()).hex[:8]}"


def _variants(line: str) -> str:
    return " ".join(part for part in line.split(" ")[1:] if not part.startswith(("arch=", "build_system=")))


def _web(url: str) -> str:
    """A link, if it is one that a page may hold."""
    return url if url.startswith(("https://", "http://")) else ""


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
