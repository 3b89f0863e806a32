"""Requests and ranges of versions mean here what they mean to Spack: a pin that is read in another way protects nothing."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.request import parse_request
from cachelib.model.spec import ConcreteSpec, parse_spec
from cachelib.model.version import check_version, in_range
from tests.e2e.conftest import Client
from tests.support.mirrors import make_node

ASK = """
import json, sys
from spack.spec import Spec
from spack.version import Version, ver
asked = json.load(open(sys.argv[1]))
def answer(ask):
    try:
        return bool(ask())
    except Exception:
        return None
spec = Spec.from_dict(asked["spec"])
json.dump({
    "versions": [answer(lambda: Version(version).satisfies(ver(wanted))) for version, wanted in asked["versions"]],
    "requests": [answer(lambda: spec.satisfies(Spec(text))) for text in asked["requests"]],
}, open(sys.argv[2], "w"))
"""
NODE = make_node("hdf5", "1.14.3", parameters={
    "build_system": "cmake", "mpi": True, "fortran": False, "api": "v110", "fabrics": ["ucx", "verbs"],
    "cflags": [], "cppflags": [], "cxxflags": [], "fflags": [], "ldflags": [], "ldlibs": [],
})  # fmt: skip
PARTS = (
    ["", "hdf5", "builtin.hdf5", "zlib"],
    ["", "@1.14", "@=1.14.3", "@=1.14", "@1.10,1.14", "@1.12:", "@:1.13", "@1.14.3-fortran"],
    ["", "+mpi", "~mpi", "+fortran", "~fortran", " -fortran", "+nothing"],
    ["", " api=v110", " api='v110'", " fabrics=ucx", " fabrics=verbs,ucx", " fabrics=psm", " mpi=True", " nothing=None"],
    ["", " target=x86_64_v3", " target=zen9", " os=debian12", " arch=linux-debian12-x86_64_v3"],
)  # fmt: skip


def versions() -> list[tuple[str, str]]:
    """Thousands of versions against ranges, of parts that are alike enough to be mixed up."""
    chance = random.Random(20261122)
    parts = ["0", "1", "2", "9", "10", "02", "a", "w", "z", "b2", "rc1", "alpha", "beta3", "rc", "develop", "main", "stable", "2023c"]

    def one() -> str:
        chosen = chance.choices(parts, k=chance.randint(1, 4))
        return "".join(part + chance.choice([".", ".", "-", "_", ""]) for part in chosen[:-1]) + chosen[-1]

    held = sorted({one() for _ in range(150)})
    wanted = [text for a, b in ((one(), one()) for _ in range(60)) for text in (a, f"={a}", f"{a}:{b}", f"{a}:", f":{b}")]
    return [(version, text) for version in held for text in (*chance.sample(wanted, 80), version, f"={version}", f":{version}")]


def ours(version: str, wanted: str) -> bool | None:
    """What is said here; nothing where the range is refused."""
    try:
        return in_range(version, check_version(wanted))
    except FormatError:
        return None


def matches(text: str, spec: ConcreteSpec) -> bool | None:
    """The same of a request."""
    try:
        return parse_request(text).matches(spec)
    except UsageError:
        return None


def test_requests_mean_what_they_mean_to_spack(client: Client, tmp_path: Path) -> None:
    pairs, requests = versions(), ["".join(parts) for parts in itertools.product(*PARTS) if any(parts)]
    data = {"spec": {"_meta": {"version": 5}, "nodes": [NODE]}}
    (tmp_path / "asked.json").write_text(json.dumps({"spec": data, "versions": pairs, "requests": requests}), encoding="utf-8")
    (tmp_path / "ask.py").write_text(ASK, encoding="utf-8")
    client.run("python", str(tmp_path / "ask.py"), str(tmp_path / "asked.json"), str(tmp_path / "answer.json"))
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    found = dict(zip(pairs, answer["versions"], strict=True))
    assert sum(value is True for value in found.values()) > 1000 < sum(value is False for value in found.values())
    assert {pair: value for pair, value in found.items() if value != ours(*pair)} == {}
    spec = parse_spec(data)
    told = dict(zip(requests, answer["requests"], strict=True))
    assert any(told.values())
    assert {text: value for text, value in told.items() if value != matches(text, spec)} == {}
