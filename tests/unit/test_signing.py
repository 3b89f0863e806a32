"""The site hands the public keys out, where Spack and the API look for them; those that are revoked only as revoked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jsonschema

from cachelib.model.config import Site
from cachelib.model.signing import Key, PublicKey
from cachelib.steps.api.schema import api_schema
from cachelib.steps.rendering import SiteImage, render
from cachelib.tools.templates import JinjaTemplates
from tests.support.mirrors import make_catalog, make_node

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
GOOD, REVOKED = "A" * 40, "B" * 40


def test_the_site_hands_out_keys() -> None:
    keys = tuple(
        PublicKey(key=Key(fingerprint=name, user_id="me", created="2026-01-02T03:04:05Z", revoked=name == REVOKED), data=name.encode())
        for name in (GOOD, REVOKED)
    )
    catalog = make_catalog([make_node("zlib")])
    image = SiteImage(name="v1.1", mirror_url="oci://h/r/v1.1", reference="h/r/v1.1", catalog=catalog, keys=keys)
    found = list(render(Site(url="https://x.org/c"), [image], TEMPLATES))
    files = {path.as_posix(): data for path, data in found}
    assert len(files) == len(found)
    assert (files[f"keys/{GOOD}.pub"], files[f"keys/{REVOKED}.pub"]) == (GOOD.encode(), REVOKED.encode())
    service = json.loads(files["api/v1/index.json"])
    jsonschema.validate(service, api_schema())
    assert {key["fingerprint"]: (key["path"], key["revoked"]) for key in service["signingKeys"]} == {
        GOOD: (f"../../keys/{GOOD}.pub", False),
        REVOKED: (f"../../keys/{REVOKED}.pub", True),
    }
    assert json.loads(files["manifest/index.html"])["keys"] == [f"https://x.org/c/keys/{GOOD}.pub"]
    # As `spack buildcache keys` goes: the index, the key's manifest, its blob.
    blob = json.loads(files["v1.1/v3/manifests/key/keys.manifest.json"])["data"][0]["checksum"]
    assert json.loads(files[f"v1.1/blobs/sha256/{blob[:2]}/{blob}"]) == {"keys": {GOOD: {}}}
    blob = json.loads(files[f"v1.1/v3/manifests/key/{GOOD}.key.manifest.json"])["data"][0]["checksum"]
    assert blob == hashlib.sha256(files[f"v1.1/blobs/sha256/{blob[:2]}/{blob}"]).hexdigest()
    assert f"v1.1/v3/manifests/key/{REVOKED}.key.manifest.json" not in files
