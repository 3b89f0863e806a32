"""Makes the image of a container from values alone: its config, its manifest, and a layer of our own, for login shells and links."""

from __future__ import annotations

import copy
import gzip
import io
import re
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachelib.model.container import Choice
from cachelib.model.digest import Digest
from cachelib.model.image import BaseImage, Layer
from cachelib.model.oci import (
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    IMAGE_INDEX,
    LAYER_GZIP,
    Descriptor,
    ImageManifest,
    RawManifest,
    compact_json,
)
from cachelib.steps.containing import layer_of
from cachelib.steps.image import DESCRIPTION_LIMIT, LICENSE_LIMIT, PREFIX
from cachelib.steps.places import links

#: What tells that a tag is a container of ours, which the next one may replace.
CONTAINER = f"{PREFIX}container"
PROFILE = "etc/profile.d/spack-environment.sh"
_OCI = "org.opencontainers.image."
# image-spec, config.md: what runs where nothing else is said.
_SHELL = "/bin/sh"
#: Variables whose names end so are lists of folders.
_LISTS = ("PATH", "_DIRS", "LIB", "_LIBS")
_SYSTEM = ("/bin", "/sbin", "/usr/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerImage:
    """A container for one architecture, as bytes: config, the layer for login shells, manifest."""

    architecture: str
    config: bytes
    profile: bytes
    manifest: RawManifest
    config_descriptor: Descriptor
    profile_descriptor: Descriptor

    @property
    def is_docker(self) -> bool:
        """Whether it is in Docker's format, as its base is."""
        return self.manifest.media_type == DOCKER_MANIFEST


def make_image(choice: Choice, base: BaseImage, environments: Mapping[str, Mapping[str, str]], labels: Mapping[str, str]) -> ContainerImage:
    """The image of a container. `environments` are those of its packages' own images, by DAG hash."""
    docker = base.media_type == DOCKER_MANIFEST
    config: dict[str, Any] = copy.deepcopy(dict(base.config)) or {
        "architecture": choice.architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
    }  # fmt: skip
    given = config.get("config")
    runtime: dict[str, Any] = given if isinstance(given, dict) else {}
    before = read_env(runtime.get("Env"))
    own, env = merge(before, [environments[root.entry.hash] for root in choice.roots])
    tar = _top(own, links(environments, (part.entry.hash for part in choice.parts)))
    profile = gzip.compress(tar, mtime=0)
    layers = [layer_of(part) for part in choice.parts]
    top = Layer(digest=Digest.of(profile), size=len(profile), diff_id=Digest.of(tar))
    config["rootfs"]["diff_ids"] = [*config["rootfs"]["diff_ids"], *(str(layer.diff_id) for layer in (*layers, top))]
    # A base image's history tells of its layers alone; image-spec, config.md, asks that it tell of all or be left out.
    config.pop("history", None)
    config["config"] = runtime
    runtime["Env"] = [f"{key}={value}" for key, value in env.items()]
    runtime["Labels"] = {**(runtime.get("Labels") or {}), **labels}
    if not runtime.get("Cmd") and not runtime.get("Entrypoint"):
        runtime["Cmd"] = [_SHELL]
    if created := labels.get(f"{_OCI}created"):
        config["created"] = created
    data = compact_json(config)
    kind = DOCKER_LAYER_GZIP if docker else LAYER_GZIP
    described = Descriptor(media_type=base.config_media_type, digest=Digest.of(data), size=len(data))
    manifest = ImageManifest(
        media_type=base.media_type,
        config=described,
        layers=(*base.layers, *(layer.descriptor(kind) for layer in (*layers, top))),
        annotations={} if docker else labels,
    )
    return ContainerImage(
        architecture=choice.architecture, config=data, profile=profile, manifest=manifest.raw(), config_descriptor=described,
        profile_descriptor=top.descriptor(kind),
    )  # fmt: skip


def make_image_index(images: Sequence[ContainerImage], labels: Mapping[str, str]) -> RawManifest:
    """The image index of a container for several architectures (image-spec, image-index.md)."""
    docker = all(image.is_docker for image in images)
    kind = DOCKER_INDEX if docker else IMAGE_INDEX
    listed = [image.manifest.descriptor().json() | {"platform": {"architecture": image.architecture, "os": "linux"}} for image in images]
    data: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind, "manifests": listed}
    return RawManifest(media_type=kind, data=compact_json(data | ({} if docker else {"annotations": dict(labels)})))


def make_labels(choice: Choice, name: str, base: BaseImage, labels: Mapping[str, str]) -> dict[str, str]:
    """What a container tells of itself: OCI's keys, those of Spack's label schema (github.com/spack/label-schema), and ours.

    `labels` are the cache's own: its `vendor`, and its `source`.
    """
    roots = [root.spec.root for root in choice.roots]
    told = [root.entry.annotations for root in choice.roots]
    compilers = list(dict.fromkeys(compiler for root in choice.roots for compiler in root.spec.compilers()))
    licenses = list(dict.fromkeys(one[f"{_OCI}licenses"] for one in told if one.get(f"{_OCI}licenses")))
    names = ", ".join(f"{root.name}@{root.version}" for root in roots)
    oci = {
        "title": name or names,
        "version": roots[0].version if len(roots) == 1 else "",
        "description": (told[0].get(f"{_OCI}description", "") if len(roots) == 1 else names)[:DESCRIPTION_LIMIT],
        "licenses": (licenses[0] if len(licenses) == 1 else " AND ".join(f"({one})" for one in licenses))[:LICENSE_LIMIT],
        "url": told[0].get(f"{_OCI}url", "") if len(roots) == 1 else "",
        "source": labels.get("source", "") or told[0].get(f"{_OCI}source", ""),
        # Not this moment: the same builds on the same base are the same image.
        "created": max((one.get(f"{_OCI}created", "") for one in told), default=""),
        "vendor": labels.get("vendor", ""),
        "base.name": base.name,
    }
    schema = {"packages": ",".join(f"{root.name}@{root.version}" for root in roots), "compilers": ",".join(compilers)}
    if len(roots) == 1:
        schema |= {"package.name": roots[0].name, "package.version": roots[0].version}
    if len(compilers) == 1:
        schema |= dict(zip(("compiler.name", "compiler.version"), compilers[0].split("@", 1), strict=True))
    ours = {
        "container": name or names,
        "dag-hash": ",".join(root.hash for root in roots),
        "target": ",".join(dict.fromkeys(root.target for root in roots)),
        "os": ",".join(dict.fromkeys(root.os for root in roots)),
        "libc": ",".join(dict.fromkeys(filter(None, (root.spec.libc() for root in choice.roots)))),
    }
    keyed = {_OCI + key: value for key, value in oci.items()}
    keyed |= {f"org.spack.{key}": value for key, value in schema.items()} | {PREFIX + key: value for key, value in ours.items()}
    return {key: value for key, value in keyed.items() if value}


def read_env(items: object) -> dict[str, str]:
    """The environment of an image's config."""
    found = {}
    for item in items if isinstance(items, list) else ():
        key, _, value = str(item).partition("=")
        found[key] = value
    return found


def merge(base: Mapping[str, str], environments: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """What the packages add to the environment of a base, and all of it: their folders before the base's, the first package's first."""
    own: dict[str, str] = {}
    for env in environments:
        for key, value in env.items():
            if _is_list(key, value):
                held, there = own.get(key, "").split(":"), base.get(key, "").split(":")
                folders = dict.fromkeys(folder for folder in (*held, *value.split(":")) if folder and folder not in there)
                # What an image without a base says of PATH are a system's folders: they come last.
                own[key] = ":".join(sorted(folders, key=lambda folder: folder.startswith(_SYSTEM)))
            else:
                own[key] = value
    own = {key: value for key, value in own.items() if value}
    merged = {key: f"{value}:{base[key]}" if _is_list(key, value) and base.get(key) else value for key, value in own.items()}
    return own, {**base, **merged}


def _is_list(name: str, value: str) -> bool:
    """Whether a variable is a list of folders, as PATH is. MANPATH may end in a colon, which means: and where one looks anyway."""
    return name.endswith(_LISTS) and all(part.startswith("/") or not part for part in value.split(":"))


def _top(own: Mapping[str, str], moved: Mapping[str, str]) -> bytes:
    """A tarball with a script for login shells, which set PATH anew, and with links from where packages are looked for to where they lie.

    The same gives the same bytes.
    """
    lines = ["# The environment of the packages in this container; made by the cache that they come from."]
    for key, value in sorted(own.items()):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            continue
        if _is_list(key, value):
            first = shlex.quote(value.split(":")[0])
            lines.append(f'case ":${key}:" in *:{first}:*) ;; *) export {key}={shlex.quote(value)}"${{{key}:+:${key}}}" ;; esac')
        else:
            lines.append(f"export {key}={shlex.quote(value)}")
    data = ("\n".join(lines) + "\n").encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT if moved else tarfile.USTAR_FORMAT) as tar:
        folder, names = "", PROFILE.split("/")
        for name in names[:-1]:
            folder = f"{folder}{name}/"
            tar.addfile(_member(folder.rstrip("/"), tarfile.DIRTYPE, 0o755))
        tar.addfile(_member(PROFILE, tarfile.REGTYPE, 0o644, len(data)), io.BytesIO(data))
        for path, there in sorted(moved.items()):
            link = _member(path.lstrip("/"), tarfile.SYMTYPE, 0o777)
            link.linkname = there
            tar.addfile(link)
    return file.getvalue()


def _member(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size = kind, mode, size
    return member
