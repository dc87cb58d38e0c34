"""Addresses, parameters, and how references become block reads."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.library import Library
from headend.drivers.modbus import driver
from headend.drivers.modbus.plan import ReadRules, blocks, check_params, plan_blocks, read_rules
from headend.drivers.modbus.refs import register_ref
from headend.errors import ConfigError
from headend.model.objects import ReadPlan
from headend.protocols.modbus.framing import Frame, encode_rtu
from headend.protocols.modbus.pdu import encode_request


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("input/0x0156/f32", "input/0x0156/f32"),
        (" Input/342/f32 ", "input/0x0156/f32"),
        ("holding/0xb/u16", "holding/0x000B/u16"),
        ("holding/0x0000/i32-little", "holding/0x0000/i32-little"),
        ("holding/0x5000/text7", "holding/0x5000/text7"),
        ("coil/65535", "coil/0xFFFF"),
        ("discrete/0", "discrete/0x0000"),
    ],
)
def test_references(text: str, canonical: str) -> None:
    ref = driver.parse_ref(text)
    assert str(ref) == f"modbus:{canonical}"
    assert driver.parse_ref(ref.address) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "input",
        "input/0x0156",
        "register/0/u16",
        "input/-1/u16",
        "input/0x1FFFF/u16",
        "input/70000/u16",
        "input/0xFFFF/f32",
        "input/x/u16",
        "input/0/u8",
        "coil/0/u16",
        "input/0/u16/extra",
    ],
)
def test_references_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        driver.parse_ref(text)


@pytest.mark.parametrize("params", [{}, {"unit": "247", "max_registers": 80, "gap": "0"}])
def test_parameters(params: dict[str, Any]) -> None:
    driver.check_params(params)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"slave": "1"}, "slave"),
        ({"unit": "256"}, "unit"),
        ({"unit": "one"}, "unit"),
        ({"max_registers": 0}, "max_registers"),
        ({"max_registers": 126}, "max_registers"),
        ({"gap": True}, "gap"),
        ({"gap": 1.5}, "gap"),
    ],
)
def test_parameters_that_are_refused(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_params(params)


def reads(texts: list[str], rules: ReadRules) -> list[tuple[int, int, int]]:
    found = blocks([register_ref(text) for text in texts], rules)
    return [(block.request.function, block.request.address, block.request.count) for block in found]


def test_neighbours_are_read_together_and_nothing_else() -> None:
    texts = ["input/4/f32", "input/0/f32", "input/2/u16", "holding/0/u16", "input/7/u16", "coil/3", "coil/1"]
    assert reads(texts, ReadRules()) == [(1, 1, 1), (1, 3, 1), (3, 0, 1), (4, 0, 3), (4, 4, 2), (4, 7, 1)]
    assert reads(texts, ReadRules(gap=1)) == [(1, 1, 3), (3, 0, 1), (4, 0, 8)]
    assert reads(texts, ReadRules(gap=1, max_registers=4)) == [(1, 1, 3), (3, 0, 1), (4, 0, 3), (4, 4, 4)]


def test_values_that_overlap_are_read_apart() -> None:
    assert reads(["input/0/f32", "input/0/u16", "input/1/u16"], ReadRules(gap=9)) == [(4, 0, 2), (4, 0, 2)]


def test_a_long_value_is_read_alone() -> None:
    assert reads(["holding/0/text20", "holding/20/u16"], ReadRules(max_registers=10)) == [(3, 0, 20), (3, 20, 1)]


def test_the_sdm630_is_read_in_four_round_trips() -> None:
    profile = Library().get("eastron-sdm630")
    polled = ReadPlan(entries=tuple(entry for entry in profile.objects if entry.poll))
    rules = read_rules(profile.link, profile.quirks)
    found = plan_blocks(polled, rules)
    assert len(polled.entries) > 80
    assert [(block.request.address, block.request.count) for block in found] == [
        (0x0000, 80),
        (0x0050, 28),
        (0x00C8, 70),
        (0x014E, 48),
    ]
    assert plan_blocks(polled, rules) is found


def test_prepared_requests_are_shared() -> None:
    (block,) = blocks([register_ref("input/0/f32")], ReadRules())
    read = block.prepared(1, rtu=True)
    assert block.prepared(1, rtu=True) is read
    assert block.prepared(2, rtu=True) is not read
    assert read.octets(9) == encode_rtu(Frame(1, encode_request(block.request)))


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["u16", "f32", "u64", "text5"])), max_size=30),
    st.integers(1, 125),
    st.integers(0, 20),
)
def test_every_value_is_read_once_and_rules_are_kept(values: list[tuple[int, str]], most: int, gap: int) -> None:
    refs = [register_ref(f"input/{address}/{kind}") for address, kind in values]
    found = blocks(refs, ReadRules(most, gap))
    assert sorted(index for block in found for index in block.indexes) == list(range(len(refs)))
    for block in found:
        inside = [refs[index] for index in block.indexes]
        assert block.request.address == inside[0].address
        assert block.request.address + block.request.count == inside[-1].end
        assert len(inside) == 1 or block.request.count <= most
        assert all(0 <= after.address - before.end <= gap for before, after in pairwise(inside))
