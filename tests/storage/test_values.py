from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.model.reading import Quality, Source
from headend.storage.values import CAST, SOURCE_MASK, decode_quality, decode_value, encode_marks, encode_value

VALUES = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(st.characters()))


@given(VALUES)
def test_every_value_comes_back_with_its_type(value: float | str) -> None:
    stored, cast = encode_value(value)
    again = decode_value(stored, cast)
    assert type(again) is type(value)
    assert again == value or (math.isnan(value) and math.isnan(again))  # type: ignore[arg-type]


@given(st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1))
def test_what_sql_has_is_stored_as_it_is(real: float, integer: int) -> None:
    assert encode_value(real) == (real, 0)
    if not isinstance(integer, bool):
        assert encode_value(integer) == (integer, 0)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        encode_value(b"\x00")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("quality", Quality)
def test_every_source_and_quality_has_room_in_the_note(source: Source, quality: Quality) -> None:
    note = encode_marks(source, quality, CAST)
    assert (note & SOURCE_MASK, decode_quality(note), note & CAST) == (source, quality, CAST)


def test_all_quality_flags_together_have_room_and_one_more_has_not() -> None:
    everything = sum(Quality)
    assert decode_quality(encode_marks(0, everything, 0)) == everything
    with pytest.raises(ValueError, match="does not fit"):
        encode_marks(0, 0x40, 0)
