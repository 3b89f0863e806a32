"""cache.yaml: what is right is read, what is wrong is told all at once, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import ConfigError
from cachelib.model.stack import spack_line
from cachelib.tools.config_file import parse_settings, read_settings

COMMIT = "2e907202bcc8209a6a62243aab50c179b524cc3b"
GOOD = f"""\
registry: oci://ghcr.io/Owner/Repo
stacks:
  hpc:
    spack: {{version: v1.1.0, commit: {COMMIT}}}
    packages: {{version: v2025.11.0, commit: {COMMIT}}}
    unify: true
    specs:
      - hdf5@1.14 +mpi ^openmpi
      - zlib
    config:
      packages: {{all: {{variants: ~docs}}}}
"""


def problems(text: str, folder: Path = Path()) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "cache.yaml", folder)
    assert caught.value.hint
    return caught.value.message


def test_good(tmp_path: Path) -> None:
    settings = parse_settings(GOOD, "cache.yaml", tmp_path)
    stack = settings.stacks["hpc"]
    assert settings.default_stack == "hpc"
    assert (stack.image_name, stack.padding, stack.unify) == ("v1.1", 128, "true")
    assert stack.specs == ("hdf5@1.14 +mpi ^openmpi", "zlib")
    assert stack.config == {"packages": {"all": {"variants": "~docs"}}}


def test_every_problem_is_told_with_its_line() -> None:
    said = problems("registri: x\nstacks:\n  a:\n    spack: {version: 1.1, commit: abc}\n    specs: zlib\n    padding: many\n")
    assert "6 problems" in said
    assert "cache.yaml:1: `registri` is not known in the file; did you mean `registry`?" in said
    assert "cache.yaml:3: stacks.a lacks `packages`" in said
    assert "cache.yaml:4: stacks.a.spack.version is a number, but must be text (quote it)" in said
    assert "cache.yaml:4: stacks.a.spack.commit is 'abc'" in said
    assert "cache.yaml:5: stacks.a.specs is text, but must be a list" in said
    assert "cache.yaml:6: stacks.a.padding is text, but must be a whole number" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("oci://ghcr.io/Owner/Repo", "oci://ghcr.io/Owner/Repo:latest"), "cache.yaml:1: 'owner/repo:latest'"),
        (("oci://ghcr.io/Owner/Repo", "oci://$(id)/x"), "is no host name"),
        (("oci://ghcr.io/Owner/Repo", "https://ghcr.io/x"), "registry is 'https://ghcr.io/x'"),
        (("- zlib", "- zlib\n    specs: []"), "`specs` stands twice"),
        (("    specs:\n      - hdf5@1.14 +mpi ^openmpi\n      - zlib\n", ""), "stack hpc builds nothing"),
        (("- zlib", "- \"zlib\\n::set-env\""), "which is not what is expected"),
        (("- zlib", "- 1.2"), "must be text (quote it)"),
        (("unify: true", "unify: sometimes"), "must be one of: when_possible, true, false"),
        (("unify: true", "repos: [nowhere]"), "nowhere holds no repo.yaml"),
        (("unify: true", "develop: {solver: {spec: solver@main, path: gone}}"), "cache.yaml:6: gone is no folder"),
        (("unify: true", "develop: {solver: {spec: sover@main}}"), "the spec of solver is sover@main, which names another package"),
        (("    config:", "    build_compiler: gcc@14.2.0\n    config:\n      concretizer: {reuse: true}"), "cache.yaml:12: it would take the place"),
        (("unify: true", "develop: {solver: {spec: solver}}"), "stacks.hpc.develop.solver.spec is 'solver'"),
        (("unify: true", "develop: {solver: {spec: solver@main +gpu}}"), "stacks.hpc.develop.solver.spec is 'solver@main +gpu'"),
        (("unify: true", "develop: {'solver --x': {spec: solver@main}}"), "the name 'solver --x' in stacks.hpc.develop may hold"),
        (("unify: true", "licenses: {deny: [GPL-3.0-only, Apache-2]}"), "cache.yaml:6: Apache-2 is no licence that SPDX lists; did you mean Apache-2.0?"),
        (("unify: true", "licenses: {allow: [MIT OR Apache-2.0]}"), "MIT OR Apache-2.0 is no licence that SPDX lists"),
        (("unify: true", "licenses: {deny: [GPLv3]}"), "did you mean GPL-3.0"),
        (("unify: true", "licenses: {deny: [Classpath-exception-2.0]}"), "Classpath-exception-2.0 is no licence that SPDX lists"),
        (("unify: true", "licenses: {deny: [MIT WITH MIT]}"), "MIT WITH MIT is no licence that SPDX lists"),
        (("unify: true", "licenses: {allow: [LicenseRef-scancode-proprietary-license]}"), "is no licence that SPDX lists"),
        (("unify: true", "licenses: {only: [MIT]}"), "`only` is not known in stacks.hpc.licenses; known here: allow, deny"),
        (("unify: true", "environment: gone.yaml"), "gone.yaml does not exist"),
        (("unify: true", "targets: [x86_64_v3, '-v4 ']"), "cache.yaml:6"),
        (("version: v1.1.0", "version: --upload-pack=x"), "'--upload-pack=x'"),
        (("  hpc:", "  ../hpc:"), "the name '../hpc' in stacks may hold"),
        (("stacks:\n  hpc", "stacks: {}\nx:\n  hpc"), "at least one is needed"),
    ],
)  # fmt: skip
def test_one_mistake(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    assert change[0] in GOOD
    assert said in problems(GOOD.replace(*change), tmp_path)


@pytest.mark.parametrize("identifier", ["MIT", "mpl-2.0-NO-copyleft-exception", "GPL-3.0-with-GCC-exception", "Net-SNMP", "GPL-2.0+"])
def test_licences_that_spdx_lists(identifier: str) -> None:
    parse_settings(GOOD.replace("unify: true", f"licenses: {{allow: [{identifier}]}}"), "cache.yaml", Path("/nowhere"))


def test_two_spacks_in_one_image() -> None:
    other = GOOD.partition("stacks:\n")[2].replace("hpc:", "gpu:").replace(f"v1.1.0, commit: {COMMIT}", f"v1.1.1, commit: {'a' * 40}")
    said = problems(GOOD + other)
    assert "stacks hpc and gpu publish into one image `v1.1`" in said


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "null"])
def test_no_mapping(text: str) -> None:
    assert "empty or holds no mapping" in problems(text)


def test_no_yaml() -> None:
    assert "cache.yaml:3: not YAML" in problems("a: 1\nb: [1\nc: 2")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_settings(tmp_path / "cache.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read"):
        read_settings(tmp_path / "binary")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings(text, "cache.yaml", Path("/nowhere"))


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"))
def test_any_typo_is_read_or_refused(at: int, character: str) -> None:
    try:
        parse_settings(GOOD[:at] + character + GOOD[at + 1 :], "cache.yaml", Path("/nowhere"))
    except ConfigError as error:
        assert error.message.startswith(("one problem", "cache.yaml")) or " problems in " in error.message  # noqa: PT017


@pytest.mark.parametrize(
    ("version", "line"),
    [("v1.1.0", "v1.1"), ("1.0.2", "v1.0"), ("v1.2.0.dev0", "v1.2"), ("develop", "develop"), ("releases/v1.1", "releases-v1-1")],
)
def test_lines(version: str, line: str) -> None:
    assert spack_line(version) == line
