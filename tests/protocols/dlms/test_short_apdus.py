"""APDUs of short-name referencing: annotated octets, decoded, encoded again, cut short and damaged.

Three come from the wire of real meters, as public repositories show them: the energy of an electronic meter read over an
optical head, and a load profile of a Landis+Gyr ZMD asked by range and answered in blocks.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.short import (
    BlockNumber,
    BlockNumberAccess,
    DataBlock,
    InformationReport,
    ParameterizedAccess,
    ReadDataBlockAccess,
    ReadRequest,
    ReadResponse,
    UnconfirmedWriteRequest,
    VariableName,
    WriteDataBlockAccess,
    WriteRequest,
    WriteResponse,
    block_of_write,
    write_block,
)
from headend.protocols.dlms.apdu.table import Apdu, decode_apdu

RANGE = bytes.fromhex(
    "0204 0204 120008 0906 0000010000ff 0f02 120000 090c 07da041e050e2522618000ff 090c ffffffffffffffffff8000ff 0100"
)
RAW = bytes.fromhex(
    "01 00 0155 021d 090c 07e10418010e0120ff800000 12042011011200001500000000000000001500000000000000001500000000000000001500"
    "0000000000000015000000000000000015000000000000000015000000000000000015000000000000000015000000000000000000"
)[:0x64]

EXACT: dict[str, tuple[str, Apdu]] = {
    "READ of the energy of a real meter": ("05 01 02 0708", ReadRequest((VariableName(0x0708),))),
    "its answer": ("0c 01 00 05 0000002a", ReadResponse((bytes.fromhex("050000002a"),))),
    "READ of a load profile of a ZMD by range": (
        f"05 01 04 c008 01 {RANGE.hex()}",
        ReadRequest((ParameterizedAccess(0xC008, 1, RANGE),)),
    ),
    "its answer, a block": (
        f"0c 01 02 00 0001 64 {RAW.hex()}",
        ReadResponse((DataBlock(last_block=False, block_number=1, raw_data=RAW),)),
    ),
    "READ of the next block": ("05 01 05 0001", ReadRequest((BlockNumberAccess(1),))),
    "READ of two variables": ("05 02 02 0100 02 0108", ReadRequest((VariableName(0x100), VariableName(0x108)))),
    "READ in blocks": (
        "05 01 06 00 0001 03 020201",
        ReadRequest((ReadDataBlockAccess(last_block=False, block_number=1, raw_data=bytes.fromhex("020201")),)),
    ),
    "data and a reason": (
        "0c 02 00 1105 01 04",
        ReadResponse((b"\x11\x05", DataAccessResult.OBJECT_UNDEFINED)),
    ),
    "READ refused": ("0c 01 01 03", ReadResponse((DataAccessResult.READ_WRITE_DENIED,))),
    "a block of a READ taken": ("0c 01 03 0001", ReadResponse((BlockNumber(1),))),
    "WRITE": ("06 01 02 0110 01 1105", WriteRequest((VariableName(0x110),), (b"\x11\x05",))),
    "WRITE of two variables": (
        "06 02 02 0110 02 0118 02 1105 1203e8",
        WriteRequest((VariableName(0x110), VariableName(0x118)), (b"\x11\x05", b"\x12\x03\xe8")),
    ),
    "WRITE of one entry": (
        "06 01 04 0110 02 1101 01 1105",
        WriteRequest((ParameterizedAccess(0x110, 2, b"\x11\x01"),), (b"\x11\x05",)),
    ),
    "WRITE in blocks": (
        "06 01 07 01 0002 01 0903 010203",
        WriteRequest((WriteDataBlockAccess(last_block=True, block_number=2),), (bytes.fromhex("0903010203"),)),
    ),
    "WRITE done, and refused": (
        "0d 02 00 01 03",
        WriteResponse((DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED)),
    ),
    "a block of a WRITE taken": ("0d 01 02 0001", WriteResponse((BlockNumber(1),))),
    "UnconfirmedWrite": ("16 01 02 0110 01 1105", UnconfirmedWriteRequest((VariableName(0x110),), (b"\x11\x05",))),
    "InformationReport": (
        "18 00 01 02 0110 01 0600000001",
        InformationReport((VariableName(0x110),), (bytes.fromhex("0600000001"),)),
    ),
    "InformationReport with its time": (
        "18 01 0f 32303235313132313132303030305a 01 02 0110 01 1105",
        InformationReport((VariableName(0x110),), (b"\x11\x05",), b"20251121120000Z"),
    ),
}
ENDS_IN_DATA = {"its answer"}
"""One result that is data is not looked at: who decodes the data sees what follows."""

BAD = {
    "an unknown variable": "05 01 03 0100",
    "a block to write in a READ": "05 01 07 01 0001",
    "more variables than octets": "05 7f 02 0100",
    "an unknown result of a READ": "0c 01 04 00",
    "malformed data among others": "0c 02 00 63 00 1105",
    "an unknown result of a WRITE": "0d 01 03",
    "fewer data than variables": "06 02 02 0110 02 0118 01 1105",
    "more data than variables": "16 01 02 0110 02 1105 1105",
    "a report without data": "18 00 01 02 0110 00",
    "nesting without end": "06 01 02 0110 01" + "0101" * 100,
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    text, expected = EXACT[name]
    apdu = bytes.fromhex(text)
    assert decode_apdu(apdu) == expected
    assert expected.encode() == apdu


@pytest.mark.parametrize("name", EXACT)
def test_octets_missing_or_too_many(name: str) -> None:
    apdu = bytes.fromhex(EXACT[name][0])
    if name in ENDS_IN_DATA:
        assert decode_apdu(apdu + b"\x00").encode() == apdu + b"\x00"
        return
    with pytest.raises(DecodeError):
        decode_apdu(apdu + b"\x00")
    for end in range(len(apdu)):
        with pytest.raises(DecodeError):
            decode_apdu(apdu[:end])


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    with pytest.raises(DecodeError):
        decode_apdu(bytes.fromhex(BAD[name]))


@given(st.sampled_from(sorted(bytes.fromhex(text) for text, _ in EXACT.values())), st.data())
def test_damaged_apdus_never_break_the_decoder(apdu: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(apdu) - 1))
    damaged = apdu[:position] + data.draw(st.binary(max_size=4)) + apdu[position + 1 :]
    try:
        decode_apdu(damaged).encode()
    except DecodeError as error:
        assert error.offset is None or 0 <= error.offset <= len(damaged)  # noqa: PT017 - either outcome is right


def test_the_raw_data_of_a_write_are_its_only_data() -> None:
    block = WriteDataBlockAccess(last_block=True, block_number=2)
    assert write_block(block, b"\x01\x02\x03").encode().hex() == "060107010002010903010203"
    assert block_of_write(write_block(block, b"\x01\x02\x03")) == (block, b"\x01\x02\x03")
    assert block_of_write(WriteRequest((VariableName(1),), (b"\x00",))) is None
    for half in (
        WriteRequest((block,), (b"\x0a\x01A",)),
        WriteRequest((block, VariableName(1)), (b"\x09\x01A", b"\x00")),
        WriteRequest((block,), (b"",)),
    ):
        with pytest.raises(DecodeError):
            block_of_write(half)
