"""Where APDUs end that follow one another without frames: those of the vectors, of captures, and whatever else decodes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.delimiting import FIRST_OCTETS, Delimiter

from .test_apdus import EXACT as LONG_NAMES
from .test_short_apdus import EXACT as SHORT_NAMES

# IEC 62056-5-3 and the Green Book; an AARQ and an AARE of meters of the LONGi and MOMAS family, as public sources quote them.
OTHERS = {
    "AARQ of a public client": "60 1d a109060760857405080101 be10040e01000000065f1f0400001e1dffff",
    "AARQ with a password": (
        "60 36 a109060760857405080101 8a020780 8b0760857405080201 ac0a80083132333435363738 be10040e01000000065f1f0400001e5dffff"
    ),
    "AARE": "61 29 a109060760857405080101 a203020100 a305a103020100 be10040e0800065f1f040000181d00c80007",
    "RLRQ without anything": "62 00",
    "RLRE with a reason": "63 03 800100",
    "ciphered GET": "c8 1e 10 01234567 c0010000080000010000ff0200 06725d910f9221d263877516",
    "dedicated GET response": "d4 05 30 00000001",
    "general-glo-ciphering": "db 08 4d4d4d0000bc614e 05 30 00000001",
    "general-ciphering with a key that is named": "dd 08 0123456789012345 08 4d4d4d0000bc614e 00 00 00 01 00 00 05 30 00000001",
    "general-ciphering with a wrapped key": "dd 01 01 00 00 00 00 01 01 00 08 0011223344556677 05 30 00000001",
    "general-ciphering with an agreed key": "dd 01 01 00 00 00 00 01 02 01 02 02 aabb 05 30 00000001",
    "general-ciphering without a key": "dd 01 01 00 00 00 00 00 05 30 00000001",
    "general-signing": "df 01 01 00 00 00 00 03 c00201 02 aabb",
    "general block": "e0 81 0001 0000 04 c4010000",
    "GET of a meter behind a gateway": "e6 00 04 30303031 c0 02 c1 00000001",
    "its answer": "e7 00 00 c4 01 c1 01 04",
    "compact-array of structures": "0f 00000001 00 13 02 02 12 16 06 0001 02 0003 04",
    "compact-array of arrays": "0f 00000001 00 13 01 0002 11 04 01020304",
    "delta values": "0f 00000001 00 01 02 1c01 21 00000001",
    "every simple type": (
        "0f 00000001 00 02 16 00 0301 0409ff80 0500000001 0600000001 090141 0a0141 0c0141 0d12 0f01 100001 1101 120001"
        "14 0000000000000001 15 0000000000000001 1601 17 3f800000 18 3ff0000000000000 19 000000000000000000000000"
        "1a 0000000000 1b 00000000 ff"
    ),
    "lengths that need no octets of their own": "c4 01 c1 00 09 8400000001 41",
}
UNENDING = {
    "exception response without the counter it announces",
    "DataNotification of Kaifa, with a tag before the time",
}
"""Vectors that other tests cut off."""
WHOLE = {name: bytes.fromhex(text) for name, text in OTHERS.items()} | {
    name: bytes.fromhex(text)
    for vectors in (LONG_NAMES, SHORT_NAMES)
    for name, (text, _) in vectors.items()
    if name not in UNENDING
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_beginning_needs_more_and_what_follows_is_left(name: str) -> None:
    apdu = WHOLE[name]
    assert apdu[0] in FIRST_OCTETS
    delimiter = Delimiter()
    for length in range(len(apdu)):
        assert Delimiter().find_end(apdu[:length]) is None
        assert delimiter.find_end(apdu[:length]) is None
    assert delimiter.find_end(apdu) == len(apdu)
    assert delimiter.find_end(apdu + apdu) == len(apdu)
    assert delimiter.find_end(bytearray(apdu + b"\xff")) == len(apdu)


@given(st.lists(st.sampled_from(sorted(WHOLE.values())), max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_in_any_pieces(apdus: list[bytes], sizes: list[int]) -> None:
    stream, waiting, found = b"".join(apdus), bytearray(), []
    delimiter = Delimiter()
    while stream:
        size, *sizes = *sizes, 7
        waiting += stream[:size]
        stream = stream[size:]
        while (end := delimiter.find_end(waiting)) is not None:
            found.append(bytes(waiting[:end]))
            del waiting[:end]
    assert found == apdus


DATA = st.recursive(
    st.sampled_from([b"\x00", b"\x11\x05", b"\x09\x02AB", b"\x04\x09\xff\x80", b"\x19" + bytes(12), b"\x1d\x00\x01"]),
    lambda inner: st.tuples(st.sampled_from([1, 2]), st.lists(inner, max_size=4)).map(
        lambda both: bytes((both[0], len(both[1]))) + b"".join(both[1])
    ),
)


@given(DATA, st.binary(max_size=4))
def test_data_end_where_the_decoder_says(data: bytes, rest: bytes) -> None:
    apdu = b"\xc4\x01\xc1\x00" + data
    assert decode_data(data + rest)[1] == len(data)
    assert Delimiter().find_end(apdu + rest) == len(apdu)


IMPOSSIBLE = {
    "a wrapper header": "0001",
    "an HDLC flag": "7e",
    "an indefinite length": "6080",
    "a length of five octets": "608500",
    "longer than an APDU may be": "c883010000",
    "a fourth kind of GET request": "c004",
    "a fourth kind of GET response": "c404",
    "neither data nor reason": "c401c102",
    "a tag that no data have": "c401c10063",
    "a date-time of five octets": "0f0000000005",
    "a compact-array in a compact-array": "c401c1001313",
    "a compact-array of nothing known": "c401c1001363",
    "more elements than an APDU has octets": "c401c100018300ffff0183010000",
    "an array of more elements than an APDU holds": "c401c1000183010000",
    "a gateway behind a gateway": "e60000e6",
    "variables of no known kind": "050103",
    "a list of attributes that goes beyond": "c003c182ffff",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_apdu_begins_with_is_refused_and_forgotten(name: str) -> None:
    octets = bytes.fromhex(IMPOSSIBLE[name])
    delimiter = Delimiter()
    with pytest.raises(DecodeError):
        delimiter.find_end(octets + bytes(0x10000) if "goes beyond" in name else octets)
    assert delimiter.find_end(b"\x62\x00") == 2


def test_only_what_is_expected() -> None:
    delimiter = Delimiter(firsts=frozenset({0x0F}))
    assert delimiter.find_end(b"") is None
    for octets in (b"\x62\x00", b"\xc4"):
        with pytest.raises(DecodeError, match="expected here"):
            delimiter.find_end(octets)
    assert delimiter.find_end(bytes.fromhex("0f 40000001 00 1105")) == 8


@pytest.mark.parametrize(
    ("head", "level"), [("c401c100", "0101"), ("c401c100", "0201"), ("c401c10013", "010001"), ("c401c10013", "0201")]
)
def test_nesting_is_bounded(head: str, level: str) -> None:
    octets = bytes.fromhex(head) + bytes.fromhex(level) * 40
    with pytest.raises(DecodeError, match="nesting"):
        Delimiter().find_end(octets)


@given(st.binary(max_size=300), st.integers(1, 7))
def test_no_octets_break_it(octets: bytes, size: int) -> None:
    """In pieces it comes to the same end as whole, and never later to a refusal."""

    def end(pieces: list[bytes]) -> int | str | None:
        delimiter = Delimiter(limit=200)
        try:
            return next((found for piece in pieces if (found := delimiter.find_end(piece)) is not None), None)
        except DecodeError:
            return "refused"

    whole = end([octets])
    assert end([octets[:length] for length in range(0, len(octets), size)] + [octets]) == whole
    if isinstance(whole, int):
        assert end([octets[:whole]]) == whole
        assert end([octets[: whole - 1]]) is None


class Counted(bytearray):
    """Octets that count how often they are looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        self.looks += 1
        return super().__getitem__(key)


def test_an_apdu_that_comes_octet_by_octet_is_read_through_once() -> None:
    apdu = bytes.fromhex("c401c100 01820400") + b"\x02\x02\x11\x05\x12\x00\x01" * 0x400
    octets, delimiter = Counted(), Delimiter()
    for octet in apdu[:-1]:
        octets.append(octet)
        assert delimiter.find_end(octets) is None
    octets += apdu[-1:]
    assert delimiter.find_end(octets) == len(apdu)
    assert octets.looks < 3 * len(apdu)


@pytest.mark.corpus
def test_frames_of_real_meters() -> None:
    """The length in their wrapper is found without it."""
    folder = os.environ.get("HEADEND_CORPUS")
    if not folder:
        pytest.skip("HEADEND_CORPUS names no folder")
    frames = json.loads((Path(folder) / "dlms_frames.json").read_text())
    assert frames
    for frame in frames:
        apdu = bytes.fromhex(frame["hex"])[8:]
        assert Delimiter().find_end(apdu + b"\xc4") == len(apdu)
        assert Delimiter().find_end(apdu[:-1]) is None
