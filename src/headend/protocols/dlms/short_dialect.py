"""Requests of logical-name referencing said in short names, and their answers the other way.

```text
 GET                READ     name, or name with selector and parameters
 GET with list      READ     several of them
 SET                WRITE
 ACTION             WRITE    the parameters are the data, null-data where there are none
                    READ     with selector 0, for the few methods that return something
```

Who asks for attributes and methods need not know then how a meter names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from headend.errors import LocalProtocolError, RemoteProtocolError
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import AccessSelection, ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.get import (
    GetRequestNormal,
    GetRequestWithList,
    GetResponseNormal,
    GetResponseWithList,
)
from headend.protocols.dlms.apdu.set import SetRequestNormal, SetResponseNormal
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
        self._found: list[Variable | None] = []
        self._head = b""

    def begin(self, request: Request) -> ShortRequest | Response:
        """The request in short names; or the answer to it, when the meter has nothing of what is asked for.

        Raises LocalProtocolError for a request that has no equivalent.
        """
        self._asked, self._head = request, b""
        match request:
            case GetRequestNormal(_, attribute, access):
                self._found = [self._attribute(attribute, access)]
            case GetRequestWithList(_, attributes):
                self._found = [self._attribute(attribute, access) for attribute, access in attributes]
            case SetRequestNormal(_, attribute, data, access):
                return self._write(request, self._attribute(attribute, access), data)
            case ActionRequestNormal(_, method, parameters):
                data = _NULL_DATA if parameters is None else parameters
                name = self._method(method)
                if name is not None and (_is_reply(method) or (method.class_id, method.method_id) in RETURNING):
                    self._found = [ParameterizedAccess(name, 0, data)]
                else:
                    return self._write(request, None if name is None else VariableName(name), data)
            case _:
                raise LocalProtocolError(f"short names have nothing like {type(request).__name__}")
        variables = tuple(variable for variable in self._found if variable is not None)
        return ReadRequest(variables) if variables else self._answer(request, ())

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

    def _write(
        self, request: SetRequestNormal | ActionRequestNormal, variable: Variable | None, data: bytes
    ) -> ShortRequest | Response:
        self._found = [variable]
        return self._answer(request, ()) if variable is None else WriteRequest((variable,), (data,))

    def _attribute(self, attribute: AttributeDescriptor, access: AccessSelection | None) -> Variable | None:
        found = self._find(attribute.class_id, attribute.logical_name)
        name = found.attribute(attribute.attribute_id) if found else None
        if name is None:
            return None
        return VariableName(name) if access is None else ParameterizedAccess(name, *access)

    def _method(self, method: MethodDescriptor) -> int | None:
        if _is_reply(method):
            return REPLY_TO_HLS_SN
        found = self._find(method.class_id, method.logical_name)
        return found.method(method.method_id) if found else None

    def _find(self, class_id: int, logical_name: bytes) -> ShortObject | None:
        obis = Obis.from_bytes(logical_name)
        return self.names.find(class_id, obis) or _STANDARD.find(class_id, obis)

    def _answer(self, request: Request, results: tuple[ReadResult, ...]) -> Response:
        """The answer in logical names. What the meter was not asked for because it has no such thing is undefined."""
        told = iter(results)
        whole = [DataAccessResult.OBJECT_UNDEFINED if variable is None else next(told) for variable in self._found]
        invoke = request.invoke_id_and_priority
        if isinstance(request, GetRequestWithList):
            return GetResponseWithList(invoke, tuple(map(_data_or_reason, whole)))
        result = _data_or_reason(whole[0])
        if isinstance(request, GetRequestNormal):
            return GetResponseNormal(invoke, result)
        if isinstance(request, ActionRequestNormal):
            if isinstance(result, bytes):
                return ActionResponseNormal(invoke, ActionResult.SUCCESS, result)
            return ActionResponseNormal(invoke, ActionResult(result))
        if isinstance(result, bytes):
            raise RemoteProtocolError("data in the answer to a write")
        return SetResponseNormal(invoke, result)

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
