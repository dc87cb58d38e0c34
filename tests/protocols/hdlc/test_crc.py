from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.protocols.hdlc import crc


@pytest.mark.parametrize("function", [crc.fcs16, crc.fcs16_stdlib])
def test_the_check_value_of_the_catalogue(function: Callable[[bytes, int], int]) -> None:
    assert function(b"123456789", 0) == 0x906E


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_both_ways_give_the_same_whole_and_in_parts(first: bytes, second: bytes) -> None:
    whole = crc.fcs16(first + second, 0)
    assert crc.fcs16_stdlib(first + second) == whole
    assert crc.fcs16(second, crc.fcs16(first, 0)) == whole
    assert crc.fcs16_stdlib(second, crc.fcs16_stdlib(first)) == whole


@given(st.binary(max_size=40))
def test_octets_with_their_check_sequence_leave_the_residue(data: bytes) -> None:
    assert crc.fcs16(data + crc.fcs16(data, 0).to_bytes(2, "little"), 0) == crc.RESIDUE


def test_one_bit_at_a_time_agrees(fcs: Callable[[bytes], bytes]) -> None:
    for size in range(40):
        data = bytes(range(size))
        assert fcs(data) == crc.fcs16(data, 0).to_bytes(2, "little")


def test_without_fastcrc_the_standard_library_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastcrc", None)
    monkeypatch.setitem(sys.modules, "fastcrc.crc16", None)
    monkeypatch.delitem(sys.modules, crc.__name__)
    bare = importlib.import_module(crc.__name__)
    assert bare.fcs16 is bare.fcs16_stdlib
