"""Requests of logical names said in short names: every kind of request, what a meter does not have, answers and blocks."""

from __future__ import annotations

import itertools

import pytest

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.action import (
    ActionRequestNormal,
    ActionRequestWithList,
    ActionResponseNormal,
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
from headend.protocols.dlms.apdu.exception import ExceptionResponse
from headend.protocols.dlms.apdu.get import (
    GetRequestNext,
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetRequestWithList, SetResponseNormal, SetResponseWithList
from headend.protocols.dlms.apdu.short import BlockNumber, ReadRequest, ReadResponse, WriteRequest, WriteResponse
from headend.protocols.dlms.events import BlockReceived
from headend.protocols.dlms.security.authentication import REPLY_TO_HLS
from headend.protocols.dlms.short_dialect import ShortDialect
from headend.protocols.dlms.short_names import ShortNames, ShortObject
from headend.standards.obis import Obis

INVOKE = 0xC7
ENERGY = Obis(1, 0, 1, 8, 0)
VALUE = AttributeDescriptor(3, ENERGY.to_bytes(), 2)
UNIT = AttributeDescriptor(3, ENERGY.to_bytes(), 3)
BUFFER = AttributeDescriptor(7, Obis(1, 0, 99, 1, 0).to_bytes(), 2)
NOWHERE = AttributeDescriptor(3, Obis(9, 9, 9, 9, 9).to_bytes(), 2)
RELAY = Obis(0, 0, 96, 3, 10)
OPEN = MethodDescriptor(70, RELAY.to_bytes(), 1)
SELECTION = AccessSelection(2, bytes.fromhex("020406000000010600000002120000120000"))


@pytest.fixture
def dialect() -> ShortDialect:
    made = ShortDialect()
    made.names = ShortNames(
        [
            ShortObject(0x0700, 3, 0, ENERGY),
            ShortObject(0x1000, 7, 1, Obis(1, 0, 99, 1, 0)),
            ShortObject(0x2000, 70, 0, RELAY),
        ]
    )
    return made


def said(dialect: ShortDialect, request: object) -> str:
    short = dialect.begin(request)  # type: ignore[arg-type] # also what has no equivalent
    assert isinstance(short, ReadRequest | WriteRequest)
    return short.encode().hex()


def test_reading(dialect: ShortDialect) -> None:
    assert said(dialect, GetRequestNormal(INVOKE, VALUE)) == "0501020708"
    assert dialect.end(ReadResponse((b"\x11\x05",))) == GetResponseNormal(INVOKE, b"\x11\x05")
    said(dialect, GetRequestNormal(INVOKE, VALUE))
    denied = DataAccessResult.READ_WRITE_DENIED
    assert dialect.end(ReadResponse((denied,))) == GetResponseNormal(INVOKE, denied)
    assert (
        said(dialect, GetRequestNormal(INVOKE, BUFFER, SELECTION)) == "0501041008" + "02" + SELECTION.parameters.hex()
    )


def test_reading_a_list_of_which_the_meter_has_a_part(dialect: ShortDialect) -> None:
    request = GetRequestWithList(INVOKE, ((VALUE, None), (NOWHERE, None), (BUFFER, SELECTION), (UNIT, None)))
    assert said(dialect, request) == "0503020708041008" + "02" + SELECTION.parameters.hex() + "020710"
    undefined, denied = DataAccessResult.OBJECT_UNDEFINED, DataAccessResult.READ_WRITE_DENIED
    answer = dialect.end(ReadResponse((b"\x11\x05", denied, b"\x00")))
    assert answer == GetResponseWithList(INVOKE, (b"\x11\x05", undefined, denied, b"\x00"))


def test_what_a_meter_does_not_have_is_not_asked_for(dialect: ShortDialect) -> None:
    undefined = DataAccessResult.OBJECT_UNDEFINED
    assert dialect.begin(GetRequestNormal(INVOKE, NOWHERE)) == GetResponseNormal(INVOKE, undefined)
    only = GetRequestWithList(INVOKE, ((NOWHERE, None),))
    assert dialect.begin(only) == GetResponseWithList(INVOKE, (undefined,))
    assert dialect.begin(SetRequestNormal(INVOKE, NOWHERE, b"\x00")) == SetResponseNormal(INVOKE, undefined)
    other_class = AttributeDescriptor(4, ENERGY.to_bytes(), 2)
    assert dialect.begin(GetRequestNormal(INVOKE, other_class)) == GetResponseNormal(INVOKE, undefined)
    no_method = ActionRequestNormal(INVOKE, MethodDescriptor(70, RELAY.to_bytes(), 3), b"\x0f\x00")
    assert dialect.begin(no_method) == ActionResponseNormal(INVOKE, ActionResult.OBJECT_UNDEFINED)


def test_names_that_the_standard_reserves_are_known_before_the_meter_tells(dialect: ShortDialect) -> None:
    own_name = AttributeDescriptor(1, Obis(0, 0, 42, 0, 0).to_bytes(), 2)
    assert said(dialect, GetRequestNormal(INVOKE, own_name)) == "050102fd08"
    object_list = AttributeDescriptor(12, Obis(0, 0, 40, 0, 0).to_bytes(), 2)
    assert said(ShortDialect(), GetRequestNormal(INVOKE, object_list)) == "050102fa08"


def test_writing(dialect: ShortDialect) -> None:
    assert said(dialect, SetRequestNormal(INVOKE, VALUE, b"\x11\x05")) == "0601020708011105"
    assert dialect.end(WriteResponse((DataAccessResult.SUCCESS,))) == SetResponseNormal(
        INVOKE, DataAccessResult.SUCCESS
    )
    said(dialect, SetRequestNormal(INVOKE, VALUE, b"\x11\x05"))
    denied = DataAccessResult.READ_WRITE_DENIED
    assert dialect.end(WriteResponse((denied,))) == SetResponseNormal(INVOKE, denied)


def test_invoking(dialect: ShortDialect) -> None:
    assert said(dialect, ActionRequestNormal(INVOKE, OPEN, b"\x0f\x00")) == "0601022020010f00"
    assert dialect.end(WriteResponse((DataAccessResult.SUCCESS,))) == ActionResponseNormal(INVOKE, ActionResult.SUCCESS)
    assert said(dialect, ActionRequestNormal(INVOKE, OPEN)) == "06010220200100"
    denied = DataAccessResult.READ_WRITE_DENIED
    refused = dialect.end(WriteResponse((denied,)))
    assert refused == ActionResponseNormal(INVOKE, ActionResult.READ_WRITE_DENIED)


def test_lists_of_writes_and_methods(dialect: ShortDialect) -> None:
    success, undefined = DataAccessResult.SUCCESS, DataAccessResult.OBJECT_UNDEFINED
    attributes = (NOWHERE, None), (VALUE, None), (UNIT, None)
    writes = SetRequestWithList(INVOKE, attributes, (b"\x00", b"\x11\x05", b"\x11\x06"))
    assert said(dialect, writes) == "0602020708020710" + "02" + "11051106"
    answer = dialect.end(WriteResponse((success, DataAccessResult.READ_WRITE_DENIED)))
    assert answer == SetResponseWithList(INVOKE, (undefined, success, DataAccessResult.READ_WRITE_DENIED))
    methods = ActionRequestWithList(INVOKE, (OPEN, OPEN._replace(method_id=9)), (b"\x0f\x00", b"\x00"))
    assert said(dialect, methods) == "0601022020010f00"
    outcomes = Outcome(ActionResult.SUCCESS), Outcome(ActionResult.OBJECT_UNDEFINED)
    assert dialect.end(WriteResponse((success,))) == ActionResponseWithList(INVOKE, outcomes)
    nothing = ActionRequestWithList(INVOKE, (OPEN._replace(method_id=9),), (b"\x00",))
    assert dialect.begin(nothing) == ActionResponseWithList(INVOKE, outcomes[1:])


@pytest.mark.parametrize("reply", [REPLY_TO_HLS, MethodDescriptor(12, REPLY_TO_HLS.logical_name, 8)])
def test_a_method_that_returns_something(reply: MethodDescriptor) -> None:
    dialect = ShortDialect()
    assert said(dialect, ActionRequestNormal(INVOKE, reply, b"\x09\x01\xaa")) == "050104fa58000901aa"
    answer = dialect.end(ReadResponse((b"\x09\x01\xbb",)))
    assert answer == ActionResponseNormal(INVOKE, ActionResult.SUCCESS, b"\x09\x01\xbb")
    dialect.begin(ActionRequestNormal(INVOKE, reply, b"\x09\x01\xaa"))
    refused = dialect.end(ReadResponse((DataAccessResult.READ_WRITE_DENIED,)))
    assert refused == ActionResponseNormal(INVOKE, ActionResult.READ_WRITE_DENIED)


@pytest.mark.parametrize("cuts", [(2,), (0, 2), (1, 2), (1, 1, 4), (9,)])
def test_a_value_in_blocks_begins_after_its_head(dialect: ShortDialect, cuts: tuple[int, ...]) -> None:
    whole = bytes.fromhex("0100" + "0104110111021103" + "1104")
    dialect.begin(GetRequestNormal(INVOKE, BUFFER))
    places = [0, *cuts, len(whole)]
    got = b""
    for number, (start, end) in enumerate(itertools.pairwise(places), 1):
        block = dialect.end(BlockReceived(0, number, whole[start:end], end == len(whole)))
        assert isinstance(block, BlockReceived)
        assert (block.block_number, block.last_block) == (number, end == len(whole))
        got += block.raw_data
    assert got == whole[2:]


def test_a_reason_in_a_block(dialect: ShortDialect) -> None:
    dialect.begin(GetRequestNormal(INVOKE, BUFFER))
    answer = dialect.end(BlockReceived(0, 1, b"\x01\x01\x03", last_block=True))
    assert answer == GetResponseNormal(INVOKE, DataAccessResult.READ_WRITE_DENIED)


@pytest.mark.parametrize("head", [b"\x02\x00", b"\x01\x02"])
def test_blocks_of_something_else(dialect: ShortDialect, head: bytes) -> None:
    dialect.begin(GetRequestNormal(INVOKE, BUFFER))
    with pytest.raises(RemoteProtocolError, match="one result in blocks"):
        dialect.end(BlockReceived(0, 1, head + b"\x01\x00", last_block=True))


def test_what_is_no_answer_is_left_alone(dialect: ShortDialect) -> None:
    refusal = ExceptionResponse(1, 2)
    assert dialect.end(refusal) is refusal
    dialect.begin(GetRequestNormal(INVOKE, VALUE))
    assert dialect.end(refusal) is refusal


def test_answers_of_another_kind(dialect: ShortDialect) -> None:
    dialect.begin(SetRequestNormal(INVOKE, VALUE, b"\x00"))
    with pytest.raises(RemoteProtocolError, match="data in the answer to a write"):
        dialect.end(ReadResponse((b"\x00",)))
    dialect.begin(GetRequestNormal(INVOKE, VALUE))
    with pytest.raises(RemoteProtocolError, match="a result"):
        dialect.end(ReadResponse((BlockNumber(1),)))


def test_requests_without_an_equivalent(dialect: ShortDialect) -> None:
    with pytest.raises(LocalProtocolError, match="nothing like GetRequestNext"):
        dialect.begin(GetRequestNext(INVOKE, 1))
