"""The session with a meter of short names that says what a test tells it: old associations, lies, refusals, reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.client import DlmsSession
from headend.errors import (
    AccessDenied,
    AssociationRejected,
    DecodeError,
    HeadendError,
    LinkClosed,
    ObjectUndefined,
    RemoteProtocolError,
)
from headend.model.job import Command, CommandKind, Verdict
from headend.model.objects import HistoryRequest, ObjectEntry, ReadPlan
from headend.protocols.dlms.acse import ApplicationContext
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.exception import ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.short import (
    DataBlock,
    InformationReport,
    ParameterizedAccess,
    ReadRequest,
    ReadResponse,
    VariableName,
    WriteRequest,
    WriteResponse,
)
from headend.protocols.dlms.axdr import array, encode_data, int8, octet_string, structure, uint16, uint32
from headend.protocols.dlms.classes import CaptureObject
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import VAA_SN, Conformance, InitiateResponse
from headend.protocols.dlms.short_names import ShortObject
from headend.standards.obis import Obis

OBJECTS = (
    ShortObject(0x0100, 3, 0, Obis(1, 0, 1, 8, 0)),
    ShortObject(0x0130, 1, 0, Obis(0, 0, 96, 1, 0)),
    ShortObject(0x0200, 7, 1, Obis(1, 0, 99, 1, 0)),
    ShortObject(0x0300, 70, 0, Obis(0, 0, 96, 3, 10)),
    ShortObject(0xFA00, 12, 0, Obis(0, 0, 40, 0, 0)),
)
ENERGY, BUFFER = 0x0108, 0x0208
COLUMN = CaptureObject(3, Obis(1, 0, 1, 8, 0), 2)
UNDEFINED = DataAccessResult.OBJECT_UNDEFINED
LOST = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceError.OPERATION_NOT_POSSIBLE)
PLAN = ReadPlan(
    entries=tuple(
        ObjectEntry(ref=driver.parse_ref(ref), scaler=0)
        for ref in ("3/1-0:1.8.0.255/2", "3/1-0:9.9.9.255/2", "1/0-0:96.1.0.255/2")
    )
)
Attach = Callable[..., Awaitable[tuple[DlmsSession, Any]]]


class Script:
    """What a meter with short names answers, by name."""

    def __init__(self, version: int = 0) -> None:
        objects = [each._replace(version=version) if each.class_id == 12 else each for each in OBJECTS]
        self.conformance = Conformance(0x1C1B20)
        self.values: dict[int, bytes | DataAccessResult] = {
            0xFA08: encode_data(array(*(each.to_data() for each in objects))),
            ENERGY: encode_data(uint32(42)),
            0x0138: encode_data(octet_string(b"0815")),
            0x0210: b"\x01\x01" + encode_data(COLUMN.to_data()),
            0x0218: encode_data(uint32(900)),
            BUFFER: encode_data(array(*(structure(uint32(each)) for each in range(20)))),
        }
        self.written: list[WriteRequest] = []
        self.read: list[ReadRequest] = []
        self.associations = 0

    def __call__(self, event: Any) -> list[Any] | None:
        match event:
            case AssociationRequest():
                self.associations += 1
                assert event.application_context == ApplicationContext.SN
                initiate = InitiateResponse(conformance=self.conformance, vaa_name=VAA_SN)
                return [AssociationResponse(application_context=ApplicationContext.SN, initiate=initiate)]
            case ReadRequest(variables):
                self.read.append(event)
                return [ReadResponse(tuple(self.values.get(each.name, UNDEFINED) for each in variables))]  # type: ignore[union-attr]
            case WriteRequest():
                self.written.append(event)
                return [WriteResponse((DataAccessResult.SUCCESS,) * len(event.variables))]
        return None


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def open_session(attach: Attach, script: Script) -> Attach:
    def prepare(meter: Any) -> None:
        meter.script = script

    return lambda **params: attach(prepare=prepare, ref="sn", **params)


async def test_reading_by_list(open_session: Attach, script: Script) -> None:
    session, _ = await open_session()
    found = await session.read(PLAN)
    assert found.values == [42, None, b"0815"]
    assert isinstance(found.errors[1], ObjectUndefined)
    assert script.read[-1].variables == (VariableName(ENERGY), VariableName(0x0138))


async def test_a_meter_that_takes_no_lists(open_session: Attach, script: Script) -> None:
    script.conformance &= ~Conformance.MULTIPLE_REFERENCES
    session, _ = await open_session()
    assert (await session.read(PLAN)).values == [42, None, b"0815"]
    assert all(len(request.variables) == 1 for request in script.read)


async def test_a_meter_that_refuses_the_lists_that_it_has_promised(open_session: Attach, script: Script) -> None:
    session, meter = await open_session()
    refused = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.SERVICE_NOT_SUPPORTED)

    def without_lists(event: Any) -> list[Any] | None:
        return [refused] if isinstance(event, ReadRequest) and len(event.variables) > 1 else script(event)

    meter.script = without_lists
    for _ in range(2):
        assert (await session.read(PLAN)).values == [42, None, b"0815"]


async def test_objects_of_an_old_association_have_no_rights(open_session: Attach) -> None:
    session, _ = await open_session()
    listed = {info.ref.address: info for info in await session.objects()}
    assert listed["3/1-0:1.8.0.255/2"].class_name == "Register"
    assert listed["7/1-0:99.1.0.255/2"].history
    assert all(not info.attributes and not info.methods for info in listed.values())


@pytest.mark.parametrize("rights", ["", "0101" + "0203" + "100100" + "0101" + "02030f02160301010f05" + "0100", "030f"])
async def test_rights_are_shown_where_a_meter_tells_them(attach: Attach, rights: str) -> None:
    script = Script(version=2)
    if rights:
        script.values[0xFA10] = bytes.fromhex(rights)
    session, _ = await attach(prepare=lambda meter: setattr(meter, "script", script), ref="sn")
    register = (await session.objects())[0]
    assert register.attributes == ({2: "rw"} if rights.startswith("01") else {})


@pytest.mark.parametrize("listed", ["0600000001", "01010201", "010102041001001200031100090501000108ff", "0101"])
async def test_an_object_list_that_is_none(attach: Attach, listed: str) -> None:
    script = Script()
    script.values[0xFA08] = bytes.fromhex(listed)
    with pytest.raises(DecodeError):
        await attach(prepare=lambda meter: setattr(meter, "script", script), ref="sn")


async def test_a_meter_that_refuses_its_object_list(attach: Attach) -> None:
    script = Script()
    script.values[0xFA08] = DataAccessResult.READ_WRITE_DENIED
    with pytest.raises(AccessDenied):
        await attach(prepare=lambda meter: setattr(meter, "script", script), ref="sn")


async def test_a_meter_with_logical_names(attach: Attach) -> None:
    def refuse(meter: Any) -> None:
        meter.script = lambda _: [AssociationResponse(result=1, diagnostic=2)]

    with pytest.raises(AssociationRejected, match="application-context-name-not-supported") as caught:
        await attach(prepare=refuse, ref="sn")
    assert "ref=sn" in caught.value.hint


async def test_a_load_profile_by_entry(open_session: Attach, script: Script) -> None:
    session, _ = await open_session()
    request = HistoryRequest(ref=driver.parse_ref("7/1-0:99.1.0.255/2"), first_entry=1, last_entry=20)
    rows = [row for block in [each async for each in session.read_history(request)] for row in block.rows]
    assert rows == [(each,) for each in range(20)]
    (access,) = script.read[-1].variables
    assert isinstance(access, ParameterizedAccess)
    assert (access.name, access.selector) == (BUFFER, 2)


@pytest.mark.parametrize("ends", ["link", "number", "nonsense"])
async def test_a_load_profile_that_breaks_off(open_session: Attach, script: Script, ends: str) -> None:
    session, meter = await open_session()
    raw = b"\x01\x00" + script.values[BUFFER]  # type: ignore[operator] # octets

    def broken(event: Any) -> list[Any] | None:
        match event:
            case ReadRequest((VariableName(name),)) if name == BUFFER:
                return [ReadResponse((DataBlock(last_block=False, block_number=1, raw_data=raw[:50]),))]
            case ReadRequest() if ends == "link":
                meter.link.abort()
                return []
            case ReadRequest() if ends == "number":
                return [bytes.fromhex("0001000100100008" + "0c0102010007" + "0100")]
            case ReadRequest():
                return [bytes.fromhex("0001000100100003" + "0c0105")]
        return script(event)

    meter.script = broken
    request = HistoryRequest(ref=driver.parse_ref("7/1-0:99.1.0.255/2"))
    with pytest.raises((LinkClosed, RemoteProtocolError)) as caught:
        async for _ in session.read_history(request):
            pass
    assert isinstance(caught.value, HeadendError)
    assert not session.sound


async def test_commands(open_session: Attach, script: Script) -> None:
    session, _ = await open_session()
    invoke = Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.10.255/1"})
    assert (await session.execute(invoke)).verdict is Verdict.CONFIRMED
    assert script.written[-1] == WriteRequest((VariableName(0x0320),), (encode_data(int8(0)),))
    nowhere = Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.99.255/1"})
    outcome = await session.execute(nowhere)
    assert (outcome.verdict, outcome.detail) == (Verdict.REFUSED, "ACTION 70/0-0:96.3.99.255/1: object-undefined")


async def test_names_are_asked_again_with_a_new_association(open_session: Attach, script: Script) -> None:
    """A meter that has lost the association may have other firmware, and other base names."""
    session, meter = await open_session()
    assert (await session.read(PLAN)).values[0] == 42
    moved = [each._replace(base_name=0x0500) if each.base_name == 0x0100 else each for each in OBJECTS]

    def forgetful(event: Any) -> list[Any] | None:
        if isinstance(event, ReadRequest) and script.associations == 1:
            script.values |= {
                0xFA08: encode_data(array(*(each.to_data() for each in moved))),
                0x0508: encode_data(uint32(43)),
            }
            return [LOST]
        return script(event)

    meter.script = forgetful
    assert (await session.read(PLAN)).values[0] == 43
    assert script.associations == 2


async def test_reports_are_known_by_their_names(open_session: Attach) -> None:
    session, meter = await open_session()
    data = encode_data(uint32(7)), encode_data(uint16(8))
    meter.say(InformationReport((VariableName(ENERGY), VariableName(0x4444)), data, b"20251121120000Z"))
    await session.read(PLAN)
    (said,) = session.notifications()
    assert said.kind == "event"
    assert said.body == [7, 8]
    assert said.measured_at == 1_763_726_400_000
    assert said.values == {driver.parse_ref("3/1-0:1.8.0.255/2"): 7}
