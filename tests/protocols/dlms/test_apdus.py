"""Every service APDU: annotated octets, decoded, encoded again, cut short and with octets too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.access import (
    AccessAction,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessResult,
    AccessSet,
)
from headend.protocols.dlms.apdu.action import (
    ActionRequestFirstPblock,
    ActionRequestNextPblock,
    ActionRequestNormal,
    ActionRequestPblock,
    ActionRequestWithList,
    ActionRequestWithListAndFirstPblock,
    ActionResponseNextPblock,
    ActionResponseNormal,
    ActionResponsePblock,
    ActionResponseWithList,
    Outcome,
)
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithDatablock,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.set import (
    SetRequestDatablock,
    SetRequestFirstDatablock,
    SetRequestNormal,
    SetRequestWithList,
    SetRequestWithListAndFirstDatablock,
    SetResponseDatablock,
    SetResponseLastDatablock,
    SetResponseLastDatablockWithList,
    SetResponseNormal,
    SetResponseWithList,
)
from headend.protocols.dlms.apdu.table import Apdu, decode_apdu

CLOCK = AttributeDescriptor(8, bytes.fromhex("0000010000ff"), 2)
LDN = AttributeDescriptor(1, bytes.fromhex("00002a0000ff"), 2)
IDENTIFICATION = AttributeDescriptor(1, bytes.fromhex("0000600100ff"), 2)
SEASON_PROFILE = AttributeDescriptor(20, bytes.fromhex("00000d0000ff"), 7)
WEEK_PROFILE = SEASON_PROFILE._replace(attribute_id=8)
BUFFER = AttributeDescriptor(7, bytes.fromhex("0100630100ff"), 2)
RELAY = MethodDescriptor(70, bytes.fromhex("0000600 30aff".replace(" ", "")), 1)
DATE_TIME = bytes.fromhex("07e9090307 0a340eff ff4c00".replace(" ", ""))
ENTRIES = bytes.fromhex("0204 0600000001 0600000005 120001 120000")

# Green Book (DLMS UA 1000-2), the ACCESS request in the examples of general-ciphering: identification and clock are read,
# season and week profile of the calendar are written.
SEASONS = "0104" + "".join(f"020309010{n}090cffffffffffffff00000000000901ff" for n in range(4))
WEEKS = "0104" + "".join(
    f"020809010{n}" + days for n, days in enumerate(("11ff" * 7, "1102" + "1101" * 6, "11ff" * 7, "1101" + "1102" * 6))
)

EXACT: dict[str, tuple[str, Apdu]] = {
    "ACCESS of four attributes (plain text of the Green Book's general-ciphering example)": (
        (
            "d9 40000000 00 04"
            "01 0001 0000600100ff 02  01 0008 0000010000ff 02  02 0014 00000d0000ff 07  02 0014 00000d0000ff 08"
            f"04 00 00 {SEASONS} {WEEKS}"
        ),
        AccessRequest(
            0x40000000,
            (AccessGet(IDENTIFICATION), AccessGet(CLOCK), AccessSet(SEASON_PROFILE), AccessSet(WEEK_PROFILE)),
            (b"\x00", b"\x00", bytes.fromhex(SEASONS), bytes.fromhex(WEEKS)),
        ),
    ),
    "ACCESS of every kind, with a time": (
        (
            f"d9 f0000001 0c {DATE_TIME.hex()} 04"
            f"04 0007 0100630100ff 02 02 {ENTRIES.hex()}  05 0007 0100630100ff 02 02 {ENTRIES.hex()}"
            "03 0046 000060030aff 01  01 0008 0000010000ff 02"
            "04 00 1105 0f00 00"
        ),
        AccessRequest(
            0xF0000001,
            (
                AccessGet(BUFFER, AccessSelection(2, ENTRIES)),
                AccessSet(BUFFER, AccessSelection(2, ENTRIES)),
                AccessAction(RELAY),
                AccessGet(CLOCK),
            ),
            (b"\x00", b"\x11\x05", b"\x0f\x00", b"\x00"),
            DATE_TIME,
        ),
    ),
    "ACCESS, what became of it": (
        "da 40000001 00 00 03 1105 00 00 03 01 00 02 03 03 0c",
        AccessResponse(
            0x40000001,
            (b"\x11\x05", b"\x00", b"\x00"),
            (
                AccessResult(1, DataAccessResult.SUCCESS),
                AccessResult(2, DataAccessResult.READ_WRITE_DENIED),
                AccessResult(3, ActionResult.TYPE_UNMATCHED),
            ),
        ),
    ),
    "ACCESS, what became of it, with what was asked": (
        f"da 50000001 0c {DATE_TIME.hex()} 01 01 01 0008 0000010000ff 02 01 1105 01 01 00",
        AccessResponse(
            0x50000001,
            (b"\x11\x05",),
            (AccessResult(1, DataAccessResult.SUCCESS),),
            DATE_TIME,
            (AccessGet(CLOCK),),
        ),
    ),
    # requests
    "GET of the clock (plain text of the Green Book's ciphering example)": (
        "c0 01 00 0008 0000010000ff 02 00",
        GetRequestNormal(0x00, CLOCK),
    ),
    "GET of a profile by entry": (
        f"c0 01 c1 0007 0100630100ff 02 01 02 {ENTRIES.hex()}",
        GetRequestNormal(0xC1, BUFFER, AccessSelection(2, ENTRIES)),
    ),
    "GET of the next block": ("c0 02 c1 00000001", GetRequestNext(0xC1, 1)),
    "GET of two attributes": (
        f"c0 03 c1 02 0008 0000010000ff 02 00 0007 0100630100ff 02 01 02 {ENTRIES.hex()}",
        GetRequestWithList(0xC1, ((CLOCK, None), (BUFFER, AccessSelection(2, ENTRIES)))),
    ),
    "SET of the clock": (
        f"c1 01 c1 0008 0000010000ff 02 00 090c {DATE_TIME.hex()}",
        SetRequestNormal(0xC1, CLOCK, b"\x09\x0c" + DATE_TIME),
    ),
    "SET of one entry": (
        f"c1 01 c1 0007 0100630100ff 02 01 02 {ENTRIES.hex()} 1105",
        SetRequestNormal(0xC1, BUFFER, b"\x11\x05", AccessSelection(2, ENTRIES)),
    ),
    "SET, first block": (
        "c1 02 c1 0008 0000010000ff 02 00 00 00000001 03 090c07",
        SetRequestFirstDatablock(0xC1, CLOCK, None, last_block=False, block_number=1, raw_data=bytes.fromhex("090c07")),
    ),
    "SET, last block": (
        "c1 03 c1 01 00000002 02 e909",
        SetRequestDatablock(0xC1, last_block=True, block_number=2, raw_data=bytes.fromhex("e909")),
    ),
    "SET of two attributes": (
        f"c1 04 c1 02 0008 0000010000ff 02 00 0007 0100630100ff 02 01 02 {ENTRIES.hex()} 02 0901 41 1105",
        SetRequestWithList(0xC1, ((CLOCK, None), (BUFFER, AccessSelection(2, ENTRIES))), (b"\x09\x01A", b"\x11\x05")),
    ),
    "SET of two attributes, first block": (
        "c1 05 c1 02 0008 0000010000ff 02 00 0001 00002a0000ff 02 00 00 00000001 03 020901",
        SetRequestWithListAndFirstDatablock(
            0xC1, ((CLOCK, None), (LDN, None)), last_block=False, block_number=1, raw_data=b"\x02\x09\x01"
        ),
    ),
    "ACTION on the relay": (
        "c3 01 c1 0046 000060030aff 01 01 0f00",
        ActionRequestNormal(0xC1, RELAY, b"\x0f\x00"),
    ),
    "ACTION without parameters": ("c3 01 c1 0046 000060030aff 01 00", ActionRequestNormal(0xC1, RELAY)),
    "ACTION, next block of the answer": ("c3 02 c1 00000003", ActionRequestNextPblock(0xC1, 3)),
    "ACTION, first block": (
        "c3 04 c1 0046 000060030aff 01 00 00000001 02 0f00",
        ActionRequestFirstPblock(0xC1, RELAY, last_block=False, block_number=1, raw_data=b"\x0f\x00"),
    ),
    "ACTION on two relays": (
        "c3 03 c1 02 0046 000060030aff 01 0046 000060030aff 01 02 0f00 00",
        ActionRequestWithList(0xC1, (RELAY, RELAY), (b"\x0f\x00", b"\x00")),
    ),
    "ACTION on two relays, first block": (
        "c3 05 c1 02 0046 000060030aff 01 0046 000060030aff 01 01 00000001 03 020000",
        ActionRequestWithListAndFirstPblock(
            0xC1, (RELAY, RELAY), last_block=True, block_number=1, raw_data=b"\x02\x00\x00"
        ),
    ),
    "ACTION, following block": (
        "c3 06 c1 01 00000002 01 ff",
        ActionRequestPblock(0xC1, last_block=True, block_number=2, raw_data=b"\xff"),
    ),
    # responses
    "GET answered by a meter of the MOMAS family": (
        "c4 01 c1 00 090c 07e90b130311103bffffc400",
        GetResponseNormal(0xC1, bytes.fromhex("090c07e90b130311103bffffc400")),
    ),
    "GET refused": ("c4 01 c1 01 04", GetResponseNormal(0xC1, DataAccessResult.OBJECT_UNDEFINED)),
    "GET, a block": (
        "c4 02 c1 00 00000001 00 04 01260202",
        GetResponseWithDatablock(0xC1, last_block=False, block_number=1, result=bytes.fromhex("01260202")),
    ),
    "GET, no more blocks": (
        "c4 02 c1 01 00000002 01 13",
        GetResponseWithDatablock(
            0xC1, last_block=True, block_number=2, result=DataAccessResult.DATA_BLOCK_NUMBER_INVALID
        ),
    ),
    "GET of two attributes, one refused": (
        "c4 03 c1 02 00 0600000001 01 03",
        GetResponseWithList(0xC1, (bytes.fromhex("0600000001"), DataAccessResult.READ_WRITE_DENIED)),
    ),
    "SET done": ("c5 01 c1 00", SetResponseNormal(0xC1, DataAccessResult.SUCCESS)),
    "SET, block taken": ("c5 02 c1 00000001", SetResponseDatablock(0xC1, 1)),
    "SET, last block taken": (
        "c5 03 c1 0d 00000002",
        SetResponseLastDatablock(0xC1, DataAccessResult.SCOPE_OF_ACCESS_VIOLATED, 2),
    ),
    "SET of two attributes, last block taken": (
        "c5 04 c1 02 00 03 00000002",
        SetResponseLastDatablockWithList(0xC1, (DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED), 2),
    ),
    "SET of two attributes done": (
        "c5 05 c1 02 00 03",
        SetResponseWithList(0xC1, (DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED)),
    ),
    "ACTION of three methods": (
        "c7 03 c1 03 00 00 03 00 00 01 00 0901 41",
        ActionResponseWithList(
            0xC1,
            (
                Outcome(ActionResult.SUCCESS),
                Outcome(ActionResult.READ_WRITE_DENIED),
                Outcome(ActionResult.SUCCESS, b"\x09\x01A"),
            ),
        ),
    ),
    "ACTION done": ("c7 01 c1 00 00", ActionResponseNormal(0xC1, ActionResult.SUCCESS)),
    "ACTION that returns something": (
        "c7 01 c1 00 01 00 0904 01020304",
        ActionResponseNormal(0xC1, ActionResult.SUCCESS, bytes.fromhex("090401020304")),
    ),
    "ACTION that returns a reason": (
        "c7 01 c1 00 01 01 fa",
        ActionResponseNormal(0xC1, ActionResult.SUCCESS, DataAccessResult.OTHER_REASON),
    ),
    "ACTION, a block": (
        "c7 02 c1 00 00000001 01 ff",
        ActionResponsePblock(0xC1, last_block=False, block_number=1, raw_data=b"\xff"),
    ),
    "ACTION, block taken": ("c7 04 c1 00000001", ActionResponseNextPblock(0xC1, 1)),
    # unasked, and refused
    "EventNotification of a meter of the MOMAS family": (
        "c2 00 0007 0000636201ff 02 0101 0202 090c07e90a1f05110f39ff800000 0600000029",
        EventNotification(
            AttributeDescriptor(7, bytes.fromhex("0000636201ff"), 2),
            bytes.fromhex("01010202090c07e90a1f05110f39ff8000000600000029"),
        ),
    ),
    "EventNotification with its time": (
        f"c2 01 0c {DATE_TIME.hex()} 0001 00002a0000ff 02 0901 41",
        EventNotification(LDN, b"\x09\x01A", DATE_TIME),
    ),
    "DataNotification with its time": (
        f"0f 00000000 0c {DATE_TIME.hex()} 0901 41",
        DataNotification(0, DATE_TIME, b"\x09\x01A"),
    ),
    "DataNotification without a time": ("0f 40000001 00 1105", DataNotification(0x40000001, b"", b"\x11\x05")),
    "DataNotification of Kaifa, with a tag before the time": (
        f"0f 40000000 090c {DATE_TIME.hex()} 0205",
        DataNotification(0x40000000, DATE_TIME, b"\x02\x05", tagged_date_time=True),
    ),
    "exception response": ("d8 01 01", ExceptionResponse(1, 1)),
    "exception response with a counter": ("d8 01 06 00000102", ExceptionResponse(1, 6, 0x102)),
    "exception response without the counter it announces": ("d8 01 06", ExceptionResponse(1, 6)),
    "confirmed service error": ("0e 01 06 01", ConfirmedServiceError(1, 6, 1)),
}

ENDS_IN_DATA = {
    "SET of the clock",
    "SET of one entry",
    "ACTION on the relay",
    "GET answered by a meter of the MOMAS family",
    "ACTION that returns something",
    "EventNotification of a meter of the MOMAS family",
    "EventNotification with its time",
    "DataNotification with its time",
    "DataNotification without a time",
    "DataNotification of Kaifa, with a tag before the time",
}
"""APDUs that end in data: these take what follows for their own, and whoever decodes the data sees it."""

BAD = {
    "nothing": "",
    "unknown tag": "c9 01",
    "unknown GET request": "c0 04 c1",
    "unknown GET response": "c4 04 c1",
    "GET response neither data nor reason": "c4 01 c1 02 00",
    "unknown SET request": "c1 07 c1",
    "unknown SET response": "c5 07 c1",
    "unknown ACTION request": "c3 07 c1",
    "unknown ACTION response": "c7 05 c1",
    "DataNotification with a date-time of five octets": "0f 00000000 05 0102030405 00",
    "list longer than the APDU": "c0 03 c1 7f 0008",
    "SET of two attributes with one value": "c1 04 c1 02 0008 0000010000ff 02 00 0008 0000010000ff 02 00 01 00",
    "ACTION on one relay with two parameters": "c3 03 c1 01 0046 000060030aff 01 02 00 00",
    "ACCESS of nothing known": "d9 40000000 00 01 06 0008 0000010000ff 02 01 00",
    "ACCESS of one attribute with two data": "d9 40000000 00 01 01 0008 0000010000ff 02 02 00 00",
    "ACCESS, a result of no service": "da 40000000 00 00 01 00 01 04 00",
    "ACCESS, one result and two data": "da 40000000 00 00 02 00 00 01 01 00",
    "ACCESS, one result and two things asked": (
        "da 40000000 00 01 02 01 0008 0000010000ff 02 01 0008 0000010000ff 02 01 00 01 01 00"
    ),
    "list of malformed data": "c4 03 c1 01 00 63",
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    text, expected = EXACT[name]
    apdu = bytes.fromhex(text)
    assert decode_apdu(apdu) == expected
    assert expected.encode() == apdu


@pytest.mark.parametrize("name", EXACT)
def test_octets_after_the_end(name: str) -> None:
    apdu = bytes.fromhex(EXACT[name][0])
    if name in ENDS_IN_DATA:
        assert decode_apdu(apdu + b"\x00").encode() == apdu + b"\x00"
    elif name != "exception response without the counter it announces":
        with pytest.raises(DecodeError):
            decode_apdu(apdu + b"\x00")


@pytest.mark.parametrize("name", EXACT)
def test_beginnings_never_break_the_decoder(name: str) -> None:
    apdu = bytes.fromhex(EXACT[name][0])
    for end in range(len(apdu)):
        try:
            shorter = decode_apdu(apdu[:end])
        except DecodeError:
            continue
        assert name in ENDS_IN_DATA or end in {len(apdu) - 1, 3, 4, 12}
        assert type(shorter) is type(EXACT[name][1])


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


def test_a_get_request_without_its_last_octet_is_read() -> None:
    assert decode_apdu(bytes.fromhex("c001c100080000010000ff02")) == GetRequestNormal(0xC1, CLOCK)


def test_an_action_response_without_its_last_octet_is_read() -> None:
    assert decode_apdu(bytes.fromhex("c701c100")) == ActionResponseNormal(0xC1, ActionResult.SUCCESS)


def test_results_that_the_standard_does_not_have() -> None:
    assert decode_apdu(bytes.fromhex("c401c10163")) == GetResponseNormal(0xC1, DataAccessResult.OTHER_REASON)
    assert decode_apdu(bytes.fromhex("c701c16300")) == ActionResponseNormal(0xC1, ActionResult.OTHER_REASON)


def test_attribute_numbers_are_signed() -> None:
    apdu = bytes.fromhex("c001c100080000010000ffff00")
    decoded = decode_apdu(apdu)
    assert isinstance(decoded, GetRequestNormal)
    assert decoded.attribute.attribute_id == -1
    assert decoded.encode() == apdu


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfirmedServiceError(1, 6, 1), "initiate: initiate: dlms-version-too-low"),
        (ConfirmedServiceError(5, 5, 1), "read: access: scope-of-access-violated"),
        (ConfirmedServiceError(9, 99, 7), "service 9: error kind 99: 7"),
    ],
)
def test_confirmed_service_errors_in_words(error: ConfirmedServiceError, words: str) -> None:
    assert error.describe() == words
