"""Meters that do not keep to what they have agreed on, and blocks of every kind seen from a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.dlms.together import Read, do_together, invoke_all, write_all
from headend.errors import LinkClosed, LinkTimeout, RemoteProtocolError, ServiceRefused
from headend.protocols.dlms.apdu.access import AccessRequest
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionRequestWithList
from headend.protocols.dlms.apdu.exception import ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
from headend.protocols.dlms.apdu.set import SetRequestFirstDatablock, SetRequestNormal, SetRequestWithList
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.wrapper import wrap

TEXT, OTHER, METHOD = (
    cosem_ref("1/0-0:96.13.0.255/2"),
    cosem_ref("1/0-0:96.13.1.255/2"),
    cosem_ref("70/0-0:96.3.10.255/1"),
)
UNKNOWN = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.SERVICE_NOT_SUPPORTED)
ALL = Conformance(0x007E5F) | Conformance.GENERAL_BLOCK_TRANSFER
ONLY_GENERAL = Conformance.GET | Conformance.SET | Conformance.ACTION | Conformance.GENERAL_BLOCK_TRANSFER


def long_data(length: int) -> bytes:
    return b"\x09" + encode_length(length) + bytes(range(256)) * (length // 256) + bytes(length % 256)


LONG = long_data(3000)


def grants(conformance: Conformance, pdu: int = 0xFFFF) -> Any:
    def prepare(meter: Any) -> None:
        meter.conformance = conformance
        meter.max_pdu = pdu
        meter.data = {str(TEXT): LONG, str(OTHER): b"\x11\x05"}

    return prepare


# --- general blocks ---


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_a_meter_that_does_nothing_but_general_blocks(attach: Any, framing: str) -> None:
    session, meter = await attach(framing, prepare=grants(ONLY_GENERAL, 100), max_pdu="150")
    access = session.access
    assert await access.read_refs(OTHER, TEXT, OTHER) == [5, LONG[4:], 5]
    assert await access.get_encoded(TEXT) == LONG
    assert b"".join([piece async for piece in access.stream(TEXT, None)]) == LONG
    await access.set(TEXT, long_data(2000))
    assert meter.data[str(TEXT)] == long_data(2000)
    assert await access.invoke(METHOD, LONG) is None
    assert next(each for each in meter.heard if isinstance(each, ActionRequestNormal)).parameters == LONG


class Lossy:
    """The link of a scripted meter that loses some of the frames that it writes, counted from 1."""

    def __init__(self, meter: Any, lost: Callable[[int], bool]) -> None:
        self.link, self.lost, self.count = meter.link, lost, 0
        meter.link = self

    def write(self, octets: bytes) -> None:
        while octets:
            length = 8 + int.from_bytes(octets[6:8], "big")
            self.count += 1
            if not self.lost(self.count):
                self.link.write(octets[:length])
            octets = octets[length:]


async def test_blocks_that_are_lost_on_the_way_are_asked_for_again(attach: Any) -> None:
    """The middle of a window, its end, and the one block after that: only the last two wait for the clock."""
    session, meter = await attach(prepare=grants(ONLY_GENERAL), max_pdu="150", timeout=0.5)
    Lossy(meter, lambda number: number in {3, 9, 10})
    assert await session.access.get_encoded(TEXT) == LONG


async def test_a_meter_that_falls_silent_between_two_blocks(attach: Any) -> None:
    session, meter = await attach(prepare=grants(ONLY_GENERAL), max_pdu="150", timeout=0.05)
    Lossy(meter, lambda number: number > 1)
    heard: list[bytes] = []
    receive = meter.data_received
    meter.data_received = lambda data: (heard.append(data), receive(data))
    with pytest.raises(LinkTimeout):
        await session.access.get_encoded(TEXT)
    # the request, the acknowledgement of the first block, and two repetitions
    assert [data[8:].hex() for data in heard[1:]] == ["e0880001000100", "e0880002000100", "e0880003000100"]
    assert not session.sound


async def test_a_meter_that_hangs_up_between_two_blocks(attach: Any) -> None:
    session, meter = await attach(prepare=grants(ONLY_GENERAL), max_pdu="150")
    receive = meter.data_received

    def hang_up(data: bytes) -> None:
        if data[8] == 0xE0:
            meter.link.abort()
        else:
            receive(data)

    meter.data_received = hang_up
    with pytest.raises(LinkClosed):
        await session.access.get_encoded(TEXT)
    assert not session.sound


async def test_a_meter_that_drops_the_association_between_two_blocks(attach: Any) -> None:
    """It answers the request for the second block as one that it knows nothing of; the session says so, and goes on."""
    session, meter = await attach(prepare=grants(ALL), max_pdu="150")
    receive = meter.data_received

    def forgetful(data: bytes) -> None:
        if data[8:10] == b"\xc0\x02":
            meter.link.write(wrap(bytes.fromhex("d80101"), 1, 16))
        else:
            receive(data)

    meter.data_received = forgetful
    with pytest.raises(ServiceRefused, match="operation-not-possible"):
        await session.access.get_encoded(TEXT)
    assert await session.access.get(OTHER) == 5


# --- lies ---


async def test_a_meter_that_knows_no_lists_after_all(attach: Any) -> None:
    def refuse(event: Any) -> Any:
        lists = (SetRequestWithList, ActionRequestWithList, AccessRequest)
        return [UNKNOWN] if isinstance(event, lists) else None

    session, meter = await attach(prepare=grants(ALL))
    meter.script = refuse
    assert await write_all(session.access, [(TEXT, b"\x11\x01"), (OTHER, b"\x11\x02")]) == [None, None]
    assert meter.data == {str(TEXT): b"\x11\x01", str(OTHER): b"\x11\x02"}
    assert await invoke_all(session.access, [(METHOD, b"\x00"), (METHOD, b"\x00")]) == [None, None]
    kinds = [type(each).__name__ for each in meter.heard[1:]]
    # asked once for each way that was promised, and never again
    assert kinds == ["SetRequestWithList", "AccessRequest", *["SetRequestNormal"] * 2, *["ActionRequestNormal"] * 2]


async def test_a_list_that_is_refused_for_another_reason_is_not_written_one_by_one(attach: Any) -> None:
    session, meter = await attach(prepare=grants(ALL))
    meter.script = lambda event: (
        [ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OTHER_REASON)]
        if isinstance(event, SetRequestWithList)
        else None
    )
    with pytest.raises(ServiceRefused):
        await write_all(session.access, [(TEXT, b"\x11\x01"), (OTHER, b"\x11\x02")])
    assert not [each for each in meter.heard if isinstance(each, SetRequestNormal)]


async def test_a_meter_that_promises_access_and_does_not_know_it(attach: Any) -> None:
    session, meter = await attach(prepare=grants(ALL))
    meter.script = lambda event: [UNKNOWN] if isinstance(event, AccessRequest) else None
    with pytest.raises(ServiceRefused):
        await do_together(session.access, [Read(TEXT)])


async def test_a_meter_that_sends_more_than_it_was_told_to(attach: Any) -> None:
    """Longer APDUs than we have asked for are no reason to lose what is in them."""
    session, meter = await attach(prepare=grants(ALL), max_pdu="150")
    meter.script = lambda event: (
        [wrap(GetResponseNormal(event.invoke_id_and_priority, LONG).encode(), 1, 16)]
        if isinstance(event, GetRequestNormal)
        else None
    )
    assert await session.access.get(TEXT) == LONG[4:]


async def test_a_meter_that_takes_less_than_it_has_promised(attach: Any) -> None:
    """It refuses the first block as too long, says why, and the next request finds it as it was."""
    session, meter = await attach(prepare=grants(ALL, 100))
    too_long = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.PDU_TOO_LONG)
    received = meter.data_received

    def strict(data: bytes) -> None:
        if data[8:10] == b"\xc1\x02":
            meter.link.write(wrap(too_long.encode(), 1, 16))
        else:
            received(data)

    meter.data_received = strict
    with pytest.raises(ServiceRefused, match="pdu-too-long"):
        await session.access.set(TEXT, LONG)
    assert await session.access.get(OTHER) == 5
    assert not [each for each in meter.heard if isinstance(each, SetRequestFirstDatablock)]


async def test_blocks_that_were_not_agreed_on_are_taken(attach: Any) -> None:
    session, meter = await attach(prepare=grants(Conformance.GET))
    answers = [
        bytes.fromhex("c402c1 00 00000001 00 02 0902".replace("c1", f"{0xC0:02x}")),
        bytes.fromhex("c402c0 01 00000002 00 02 4142"),
    ]

    def blocks(data: bytes) -> None:
        apdu = answers.pop(0)
        meter.link.write(wrap(apdu[:2] + data[10:11] + apdu[3:], 1, 16))

    meter.data_received = blocks
    assert await session.access.get(TEXT) == b"AB"
    assert not answers


async def test_an_answer_in_general_blocks_that_were_not_agreed_on_is_taken(attach: Any) -> None:
    session, meter = await attach(prepare=grants(Conformance.GET))
    said = 0

    def blocks(data: bytes) -> None:
        nonlocal said
        said += 1
        if said == 1:
            meter.link.write(wrap(bytes.fromhex("e0010001000004c401") + data[10:11] + b"\x00", 1, 16))
        else:
            assert data[8:].hex() == "e0880001000100"
            meter.link.write(wrap(bytes.fromhex("e081000200010409024142"), 1, 16))

    meter.data_received = blocks
    assert await session.access.get(TEXT) == b"AB"


async def test_the_answer_to_another_request_ends_the_conversation(attach: Any) -> None:
    session, meter = await attach(prepare=grants(ALL))
    meter.script = lambda event: (
        [wrap(GetResponseNormal(event.invoke_id_and_priority ^ 1, b"\x11\x05").encode(), 1, 16)]
        if isinstance(event, GetRequestNormal)
        else None
    )
    with pytest.raises(RemoteProtocolError, match="another request"):
        await session.access.get(OTHER)
    assert not session.sound


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3), (0,)])
async def test_blocks_out_of_order_end_the_conversation(attach: Any, numbers: tuple[int, ...]) -> None:
    session, meter = await attach(prepare=grants(ALL))
    left = list(numbers)

    def blocks(data: bytes) -> None:
        head = b"\xc4\x02" + data[10:11] + b"\x00" + left.pop(0).to_bytes(4, "big")
        meter.link.write(wrap(head + b"\x00\x01\x09", 1, 16))

    meter.data_received = blocks
    with pytest.raises(RemoteProtocolError, match="block number"):
        await session.access.get(TEXT)
    assert not session.sound
    assert not left
