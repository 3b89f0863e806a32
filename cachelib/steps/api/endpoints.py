"""The endpoints of the API: the one table that service document, OpenAPI and tests take paths from."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HASH = "[a-z2-7]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What stands in a path: a regular expression that it fits, and what it is."""

    pattern: str
    about: str
    example: str


PARAMETERS = {
    "path": Parameter(
        pattern=r"[a-z0-9_][a-z0-9_.-]*", example="zlib",
        about="A package's name; marked where it holds capitals or dots. Lists give it as `path` or `package`.",
    ),
    "part": Parameter(pattern=r"[2-9]|[1-9][0-9]+", example="2", about="A further part of a package's builds: see its `more`."),
    "list": Parameter(pattern=r"first|[0-9a-f]{16}", example="first", about="A part of the list of packages: see the index."),
    "weather": Parameter(pattern=r"[0-9a-f]{16}", example="0" * 16, about="A stack on a kind of runner: see the index."),
    "prefix": Parameter(pattern=f"{_HASH}{{2}}", example="d7", about="The first two characters of a DAG hash."),
    "hash": Parameter(pattern=f"{_HASH}{{32}}", example="d7rkispaw64fota6oabqxiwvpu5wkgvm", about="A DAG hash."),
    "character": Parameter(pattern=_HASH, example="d", about="The first character of the dependent's DAG hash."),
    "page": Parameter(pattern=r"[1-9][0-9]*", example="1", about="A page, counted from the oldest."),
    "image": Parameter(pattern=r"[a-z0-9]+(?:[._-][a-z0-9]+)*", example="v1.1", about="The name of an image."),
    "file": Parameter(
        pattern=rf"[a-z0-9_.+-]+-{_HASH}{{32}}", example="linux-debian12-x86_64_v3-gcc-12.2.0-zlib-1.3.1-d7rkispaw64fota6oabqxiwvpu5wkgvm",
        about="As a build's `specFile` says.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One kind of body: `path` as OpenAPI writes it, `template` as RFC 6570 does, both relative to the service document."""

    kind: str
    path: str
    template: str = ""
    about: str
    more: str = ""

    @property
    def parameters(self) -> list[str]:
        """The names of what stands in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def fits(self, path: str) -> bool:
        """Whether a file is one of this endpoint."""
        pattern = re.escape(self.path)
        for name in self.parameters:
            pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?:{PARAMETERS[name].pattern})")
        return re.fullmatch(pattern, path) is not None


ENDPOINTS = (
    Endpoint(
        kind="service", path="index.json", about="The service document: begin here.",
        more="Counts, images, stacks, keys, the digest of what all of it was generated from, links to every other document with its "
        "digest, and the URI templates (RFC 6570) of what has no link of its own.",
    ),
    Endpoint(
        kind="packages", path="packages.json", about="The index of the list of packages.",
        more="The list is cut into files by name; `first` and `last` say where a name stands, the digest whether a file has changed.",
    ),
    Endpoint(
        kind="package-list", path="package-lists/{list}.json", about="A part of the list of packages, in the order of their names.",
        more="Each with the path and the digest of its own document.",
    ),
    Endpoint(
        kind="package", path="packages/{path}.json", template="packages/{path}.json", about="A package: what it is, and its builds.",
        more="The newest version first. Where there are many builds, `more` names the files with the others.",
    ),
    Endpoint(kind="package-builds", path="packages/{path}/{part}.json", about="Further builds of a package that has many."),
    Endpoint(
        kind="specs", path="specs.json", about="The index of the concrete specs.",
        more="The digest of every shard by its prefix: what a copy of the API has to fetch anew.",
    ),
    Endpoint(
        kind="spec-shard", path="specs/{prefix}.json", template="specs/{hash:2}.json",
        about="Concrete specs by DAG hash, and all that is known of their builds.",
        more="Each node of each DAG stands here once, as Spack writes it; its dependencies name others by DAG hash, found by the same "
        "template. `builds` is empty for what is not published: externals, and what only building took. "
        "`missing` names what a build needs at run time and nobody published.",
    ),
    Endpoint(
        kind="dependents", path="dependents.json", about="The index of the reverse dependencies.", more="As `specs.json` is of the specs."
    ),
    Endpoint(
        kind="dependent-shard", path="dependents/{prefix}.json", template="dependents/{hash:2}.json",
        about="The published specs that directly depend on a spec, by its DAG hash.",
        more="Where they are many, `parts` gives the digests of files that hold them, by their first character.",
    ),
    Endpoint(
        kind="dependent-part", path="dependents/{hash}/{character}.json", template="dependents/{hash}/{dependent:1}.json",
        about="Dependents of a spec that has many, by the first character of theirs.",
    ),
    Endpoint(kind="failures", path="failures.json", about="What fails: how much, the last ones, and the digests of the shards with all."),
    Endpoint(
        kind="failure-shard", path="failures/{prefix}.json", template="failures/{hash:2}.json",
        about="Failures by DAG hash, with their error lines.",
        more="`log` and `spec` are blobs in the registry, gzipped: the whole log and the concrete spec (`inv log`, `oras blob fetch`).",
    ),
    Endpoint(kind="recents", path="recents.json", about="The last builds, the newest first."),
    Endpoint(
        kind="history", path="history/{page}.json", template="history/{page}.json", about="All builds by time, the oldest first.",
        more="Pages are counted from the oldest, so one that is full stays as it is.",
    ),
    Endpoint(
        kind="weather", path="weather.json", about="How the stacks stand: what each wants against what is there.",
        more="On each kind of runner, as it was concretized last. What may not be given away, or is the machine's own, is not counted.",
    ),
    Endpoint(
        kind="weather-stack", path="weather/{weather}.json", about="How the requests of a stack stand, the worst first.",
        more="Of each what it needs at run time: how much of that is there, what fetching it takes, and what is missing and why.",
    ),
    Endpoint(kind="coverage", path="coverage.json", about="What there is by image, stack and target."),
    Endpoint(
        kind="compatibility", path="compatibility.json", about="On what the builds of each stack run: C library, distributions, CPUs.",
        more="By target. The C library is the newest that any of the builds was made with; `words` is the same as a sentence.",
    ),
    Endpoint(kind="compilers", path="compilers.json", about="What was built with each compiler."),
    Endpoint(kind="targets", path="targets.json", about="What was built for each target."),
    Endpoint(
        kind="spec-file", path="_cache/{image}/{file}.spec.json", about="A build's whole DAG, as a spec file of Spack's.",
        more="Spack takes it where it takes a spec (`./NAME.spec.json`). Of the newest builds: all would be more than a site may hold. "
        "A build's `specFile` says whether it has one; else its nodes are found by `spec-shard`.",
    ),
    Endpoint(
        kind="manifest", path="../../manifest/", about="As the first generation of this cache had it: binaries and where their specs are.",
        more="Served as text/html, as then. `url` is the image. It holds the builds that have a spec file, the newest ones.",
    ),
    Endpoint(
        kind="manifest-dates", path="../../manifest/dates/", about="As the first generation had it: where to look for a spec file.",
        more="`url_prefix`, one of `dates`, `/` and the name of a spec file give its address.",
    ),
)  # fmt: skip
