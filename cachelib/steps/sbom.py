"""The software bill of materials of a build: an SPDX 2.3 document, from its concrete spec alone. The same build gives the same bytes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

from license_expression import ExpressionError, get_spdx_licensing

from cachelib.model.catalog import CatalogEntry
from cachelib.model.spec import RUNTIME, ConcreteSpec, Edge, Node, format_node
from cachelib.model.text import printable
from cachelib.steps.image import PREFIX

#: What the document is called by registries and their clients (iana.org/assignments/media-types, application/spdx+json).
SPDX = "application/spdx+json"
_OCI = "org.opencontainers.image."
_UNKNOWN = "NOASSERTION"
#: SPDX wants a moment; of what tells none, the first there is.
_NO_MOMENT = "1970-01-01T00:00:00Z"


def spdx_document(spec: ConcreteSpec, entry: CatalogEntry) -> bytes:
    """The SPDX document of a published build: it, all that it needs where it runs, and all that it was built with."""
    root, told = spec.root, entry.annotations
    name = f"{root.name}-{root.version}-{root.hash}"
    space = f"{told.get(f'{_OCI}source', '')}/{entry.tag}@{entry.manifest.digest}"
    creators = ["Tool: spack-build-cache", *([f"Organization: {_line(told[f'{_OCI}vendor'])}"] if told.get(f"{_OCI}vendor") else [])]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        # SPDX 2.3, 6.5: unique to the document, and no address that need exist.
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, space)}",
        "creationInfo": {"created": _moment(told.get(f"{_OCI}created", "")), "creators": creators},
        "documentDescribes": [_id(root)],
        "packages": [_package(node, entry if node.hash == root.hash else None) for node in spec.nodes.values()],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": _id(root)},
            *(
                line
                for node in spec.nodes.values()
                for edge in node.dependencies
                for line in _relationships(node, spec.nodes[edge.hash], edge)
            ),
        ],
    }
    return json.dumps(document, indent=1).encode()


def _package(node: Node, entry: CatalogEntry | None) -> dict[str, Any]:
    """A package of the document (SPDX 2.3, clause 7). Of the root the licence, the page and the tarball are known."""
    told = entry.annotations if entry else {}
    made: dict[str, Any] = {
        "SPDXID": _id(node),
        "name": node.name,
        "versionInfo": node.version,
        "supplier": _UNKNOWN,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": declared_license(told.get(f"{_OCI}licenses", "")),
        "copyrightText": _UNKNOWN,
        "comment": ("taken from the machine that built it: " if node.external else "") + format_node(node.raw) + f" /{node.hash}",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:generic/{quote(node.name, safe='')}@{quote(node.version, safe='')}",
            }
        ],
    }
    if entry is not None:
        made["checksums"] = [{"algorithm": "SHA256", "checksumValue": entry.tarball.digest.hex}]
        if description := told.get(f"{_OCI}description"):
            made["description"] = _line(description)
        if re.fullmatch(r"https?://[!-~]+", told.get(f"{_OCI}url", "")):
            made["homepage"] = told[f"{_OCI}url"]
        if commit := told.get(f"{PREFIX}packages.commit"):
            made["sourceInfo"] = f"recipe of spack-packages {_line(commit)}, built by Spack {_line(told.get(f'{PREFIX}spack.version', ''))}"
    return made


def _relationships(node: Node, other: Node, edge: Edge) -> Iterator[dict[str, str]]:
    """What a dependency is (SPDX 2.3, clause 11): needed where it runs, or only where it is built or tested."""
    if edge.deptypes & RUNTIME:
        yield {"spdxElementId": _id(node), "relationshipType": "DEPENDS_ON", "relatedSpdxElement": _id(other)}
    elif "build" in edge.deptypes:
        yield {"spdxElementId": _id(other), "relationshipType": "BUILD_DEPENDENCY_OF", "relatedSpdxElement": _id(node)}
    elif "test" in edge.deptypes:
        yield {"spdxElementId": _id(other), "relationshipType": "TEST_DEPENDENCY_OF", "relatedSpdxElement": _id(node)}


def declared_license(text: str) -> str:
    """A licence as SPDX has it; what is no expression of licences that SPDX lists is told to be unknown."""
    try:
        # Strictly, as validators do: an exception stands behind a WITH, and nowhere else (SPDX 2.3, annex D).
        parsed = _licensing().parse(text, validate=True, strict=True)
        told = "" if parsed is None else str(parsed.render())
    except (ExpressionError, ValueError, TypeError, AttributeError, RecursionError):
        return _UNKNOWN
    # The library knows names of others' lists too, which a document would have to explain (clause 10).
    return told if told and "LicenseRef-" not in told else _UNKNOWN


@cache
def _licensing() -> Any:
    return get_spdx_licensing()


def _id(node: Node) -> str:
    """SPDX 2.3, 3.2: letters, digits, dots and hyphens; the DAG hash keeps two of a name apart."""
    return f"SPDXRef-{re.sub(r'[^A-Za-z0-9.-]', '-', node.name)}-{node.hash}"


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def _moment(text: str) -> str:
    return text if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) else _NO_MOMENT
