"""A-XDR: vectors of IEC 62056-6-2 and of real meters, round trips, and whatever a hostile peer may send."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlms import axdr
from headend.protocols.dlms.axdr import (
    DONT_CARE,
    NULL,
    BitString,
    CompactArray,
    Data,
    Delta,
    Plain,
    Tag,
    TypeDescription,
    array,
    bit_string,
    compact_array,
    decode_data,
    decode_length,
    decode_typed,
    encode_data,
    encode_length,
    octet_string,
    structure,
    uint32,
)
from headend.protocols.dlms.axdr_plain import MAX_DEPTH

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # nested values take long to make
LOGICAL_NAME = bytes.fromhex("0100010800ff")
VECTORS: list[tuple[str, Data, Plain]] = [
    ("00", NULL, None),
    ("ff", DONT_CARE, None),
    ("0100", array(), []),
    ("0200", structure(), []),
    ("0300", axdr.boolean(False), False),  # noqa: FBT003
    ("0301", axdr.boolean(True), True),  # noqa: FBT003
    ("0400", bit_string(""), ""),
    ("0403a0", bit_string("101"), "101"),
    # The initial value of the conformance block in an xDLMS context info, 24 bits.
    ("0418001e1d", bit_string("000000000001111000011101"), "000000000001111000011101"),
    ("05fffffffe", axdr.int32(-2), -2),
    ("0600003bfa", uint32(15354), 15354),
    ("09060100010800ff", octet_string(LOGICAL_NAME), LOGICAL_NAME),
    ("0a034b464d", axdr.visible_string("KFM"), "KFM"),
    ("0a01b0", axdr.visible_string("°"), "°"),
    ("0c02c2b0", axdr.utf8_string("°"), "°"),
    ("0c01b0", Data(Tag.UTF8_STRING, b"\xb0"), b"\xb0"),
    ("0d42", axdr.bcd(0x42), 0x42),
    ("0fff", axdr.int8(-1), -1),
    ("108000", axdr.int16(-32768), -32768),
    ("11ff", axdr.uint8(255), 255),
    ("12ffff", axdr.uint16(65535), 65535),
    ("148000000000000000", axdr.int64(-(2**63)), -(2**63)),
    ("15ffffffffffffffff", axdr.uint64(2**64 - 1), 2**64 - 1),
    ("161e", axdr.enum(30), 30),
    ("1740490fdb", axdr.float32(3.1415927410125732), 3.1415927410125732),
    ("18400921fb54442d18", axdr.float64(math.pi), math.pi),
    (
        "1907e30c1001073b28ff8000ff",
        axdr.date_time(bytes.fromhex("07e30c1001073b28ff8000ff")),
        bytes.fromhex("07e30c1001073b28ff8000ff"),
    ),
    ("1a07e30c1001", axdr.date(bytes.fromhex("07e30c1001")), bytes.fromhex("07e30c1001")),
    ("1b073b28ff", axdr.time(bytes.fromhex("073b28ff")), bytes.fromhex("073b28ff")),
    ("1cff", axdr.delta(Tag.DELTA_INT8, -1), Delta(-1)),
    ("1dff00", axdr.delta(Tag.DELTA_INT16, -256), Delta(-256)),
    ("1e00000001", axdr.delta(Tag.DELTA_INT32, 1), Delta(1)),
    ("1fff", axdr.delta(Tag.DELTA_UINT8, 255), Delta(255)),
    ("20ff00", axdr.delta(Tag.DELTA_UINT16, 0xFF00), Delta(0xFF00)),
    ("21ff000000", axdr.delta(Tag.DELTA_UINT32, 0xFF000000), Delta(0xFF000000)),
    # A register as pushed by a Norwegian meter: logical name, value, scaler and unit.
    (
        "020309060100150700ff060000046202020f00161b",
        structure(octet_string(bytes.fromhex("0100150700ff")), uint32(1122), structure(axdr.int8(0), axdr.enum(27))),
        [bytes.fromhex("0100150700ff"), 1122, [0, 27]],
    ),
    # compact-array of structures {long-unsigned, octet-string}
    (
        "13020212090a00010261620002026364",
        compact_array(
            TypeDescription(Tag.STRUCTURE, (TypeDescription(Tag.UINT16), TypeDescription(Tag.OCTET_STRING))),
            [[1, b"ab"], [2, b"cd"]],
        ),
        [[1, b"ab"], [2, b"cd"]],
    ),
    # compact-array of arrays of three unsigned
    (
        "13010003110601020304050a",
        compact_array(TypeDescription(Tag.ARRAY, (TypeDescription(Tag.UINT8),), 3), [[1, 2, 3], [4, 5, 10]]),
        [[1, 2, 3], [4, 5, 10]],
    ),
    ("13040403a00360", compact_array(TypeDescription(Tag.BIT_STRING), ["101", "011"]), ["101", "011"]),
    ("131100", compact_array(TypeDescription(Tag.UINT8), []), []),
]


@pytest.mark.parametrize(("octets", "data", "plain"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vector(octets: str, data: Data, plain: Plain) -> None:
    wire = bytes.fromhex(octets)
    assert decode_typed(wire) == (data, len(wire))
    assert encode_data(data) == wire
    value, end = decode_data(wire)
    assert (value, type(value), end) == (plain, type(plain), len(wire))
    assert data.plain() == plain


@pytest.mark.parametrize(("octets", "data", "plain"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vector_inside_other_octets(octets: str, data: Data, plain: Plain) -> None:
    wire = bytes.fromhex(octets)
    framed = b"\xc4\x01\xc1\x00" + wire + b"\x00\x05"
    end = 4 + len(wire)
    assert decode_data(framed, 4, end) == (plain, end)
    assert decode_typed(framed, 4) == (data, end)


@pytest.mark.parametrize(("octets", "data", "_plain"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vector_cut_short_at_every_octet(octets: str, data: Data, _plain: Plain) -> None:
    assert data.tag == int(octets[:2], 16)
    wire = bytes.fromhex(octets)
    for size in range(len(wire)):
        for decode in (decode_data, decode_typed):
            with pytest.raises(DecodeError):
                decode(wire[:size])
            with pytest.raises(DecodeError):
                decode(wire + bytes(20), 0, size)


DESCRIPTIONS = st.recursive(
    st.sampled_from(
        [tag for tag in Tag if tag not in (Tag.ARRAY, Tag.STRUCTURE, Tag.COMPACT_ARRAY, Tag.NULL, 0xFF)]
    ).map(TypeDescription),
    lambda inner: st.one_of(
        st.builds(lambda items: TypeDescription(Tag.STRUCTURE, tuple(items)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda item, count: TypeDescription(Tag.ARRAY, (item,), count), inner, st.integers(1, 3)),
    ),
    max_leaves=6,
)
BITS = st.text("01", max_size=20)
INTEGERS = {
    Tag.INT8: (-(2**7), 2**7 - 1),
    Tag.INT16: (-(2**15), 2**15 - 1),
    Tag.INT32: (-(2**31), 2**31 - 1),
    Tag.INT64: (-(2**63), 2**63 - 1),
    Tag.UINT8: (0, 2**8 - 1),
    Tag.UINT16: (0, 2**16 - 1),
    Tag.UINT32: (0, 2**32 - 1),
    Tag.UINT64: (0, 2**64 - 1),
    Tag.ENUM: (0, 255),
    Tag.BCD: (0, 255),
    Tag.DELTA_INT8: (-(2**7), 2**7 - 1),
    Tag.DELTA_INT16: (-(2**15), 2**15 - 1),
    Tag.DELTA_INT32: (-(2**31), 2**31 - 1),
    Tag.DELTA_UINT8: (0, 2**8 - 1),
    Tag.DELTA_UINT16: (0, 2**16 - 1),
    Tag.DELTA_UINT32: (0, 2**32 - 1),
}
LEAVES: dict[Tag, st.SearchStrategy[Plain]] = {
    Tag.BOOLEAN: st.booleans(),
    Tag.BIT_STRING: BITS,
    Tag.OCTET_STRING: st.binary(max_size=20) | st.binary(min_size=127, max_size=130),
    Tag.VISIBLE_STRING: st.text(st.characters(max_codepoint=255), max_size=20),
    Tag.UTF8_STRING: st.text(max_size=20),
    Tag.FLOAT32: st.floats(allow_nan=False, width=32),
    Tag.FLOAT64: st.floats(allow_nan=False),
    Tag.DATE_TIME: st.binary(min_size=12, max_size=12),
    Tag.DATE: st.binary(min_size=5, max_size=5),
    Tag.TIME: st.binary(min_size=4, max_size=4),
} | {tag: st.integers(*limits) for tag, limits in INTEGERS.items()}


def elements_of(description: TypeDescription) -> st.SearchStrategy[Plain]:
    """Values that fit a type description."""
    if description.tag is Tag.STRUCTURE:
        return st.tuples(*map(elements_of, description.elements)).map(list)
    if description.tag is Tag.ARRAY:
        size = description.count
        return st.lists(elements_of(description.elements[0]), min_size=size, max_size=size)
    return LEAVES[description.tag]


def leaf(tag: Tag, value: Plain) -> Data:
    """A Data of a type without elements."""
    return Data(tag, BitString.parse(str(value)) if tag is Tag.BIT_STRING else value)  # type: ignore[arg-type]


COMPACT = DESCRIPTIONS.flatmap(
    lambda description: st.lists(elements_of(description), max_size=4).map(
        lambda elements: compact_array(description, elements)
    )
)
DATA = st.recursive(
    st.one_of(
        st.sampled_from([NULL, DONT_CARE]),
        COMPACT,
        st.sampled_from(list(LEAVES)).flatmap(lambda tag: LEAVES[tag].map(lambda value: leaf(tag, value))),
    ),
    lambda inner: st.builds(Data, st.sampled_from([Tag.ARRAY, Tag.STRUCTURE]), st.lists(inner, max_size=5).map(tuple)),
    max_leaves=12,
)


@SLOW
@given(DATA)
def test_typed_values_round_trip_and_agree_with_plain_ones(data: Data) -> None:
    wire = encode_data(data)
    assert decode_typed(wire) == (data, len(wire))
    assert encode_data(decode_typed(wire)[0]) == wire
    assert decode_data(wire) == (data.plain(), len(wire))


@given(st.binary(max_size=60))
def test_any_octets_decode_or_raise_decode_error(octets: bytes) -> None:
    try:
        typed = decode_typed(octets)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_data(octets)
    else:
        plain = decode_data(octets)
        assert repr(plain) == repr((typed[0].plain(), typed[1]))


@SLOW
@given(DATA, st.data())
def test_one_octet_changed_decodes_or_raises_decode_error(data: Data, draw: st.DataObject) -> None:
    wire = bytearray(encode_data(data))
    wire[draw.draw(st.integers(0, len(wire) - 1))] = draw.draw(st.integers(0, 255))
    test_any_octets_decode_or_raise_decode_error.hypothesis.inner_test(bytes(wire))


@given(st.integers(0, 2**32 - 1))
def test_length_round_trip(length: int) -> None:
    wire = encode_length(length)
    assert decode_length(wire, 0) == (length, len(wire))


@pytest.mark.parametrize("length", ["05", "8105", "820005", "83000005", "8400000005"])
def test_lengths_with_more_octets_than_needed(length: str) -> None:
    octets = bytes.fromhex("09" + length) + b"abcde"
    assert decode_data(octets) == (b"abcde", len(octets))
    assert encode_data(decode_typed(octets)[0]) == b"\x09\x05abcde"


@pytest.mark.parametrize("octets", ["0980" + "00" * 200, "098500000000 05" + "00" * 9, "0180", "0aff" + "00" * 300])
def test_malformed_lengths(octets: str) -> None:
    with pytest.raises(DecodeError, match="length"):
        decode_data(bytes.fromhex(octets))
    with pytest.raises(DecodeError, match="length"):
        decode_typed(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "octets",
    [
        "0184ffffffff" + "00" * 50,  # array of 2^32 elements
        "0284ffffffff" + "00" * 50,
        "0984ffffffff" + "00" * 50,
        "0a84ffffffff" + "00" * 50,
        "0c84ffffffff" + "00" * 50,
        "0484ffffffff" + "00" * 50,  # bit-string
        "137f" + "00" * 9,
        "131184ffffffff" + "00" * 50,
        "13" + "01ffff" * 20 + "11" + "04" + "00" * 4,  # 65535 ** 20 elements
        "13" + "01ffff" * 3 + "00" + "01" + "00",  # … that take no octets
        "1300" + "01" + "00",
        "1302" + "20" + "00" * 0x1F + "11" + "01" + "00",  # 31 null-data for each octet
        "130202" + "010101" * 3 + "00" + "010101" * 3 + "11" + "04" + "00" * 4,  # 257 ** 3 null-data before any octet
        "13" + "01ffff" * 2 + "11" + "00",  # no element, but what an element
        "13" + "01ffff" * 40,
        "1313" + "00",
        "13" + "02840000ffff" + "11" * 9,
        "1312" + "03" + "000100",  # one and a half long-unsigned
        "1312" + "03" + "000100" + "0000",
        "0984ffff",
    ],
)
def test_hostile_claims_are_refused_at_once(octets: str) -> None:
    for decode in (decode_data, decode_typed):
        with pytest.raises(DecodeError):
            decode(bytes.fromhex(octets))


@pytest.mark.parametrize("tag", ["01", "02"])
def test_nesting_is_bounded(tag: str) -> None:
    deepest = bytes.fromhex(f"{tag}01" * (MAX_DEPTH - 1) + f"{tag}00")
    assert decode_typed(deepest)[0].plain() == decode_data(deepest)[0]
    for decode in (decode_data, decode_typed):
        with pytest.raises(DecodeError, match="nesting"):
            decode(bytes.fromhex(f"{tag}01") + deepest)
        with pytest.raises(DecodeError, match="nesting"):
            decode(bytes.fromhex(f"{tag}01") * 5000)


@pytest.mark.parametrize("tag", sorted(set(range(256)) - set(Tag)))
def test_unknown_tags(tag: int) -> None:
    for octets in (bytes((tag, 0, 0, 0)), bytes((0x02, 0x01, tag, 0)), bytes((0x13, tag, 1, 0))):
        for decode in (decode_data, decode_typed):
            with pytest.raises(DecodeError, match=f"got {tag:02X}"):
                decode(octets)


def test_an_error_tells_where_and_what() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_data(bytes.fromhex("c401c100 0202 11ff 07"), 4)
    assert (caught.value.offset, caught.value.expected, caught.value.got) == (8, "a tag of the Data type", "07")


def test_spellings_that_become_canonical() -> None:
    assert encode_data(decode_typed(bytes.fromhex("03ff"))[0]).hex() == "0301"
    assert encode_data(decode_typed(bytes.fromhex("0403bf"))[0]).hex() == "0403a0"


UINT8 = TypeDescription(Tag.UINT8)


@pytest.mark.parametrize(
    "data",
    [
        uint32(-1),
        uint32(2**32),
        axdr.int8(128),
        Data(Tag.UINT8, "5"),
        Data(Tag.UINT8, None),
        Data(Tag.NULL, 0),
        axdr.date_time(b"short"),
        Data(Tag.DATE, "12345"),
        Data(Tag.OCTET_STRING, "text"),
        Data(Tag.BIT_STRING, "101"),
        axdr.float32(1e300),
        axdr.visible_string("\u20ac"),
        axdr.utf8_string("\ud800"),
        Data(Tag.ARRAY, None),
        Data(Tag.UINT8, (NULL,)),
        Data(Tag.COMPACT_ARRAY, b""),
        Data(Tag.OCTET_STRING, CompactArray(UINT8, b"")),
    ],
)
def test_a_value_that_its_type_cannot_hold(data: Data) -> None:
    with pytest.raises(LocalProtocolError):
        encode_data(data)


@pytest.mark.parametrize("element", [[1], [1, 2, 3], 5, None])
def test_an_element_that_does_not_fit_its_description(element: Plain) -> None:
    with pytest.raises(LocalProtocolError):
        compact_array(TypeDescription(Tag.STRUCTURE, (UINT8, UINT8)), [element])


@pytest.mark.corpus
def test_bodies_of_real_pushes() -> None:
    """Plain data-notifications in one frame decode to their end and re-encode to the same octets.

    A few meters leave out the tags of logical names in their pushes; that is no A-XDR, and is refused.
    """
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    decoded, refused = 0, 0
    for line in Path(folder, "captures", "dlms_push.jsonl").read_text(encoding="utf-8").splitlines():
        apdu = notification(json.loads(line))
        if apdu is None:
            continue
        offset = body(apdu)
        try:
            data, end = decode_typed(apdu, offset)
        except DecodeError:
            refused += 1
            continue
        assert end == len(apdu)
        assert encode_data(data) == apdu[offset:]
        assert decode_data(apdu, offset) == (data.plain(), end)
        decoded += 1
    assert decoded > 30
    assert refused < decoded / 10


def notification(capture: dict[str, str]) -> bytes | None:
    """The plain data-notification of a capture that holds one frame or one APDU."""
    octets = bytes.fromhex(capture["hex"])
    if capture["transport"] == "hdlc":
        whole = (octets[1] & 0x0F) << 8 | octets[2]  # without the segmentation bit
        if octets[0] != 0x7E or len(octets) != whole + 2:
            return None
        octets = octets[:-3]
    if capture["transport"] not in ("hdlc", "raw"):
        return None
    start = octets.find(b"\xe6\xe7\x00") + 3 if b"\xe6\xe7\x00" in octets[:20] else 0
    return octets[start:] if octets[start] == 0x0F else None


def body(apdu: bytes) -> int:
    """Where the body begins, after invoke id and date-time, which some meters write with the tag of an octet-string."""
    if apdu[5] == 0x09 and apdu[6] == 0x0C:
        return 19
    return 6 + apdu[5]
