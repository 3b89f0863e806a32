"""A workflow's inputs are data: what can't be meant is refused by name, everything else comes through as it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cachelib.model.errors import UsageError
from cachelib.model.inputs import RunInputs, parse_inputs


@pytest.mark.parametrize("text", ["", "null", "{}", '{"specs": "", "workers": "0", "rebuild": ""}', '{"config": "cache.yaml", "new": [1]}'])
def test_a_schedule_asks_for_nothing(text: str) -> None:
    assert parse_inputs(text) == RunInputs()


def test_by_api_and_by_call() -> None:
    by_api = {"specs": "zlib\r\n\n hdf5 +mpi ", "stack": " s ", "rebuild": "true", "workers": "3", "publish": "false", "site": "true"}
    by_call = {"specs": "zlib\nhdf5 +mpi", "stack": "s", "rebuild": True, "workers": 3.0, "publish": False, "site": True}
    wanted = RunInputs(specs=("zlib", "hdf5 +mpi"), stack="s", rebuild=True, workers=3, publish=False)
    assert parse_inputs(json.dumps(by_api)) == parse_inputs(json.dumps(by_call)) == wanted


def test_choices_beside_a_spec() -> None:
    asked = parse_inputs(json.dumps({"specs": "zlib\nhdf5", "compiler": "gcc@13", "target": "x86_64_v3"}))
    assert asked.specs == ("zlib target=x86_64_v3 %gcc@13", "hdf5 target=x86_64_v3 %gcc@13")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"workers": 257}, "workers"), ({"workers": -1}, "workers"), ({"workers": 1.5}, "workers"), ({"workers": "many"}, "workers"),
        ({"workers": True}, "workers"), ({"workers": [3]}, "workers"), ({"workers": "nan"}, "workers"), ({"workers": "inf"}, "workers"),
        ({"rebuild": "yes"}, "rebuild"), ({"rebuild": 1}, "rebuild"), ({"rebuild": []}, "rebuild"), ({"publish": {}}, "publish"),
        ({"specs": ["zlib"]}, "specs"), ({"specs": "a\n" * 501}, "specs"), ({"specs": "a" * 4001}, "specs"), ({"stack": {"a": 1}}, "stack"),
        ({"random": 1001}, "random"), ({"seed": True}, "seed"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_named(data: dict[str, object], name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}`") as caught:
        parse_inputs(json.dumps(data))
    assert caught.value.hint


@pytest.mark.parametrize("text", ["[", "[]", '"x"', "5", "[" * 100_000])
def test_what_are_no_inputs(text: str) -> None:
    with pytest.raises(UsageError, match="inputs are no JSON"):
        parse_inputs(text)


@given(some.text(max_size=200))
def test_what_a_person_wrote_comes_through(text: str) -> None:
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    assert parse_inputs(json.dumps({"specs": text})).specs == lines
