"""Anything that the two sides of a conversation can say, as Hypothesis makes it."""

from __future__ import annotations

from hypothesis import strategies as st

from headend.protocols.dlms.acse import ApplicationContext, Rlre, Rlrq
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
    SetResponseDatablock,
    SetResponseLastDatablock,
    SetResponseNormal,
    SetResponseWithList,
)
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
    write_block,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse

EVERYTHING = Conformance(0x1C7F3F)

octets = st.binary(max_size=40)
invokes = st.sampled_from([0xC1, 0xC2, 0x41, 0x0F])
numbers = st.sampled_from([0, 1, 2, 3, 0xFFFFFFFF])
flags = st.booleans()
names = st.binary(min_size=6, max_size=6)
indexes = st.integers(-128, 127)
attributes = st.builds(AttributeDescriptor, st.integers(0, 0xFFFF), names, indexes)
methods = st.builds(MethodDescriptor, st.integers(0, 0xFFFF), names, indexes)
leaves = st.one_of(
    st.sampled_from([b"\x00", b"\x11\x07", b"\x06\x00\x00\x00\x2a", b"\x09\x00", b"\xff"]),
    octets.map(lambda content: b"\x09" + encode_length(len(content)) + content),
)
data = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4).map(lambda items: bytes((0x02, len(items))) + b"".join(items)),
    max_leaves=8,
)
"""Encoded A-XDR values."""
reasons = st.sampled_from([reason for reason in DataAccessResult if reason is not DataAccessResult.SUCCESS])
results = data | reasons
selections = st.none() | st.builds(AccessSelection, st.integers(0, 255), data)
pdus = st.sampled_from([0, 12, 13, 64, 200, 0xFFFF])
contexts = st.sampled_from(list(ApplicationContext))
specifications = st.one_of(
    st.builds(AccessGet, attributes, selections),
    st.builds(AccessSet, attributes, selections),
    st.builds(AccessAction, methods),
)
long_invokes = st.sampled_from([0xC0000001, 0xC0000002, 0x80000001, 0])
outcomes = st.builds(Outcome, st.sampled_from(ActionResult), st.none() | results)
titles = st.sampled_from([b"", b"HDE00001", b"MTR00001", b"XXX00001"])

short_numbers = st.sampled_from([0, 1, 2, 3, 0xFFFF])
variables = st.one_of(
    st.builds(VariableName, st.integers(0, 0xFFFF)),
    st.builds(ParameterizedAccess, st.integers(0, 0xFFFF), st.integers(0, 255), data),
)
writes = st.lists(st.tuples(variables, data), max_size=4).map(
    lambda pairs: (tuple(variable for variable, _ in pairs), tuple(value for _, value in pairs))
)
blocks = st.builds(DataBlock, flags, short_numbers, octets) | st.builds(BlockNumber, short_numbers)
statuses = st.sampled_from(DataAccessResult)

client_says = st.one_of(
    st.builds(
        AssociationRequest,
        initiate=st.builds(
            InitiateRequest,
            conformance=st.sampled_from([EVERYTHING, Conformance.GET, Conformance(0)]),
            max_receive_pdu=pdus,
            dedicated_key=st.sampled_from([b"", bytes(16), b"odd"]),
        ),
        application_context=contexts,
        mechanism=st.sampled_from([None, 1, 5, 255]),
        authentication_value=octets,
        system_title=titles,
    ),
    st.builds(GetRequestNormal, invokes, attributes, selections),
    st.builds(GetRequestNext, invokes, numbers),
    st.builds(GetRequestWithList, invokes, st.lists(st.tuples(attributes, selections), max_size=4).map(tuple)),
    st.builds(SetRequestNormal, invokes, attributes, data, selections),
    st.builds(SetRequestFirstDatablock, invokes, attributes, selections, flags, numbers, octets),
    st.builds(SetRequestDatablock, invokes, flags, numbers, octets),
    st.builds(ActionRequestNormal, invokes, methods, st.none() | data),
    st.builds(ActionRequestNextPblock, invokes, numbers),
    st.builds(ActionRequestFirstPblock, invokes, methods, flags, numbers, octets),
    st.builds(ActionRequestPblock, invokes, flags, numbers, octets),
    st.builds(ReadRequest, st.lists(variables, max_size=4).map(tuple)),
    st.builds(BlockNumberAccess, short_numbers).map(lambda access: ReadRequest((access,))),
    st.builds(ReadDataBlockAccess, flags, short_numbers, octets).map(lambda block: ReadRequest((block,))),
    writes.map(lambda pair: WriteRequest(*pair)),
    st.builds(write_block, st.builds(WriteDataBlockAccess, flags, short_numbers), octets),
    writes.map(lambda pair: UnconfirmedWriteRequest(*pair)),
    st.builds(SetRequestWithList, invokes, st.tuples(st.tuples(attributes, selections)), st.tuples(data)),
    st.builds(ActionRequestWithList, invokes, st.tuples(methods), st.tuples(data)),
    st.builds(AccessRequest, long_invokes, st.tuples(specifications), st.tuples(data)),
    st.builds(Rlrq),
)
meter_says = st.one_of(
    st.builds(
        AssociationResponse,
        initiate=st.none()
        | st.builds(ConfirmedServiceError, st.just(1), st.just(6), st.integers(0, 4))
        | st.builds(
            InitiateResponse,
            conformance=st.sampled_from([EVERYTHING, Conformance.GET, Conformance(0)]),
            max_receive_pdu=pdus,
        ),
        application_context=contexts,
        result=st.sampled_from([0, 1, 2]),
        diagnostic=st.integers(0, 14),
        authentication_value=octets,
        system_title=titles,
    ),
    st.builds(GetResponseNormal, invokes, results),
    st.builds(GetResponseWithDatablock, invokes, flags, numbers, octets | reasons),
    st.builds(GetResponseWithList, invokes, st.lists(results, max_size=4).map(tuple)),
    st.builds(SetResponseNormal, invokes, st.sampled_from(DataAccessResult)),
    st.builds(SetResponseDatablock, invokes, numbers),
    st.builds(SetResponseLastDatablock, invokes, st.sampled_from(DataAccessResult), numbers),
    st.builds(ActionResponseNormal, invokes, st.sampled_from(ActionResult), st.none() | results),
    st.builds(ActionResponsePblock, invokes, flags, numbers, octets),
    st.builds(ActionResponseNextPblock, invokes, numbers),
    st.builds(ReadResponse, st.lists(results, max_size=4).map(tuple)),
    blocks.map(lambda block: ReadResponse((block,))),
    st.builds(WriteResponse, st.lists(statuses, max_size=4).map(tuple)),
    st.builds(BlockNumber, short_numbers).map(lambda number: WriteResponse((number,))),
    st.builds(SetResponseWithList, invokes, st.lists(st.sampled_from(DataAccessResult), max_size=4).map(tuple)),
    st.builds(ActionResponseWithList, invokes, st.lists(outcomes, max_size=3).map(tuple)),
    st.builds(AccessResponse, long_invokes, st.tuples(data), st.tuples(st.builds(AccessResult, st.just(1), statuses))),
    st.builds(ExceptionResponse, st.integers(0, 3), st.integers(0, 5)),
    st.builds(ConfirmedServiceError, st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    st.builds(DataNotification, st.integers(0, 0xFFFFFFFF), st.sampled_from([b"", bytes(12)]), data),
    st.builds(EventNotification, attributes, data, st.none() | octets),
    st.tuples(writes, st.none() | octets).map(lambda told: InformationReport(*told[0], told[1])),
    st.builds(Rlre),
)
