"""ACCESS: several reads, writes and invocations in one request D9, answered by one response DA (IEC 62056-5-3).

```text
 access-request    D9  long invoke id  date-time  list of what is asked  list of data
 access-response   DA  long invoke id  date-time  [list of what was asked]  list of data  list of results

 what is asked     01 attribute                   read
                   02 attribute                   write the data at its place
                   03 method                      invoke it with the data at its place
                   04 attribute selector parameters
                   05 attribute selector parameters
 result            01, 02 data-access-result      03 action-result
```

Each list has as many elements as there are things asked; null-data stand where there are none. Data stay encoded A-XDR. A
request whose long invoke id has the self-descriptive bit wants to see in the response what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, TypeAlias

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
    check_count,
    decode_attribute,
    decode_method,
    decode_values,
    encode_values,
    take_data,
)
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

LONG_INVOKE_ID: Final = 0x00FFFFFF
SELF_DESCRIPTIVE: Final = 0x10000000
"""The response repeats what was asked."""
BREAK_ON_ERROR: Final = 0x20000000
"""Nothing is done any more after the first failure."""
LONG_CONFIRMED: Final = 0x40000000
LONG_HIGH_PRIORITY: Final = 0x80000000

NULL_DATA: Final = b"\x00"
_GET, _SET, _ACTION, _GET_SELECTED, _SET_SELECTED = 0x01, 0x02, 0x03, 0x04, 0x05


@dataclass(frozen=True, slots=True)
class AccessGet:
    """Read an attribute, or the part of it that `access` selects."""

    attribute: AttributeDescriptor
    access: AccessSelection | None = None

    def encode(self) -> bytes:
        """Choice, descriptor and selection."""
        return _encode_attribute(self, _GET, _GET_SELECTED)


@dataclass(frozen=True, slots=True)
class AccessSet:
    """Write an attribute, or the part of it that `access` selects."""

    attribute: AttributeDescriptor
    access: AccessSelection | None = None

    def encode(self) -> bytes:
        """Choice, descriptor and selection."""
        return _encode_attribute(self, _SET, _SET_SELECTED)


@dataclass(frozen=True, slots=True)
class AccessAction:
    """Invoke a method."""

    method: MethodDescriptor

    def encode(self) -> bytes:
        """Choice and descriptor."""
        return bytes((_ACTION,)) + self.method.encode()


AccessSpecification: TypeAlias = AccessGet | AccessSet | AccessAction


class AccessResult(NamedTuple):
    """What became of one thing asked: an ActionResult for a method, a DataAccessResult for all else."""

    service: int
    result: DataAccessResult | ActionResult


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Several things asked, each with its data. `date_time` is twelve octets or none."""

    TAG: ClassVar[int] = 0xD9

    long_invoke_id_and_priority: int
    specifications: tuple[AccessSpecification, ...]
    data: tuple[bytes, ...]
    date_time: bytes = b""

    @property
    def confirmed(self) -> bool:
        """True when the request wants an answer."""
        return self.long_invoke_id_and_priority & LONG_CONFIRMED != 0

    def encode(self) -> bytes:
        """The APDU."""
        return _encode_head(self) + encode_specifications(self.specifications) + encode_values(self.data)


@dataclass(frozen=True, slots=True)
class AccessResponse:
    """Data and result of each thing that was asked; `specifications` repeats it if that was wanted."""

    TAG: ClassVar[int] = 0xDA

    long_invoke_id_and_priority: int
    data: tuple[bytes, ...]
    results: tuple[AccessResult, ...]
    date_time: bytes = b""
    specifications: tuple[AccessSpecification, ...] | None = None

    def encode(self) -> bytes:
        """The APDU."""
        asked = b"\x00" if self.specifications is None else b"\x01" + encode_specifications(self.specifications)
        results = b"".join(bytes(each) for each in self.results)
        return _encode_head(self) + asked + encode_values(self.data) + encode_length(len(self.results)) + results


def encode_specifications(specifications: tuple[AccessSpecification, ...]) -> bytes:
    """How many, and each."""
    return encode_length(len(specifications)) + b"".join(each.encode() for each in specifications)


def service_of(specification: AccessSpecification) -> int:
    """The service that a result names."""
    if isinstance(specification, AccessAction):
        return _ACTION
    return _GET if isinstance(specification, AccessGet) else _SET


def decode_access_request(reader: Reader) -> AccessRequest:
    """Decode after the tag."""
    invoke, date_time = reader.u32("long invoke id"), reader.string("date-time")
    specifications, data = _decode_specifications(reader), decode_values(reader)
    reader.finish("access-request")
    check_count("access-request", len(specifications), len(data))
    return AccessRequest(invoke, specifications, data, date_time)


def decode_access_response(reader: Reader) -> AccessResponse:
    """Decode after the tag."""
    invoke, date_time = reader.u32("long invoke id"), reader.string("date-time")
    specifications = _decode_specifications(reader) if reader.flag("what was asked") else None
    data = decode_values(reader)
    results = tuple(_decode_result(reader) for _ in range(reader.length("number of results")))
    reader.finish("access-response")
    check_count("access-response", len(results), len(data))
    if specifications is not None:
        check_count("access-response", len(specifications), len(data))
    return AccessResponse(invoke, data, results, date_time, specifications)


def _encode_head(apdu: AccessRequest | AccessResponse) -> bytes:
    head = bytes((apdu.TAG,)) + apdu.long_invoke_id_and_priority.to_bytes(4, "big")
    return head + encode_length(len(apdu.date_time)) + apdu.date_time


def _encode_attribute(asked: AccessGet | AccessSet, whole: int, selected: int) -> bytes:
    if asked.access is None:
        return bytes((whole,)) + asked.attribute.encode()
    return bytes((selected,)) + asked.attribute.encode() + bytes((asked.access.selector,)) + asked.access.parameters


def _decode_specifications(reader: Reader) -> tuple[AccessSpecification, ...]:
    return tuple(_decode_specification(reader) for _ in range(reader.length("number of things asked")))


def _decode_specification(reader: Reader) -> AccessSpecification:
    offset = reader.offset
    choice = reader.u8("what is asked")
    if choice == _ACTION:
        return AccessAction(decode_method(reader))
    if not _GET <= choice <= _SET_SELECTED:
        raise DecodeError("what is asked", offset=offset, expected="01 to 05", got=f"{choice:02x}")
    attribute, access = decode_attribute(reader), None
    if choice in (_GET_SELECTED, _SET_SELECTED):
        access = AccessSelection(reader.u8("access selector"), take_data(reader))
    return AccessGet(attribute, access) if choice in (_GET, _GET_SELECTED) else AccessSet(attribute, access)


def _decode_result(reader: Reader) -> AccessResult:
    offset = reader.offset
    service, result = reader.u8("service"), reader.u8("result")
    if not _GET <= service <= _ACTION:
        raise DecodeError("service of a result", offset=offset, expected="01 to 03", got=f"{service:02x}")
    return AccessResult(service, ActionResult(result) if service == _ACTION else DataAccessResult(result))
