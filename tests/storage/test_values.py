from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.reading import Quality, Source
from headend.storage.values import CAST, MILLI, SOURCE_MASK, decode_quality, decode_value, encode_marks, encode_value

VALUES = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(st.characters()))


@given(VALUES)
def test_every_value_comes_back_with_its_type(value: float | str) -> None:
    stored, cast = encode_value(value)
    again = decode_value(stored, cast)
    assert type(again) is type(value)
    assert again == value or (math.isnan(value) and math.isnan(again))  # type: ignore[arg-type]


@given(st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8")))
def test_the_usual_values_are_stored_as_they_are(real: float, integer: int, text: str) -> None:
    stored, form = encode_value(real)
    assert (stored, form) == (real, 0) or (form == MILLI and stored / 1000 == real)  # type: ignore[operator]
    assert encode_value(integer) == (integer, 0)
    assert encode_value(text) == (text, 0)


@given(st.integers(-(10**13), 10**13), st.integers(1, 3))
def test_what_a_scaler_divided_is_kept_in_thousandths(raw: int, decimals: int) -> None:
    value = raw / 10**decimals
    stored, form = encode_value(value)
    if abs(value) < 1e11:
        assert (stored, form) == (raw * 10 ** (3 - decimals), MILLI)
    assert struct.pack(">d", decode_value(stored, form)) == struct.pack(">d", value)


@given(st.floats())
def test_a_double_comes_back_to_the_last_bit(value: float) -> None:
    again = decode_value(*encode_value(value))
    assert math.isnan(value) or struct.pack(">d", again) == struct.pack(">d", value)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        encode_value(b"\x00")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("quality", Quality)
def test_every_source_and_quality_has_room_in_the_note(source: Source, quality: Quality) -> None:
    note = encode_marks(source, quality, CAST | MILLI)
    assert (note & SOURCE_MASK, decode_quality(note), note & (CAST | MILLI)) == (source, quality, CAST | MILLI)


def test_all_quality_flags_together_have_room_and_one_more_has_not() -> None:
    everything = sum(Quality)
    assert decode_quality(encode_marks(0, everything, 0)) == everything
    with pytest.raises(ValueError, match="does not fit"):
        encode_marks(0, 0x40, 0)
