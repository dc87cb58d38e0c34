"""Requests of logical-name referencing said in short names, and their answers the other way.

```text
 GET                READ     name, or name with selector and parameters
 GET with list      READ     several of them
 SET, also a list   WRITE
 ACTION             WRITE    the parameters are the data, null-data where there are none
                    READ     with selector 0, for the few methods that return something
```

Who asks for attributes and methods need not know then how a meter names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.action import (
    ActionRequestNormal,
    ActionRequestWithList,
    ActionResponseNormal,
    ActionResponseWithList,
    Outcome,
)
from headend.protocols.dlms.apdu.descriptor import AccessSelection, ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.get import (
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetRequestWithList, SetResponseNormal, SetResponseWithList
from headend.protocols.dlms.apdu.short import (
    ParameterizedAccess,
    ReadRequest,
    ReadResponse,
    VariableName,
    WriteRequest,
    WriteResponse,
)
from headend.protocols.dlms.events import BlockReceived
from headend.protocols.dlms.security.authentication import REPLY_TO_HLS
from headend.protocols.dlms.short_names import (
    ASSOCIATION_NAME,
    ASSOCIATION_SN,
    REPLY_TO_HLS_SN,
    RESERVED,
    ShortNames,
    ShortObject,
)
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor, MethodDescriptor
    from headend.protocols.dlms.apdu.short import ReadResult, ShortRequest
    from headend.protocols.dlms.apdu.table import Request, Response
    from headend.protocols.dlms.events import Event

Variable: TypeAlias = VariableName | ParameterizedAccess

RETURNING: Final = frozenset({(12, 1), (12, 2), (12, 3), (12, 4), (12, 7), (12, 8), (64, 3), (64, 4), (64, 5), (64, 7)})
"""Class and id of the methods that return data; what returns nothing is invoked by WRITE."""

_NULL_DATA: Final = b"\x00"
_HEAD: Final = 2
"""Octets before the data of a single result: their number, and the choice."""
_STANDARD: Final = ShortNames(ShortObject(name, class_id, 0, obis) for (class_id, obis), name in RESERVED.items())


class ShortDialect:
    """One conversation, with one request at a time. `names` are those that the meter has told."""

    __slots__ = ("_asked", "_found", "_head", "names")

    def __init__(self) -> None:
        self.names = ShortNames(())
        self._asked: Request | None = None
        self._found: Sequence[Variable | None] = ()
        self._head = b""

    def begin(self, request: Request) -> ShortRequest | Response:
        """The request in short names; or the answer to it, when the meter has nothing of what is asked for.

        Raises LocalProtocolError for a request that has no equivalent.
        """
        self._asked, self._head = request, b""
        match request:
            case GetRequestNormal(_, attribute, access):
                return self._read(request, [self._attribute(attribute, access)])
            case GetRequestWithList(_, attributes):
                return self._read(request, [self._attribute(*each) for each in attributes])
            case SetRequestNormal(_, attribute, data, access):
                return self._write(request, [self._attribute(attribute, access)], [data])
            case SetRequestWithList(_, attributes, values):
                return self._write(request, [self._attribute(*each) for each in attributes], values)
            case ActionRequestNormal(_, method, parameters):
                return self._invoke(request, method, _NULL_DATA if parameters is None else parameters)
            case ActionRequestWithList(_, methods, values):
                return self._write(request, [self._method(method) for method in methods], values)
        raise LocalProtocolError(f"short names have nothing like {type(request).__name__}")

    def end(self, event: Event) -> Event:
        """What an answer means for who has asked; everything else is as it was. Raises RemoteProtocolError."""
        request = self._asked
        if request is None:
            return event
        if isinstance(event, BlockReceived):
            return self._block(event, request.invoke_id_and_priority)
        if not isinstance(event, ReadResponse | WriteResponse):
            return event
        self._asked = None
        return self._answer(request, event.results)

    def _read(self, request: Request, found: list[Variable | None]) -> ReadRequest | Response:
        self._found = found
        variables = tuple(variable for variable in found if variable is not None)
        return ReadRequest(variables) if variables else self._answer(request, ())

    def _write(
        self, request: Request, found: Sequence[Variable | None], values: Sequence[bytes]
    ) -> WriteRequest | Response:
        self._found = found
        known = [(each, data) for each, data in zip(found, values, strict=True) if each is not None]
        if not known:
            return self._answer(request, ())
        return WriteRequest(tuple(each for each, _ in known), tuple(data for _, data in known))

    def _invoke(self, request: ActionRequestNormal, method: MethodDescriptor, data: bytes) -> ShortRequest | Response:
        variable = self._method(method)
        if variable is not None and (_is_reply(method) or (method.class_id, method.method_id) in RETURNING):
            return self._read(request, [ParameterizedAccess(variable.name, 0, data)])
        return self._write(request, [variable], [data])

    def _attribute(self, attribute: AttributeDescriptor, access: AccessSelection | None) -> Variable | None:
        found = self._find(attribute.class_id, attribute.logical_name)
        name = found.attribute(attribute.attribute_id) if found else None
        if name is None:
            return None
        return VariableName(name) if access is None else ParameterizedAccess(name, *access)

    def _method(self, method: MethodDescriptor) -> VariableName | None:
        if _is_reply(method):
            return VariableName(REPLY_TO_HLS_SN)
        found = self._find(method.class_id, method.logical_name)
        name = found.method(method.method_id) if found else None
        return None if name is None else VariableName(name)

    def _find(self, class_id: int, logical_name: bytes) -> ShortObject | None:
        obis = Obis.from_bytes(logical_name)
        return self.names.find(class_id, obis) or _STANDARD.find(class_id, obis)

    def _answer(self, request: Request, results: tuple[ReadResult, ...]) -> Response:
        """The answer in logical names. What the meter was not asked for because it has no such thing is undefined."""
        told = iter(results)
        undefined = DataAccessResult.OBJECT_UNDEFINED
        whole = [undefined if variable is None else _data_or_reason(next(told)) for variable in self._found]
        invoke = request.invoke_id_and_priority
        if isinstance(request, GetRequestNormal):
            return GetResponseNormal(invoke, whole[0])
        if isinstance(request, GetRequestWithList):
            return GetResponseWithList(invoke, tuple(whole))
        if isinstance(request, ActionRequestNormal):
            return ActionResponseNormal(invoke, *_outcome(whole[0]))
        if isinstance(request, ActionRequestWithList):
            return ActionResponseWithList(invoke, tuple(map(_outcome, whole)))
        reasons = tuple(map(_reason, whole))
        if isinstance(request, SetRequestNormal):
            return SetResponseNormal(invoke, reasons[0])
        return SetResponseWithList(invoke, reasons)

    def _block(self, block: BlockReceived, invoke_id_and_priority: int) -> BlockReceived | GetResponseNormal:
        """A block of a long value. Before the value stand the number of results, which is one, and what it is."""
        raw_data = block.raw_data
        if len(self._head) < _HEAD:
            missing = _HEAD - len(self._head)
            self._head, raw_data = self._head + raw_data[:missing], raw_data[missing:]
            if self._head == b"\x01\x01" and raw_data:
                return GetResponseNormal(invoke_id_and_priority, DataAccessResult(raw_data[0]))
            if not b"\x01\x00".startswith(self._head):
                raise RemoteProtocolError("one result in blocks", expected="0100", got=self._head.hex())
        return BlockReceived(invoke_id_and_priority, block.block_number, raw_data, block.last_block)


def _is_reply(method: MethodDescriptor) -> bool:
    """reply_to_HLS_authentication, of whichever association it is asked for."""
    own = ASSOCIATION_SN, ASSOCIATION_NAME.to_bytes(), 8
    return method in (REPLY_TO_HLS, own)


def _data_or_reason(result: ReadResult) -> bytes | DataAccessResult:
    if isinstance(result, bytes | DataAccessResult):
        return result
    raise RemoteProtocolError("a result", expected="data or a reason", got="a block")


def _outcome(result: bytes | DataAccessResult) -> Outcome:
    if isinstance(result, bytes):
        return Outcome(ActionResult.SUCCESS, result)
    return Outcome(ActionResult(result))


def _reason(result: bytes | DataAccessResult) -> DataAccessResult:
    if isinstance(result, DataAccessResult):
        return result
    raise RemoteProtocolError("data in the answer to a write")
