"""The meter's side: virtual meters answer from a register image that is computed when asked for.

The image of a profile is shared by all meters of it: which addresses are mapped, and per request seen so far a prepared
answer (which objects, how they are packed). Addresses between objects of one neighbourhood (the profile's `gap`) read as
zero, as on real meters; everything else is an illegal data address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from headend.drivers.base import MeterModel
from headend.drivers.mapping import scale
from headend.drivers.modbus.plan import NO_IDENTIFICATION_QUIRK, number, read_rules
from headend.drivers.modbus.recognising import recognise
from headend.drivers.modbus.refs import RegisterRef, Table, register_ref
from headend.errors import HeadendError, LinkError, LocalProtocolError, RemoteProtocolError
from headend.model.objects import ObjectEntry
from headend.model.profile import MeterProfile
from headend.model.reading import Value
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.modbus.connection import BROADCAST, ModbusConnection, RequestAdu, ResponseAdu
from headend.protocols.modbus.pdu import (
    DeviceIdentificationResponse,
    ExceptionCode,
    ExceptionResponse,
    Function,
    InvalidRequest,
    ReadDeviceIdentification,
    ReadRequest,
    ReadResponse,
    ReportServerId,
    Request,
    Response,
    ServerIdResponse,
    WriteMultiple,
    WriteMultipleResponse,
    WriteSingle,
    encode_request,
)
from headend.protocols.modbus.values import BitLayout, RegisterLayout, RegisterType, decode_bits
from headend.transport.link import Link

_MAX_ANSWERS: Final = 4096
_MBAP_READ_SIZE: Final = 12
_DIRECT_UNITS: Final = (0, 0xFF)  # in Modbus TCP: the device itself
_MAX_IDENTIFICATION_TEXT: Final = 80
_POWERS: Final[tuple[int, ...]] = tuple(10**n for n in range(20))


class _Refusal(Exception):
    """A request that is answered with an exception."""

    def __init__(self, code: ExceptionCode) -> None:
        self.code = code


class _Answer:
    """A prepared answer to one read: which objects, packed how."""

    __slots__ = ("_converters", "_cut", "_layout", "head")

    def __init__(
        self, objects: Sequence[tuple[RegisterRef, ObjectEntry, int]], request: ReadRequest, *, bits: bool
    ) -> None:
        """`objects` (with their places in the profile) overlap the range, ascending; it may cut the outer ones."""
        start, end = request.address, request.address + request.count
        self._converters = tuple((index, _converter(ref, entry)) for ref, entry, index in objects)
        self._layout: BitLayout | RegisterLayout
        self._cut = slice(None)
        if bits:
            self._layout = BitLayout([ref.address - start for ref, _, _ in objects], request.count)
        else:
            first = min([start, *(ref.address for ref, _, _ in objects)])
            last = max([end, *(ref.end for ref, _, _ in objects)])
            fields = [(ref.address - first, ref.type) for ref, _, _ in objects if ref.type]
            self._layout = RegisterLayout(fields, last - first)
            self._cut = slice((start - first) * 2, (end - first) * 2)
        self.head = bytes((request.function, request.byte_count))

    def data(self, model: MeterModel) -> bytes:
        """The octets of the registers (or bits) now; raises LocalProtocolError when a value does not fit."""
        at = model.now()
        value = model.value
        return self._layout.encode([convert(value(index, at)) for index, convert in self._converters])[self._cut]


def _converter(ref: RegisterRef, entry: ObjectEntry) -> Callable[[Value], Value]:
    """From the base unit to what the registers hold. Counters roll over, as in real meters."""
    kind, exponent = ref.type, entry.exponent
    if kind is None or kind.kind == "text":
        return _unchanged
    if kind.kind[0] == "f":
        return lambda value: value if isinstance(value, str) else _divide(value, exponent)
    if kind.kind[0] == "u":
        modulus = 1 << 16 * kind.registers
        return lambda value: round(_divide(_to_number(value), exponent)) % modulus
    return lambda value: round(_divide(_to_number(value), exponent))


def _unchanged(value: Value) -> Value:
    return value


def _to_number(value: Value) -> float:
    """Numbers that identity texts hold (serial numbers in registers); other text is 0."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else 0
    return value


def _divide(value: float, exponent: int) -> float:
    return value / _POWERS[exponent] if exponent > 0 else value * _POWERS[-exponent]


class Image:
    """The register image of a profile."""

    __slots__ = ("_acts", "_answers", "_mapped", "_max_registers", "_tables")

    def __init__(self, profile: MeterProfile) -> None:
        rules = read_rules(profile.link, profile.quirks)
        self._max_registers = rules.max_registers
        self._answers: dict[bytes, _Answer | ExceptionCode] = {}
        self._acts = {register_ref(setup.ref.address) for setup in profile.commands}
        self._tables: dict[int, list[tuple[RegisterRef, ObjectEntry, int]]] = {table.value: [] for table in Table}
        for index, entry in enumerate(profile.objects):
            ref = register_ref(entry.ref.address)
            self._tables[ref.table.value].append((ref, entry, index))
        for table, objects in self._tables.items():
            objects.sort(key=lambda item: item[0].address)
            apart = objects[:1]
            for item in objects[1:]:
                if item[0].address >= apart[-1][0].end:
                    apart.append(item)
            self._tables[table] = apart
        self._mapped = {table: _neighbourhoods(objects, rules.gap) for table, objects in self._tables.items()}

    def answer(self, request: ReadRequest) -> _Answer | ExceptionCode:
        """The prepared answer to a read, or the exception code."""
        pdu = encode_request(request)
        found = self._answers.get(pdu)
        if found is None:
            if len(self._answers) >= _MAX_ANSWERS:
                self._answers.clear()
            found = self._answers[pdu] = self._make(request)
        return found

    def prepared(self, pdu: bytes) -> _Answer | None:
        """The answer to a read that was asked for before, by the octets of its PDU."""
        found = self._answers.get(pdu)
        return found if isinstance(found, _Answer) else None

    def _make(self, request: ReadRequest) -> _Answer | ExceptionCode:
        bits = request.function in (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)
        if not bits and request.count > self._max_registers:
            return ExceptionCode.ILLEGAL_DATA_VALUE
        start, end = request.address, request.address + request.count
        if not any(low <= start and end <= high for low, high in self._mapped[request.function]):
            return ExceptionCode.ILLEGAL_DATA_ADDRESS
        inside = [item for item in self._tables[request.function] if item[0].end > start and item[0].address < end]
        return _Answer(inside, request, bits=bits)

    def targets(self, table: Table, address: int, count: int) -> list[tuple[RegisterRef, ObjectEntry, int]]:
        """The writable objects that a write covers exactly, none for a command; raises the refusal of anything else."""
        end = address + count
        inside = [item for item in self._tables[table.value] if address <= item[0].address < end]
        covered = sum(ref.size for ref, _, _ in inside)
        if covered != count or not all(entry.writable and ref.end <= end for ref, entry, _ in inside):
            if any((ref.table, ref.address, ref.size) == (table, address, count) for ref in self._acts):
                return []
            raise _Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return inside


def _neighbourhoods(objects: Sequence[tuple[RegisterRef, ObjectEntry, int]], gap: int) -> list[tuple[int, int]]:
    """Address ranges without holes greater than `gap`."""
    ranges: list[tuple[int, int]] = []
    for ref, _, _ in objects:
        if ranges and ref.address - ranges[-1][1] <= gap:
            ranges[-1] = (ranges[-1][0], ref.end)
        else:
            ranges.append((ref.address, ref.end))
    return ranges


@lru_cache(maxsize=512)
def image_of(profile: MeterProfile) -> Image:
    """The image of a profile, made once."""
    return Image(profile)


class VirtualUnits:
    """The owner of a link in the meter role: one meter, or several units on one wire.

    A read over TCP that came whole, and has been answered before, takes a short way; it gives the same octets.
    """

    __slots__ = ("_connection", "_link", "_models", "_start")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._models: dict[int, tuple[MeterModel, Image]] = {}
        self._connection: ModbusConnection | None = None
        self._start = b""

    def add(self, model: MeterModel) -> None:
        """One more unit on the wire."""
        unit_id = number(model.params, "unit", number(model.profile.link, "unit", 1))
        self._models[unit_id] = (model, image_of(model.profile))

    def data_received(self, data: bytes) -> None:
        """Octets came in: answer the requests in them."""
        connection = self._connection
        if connection is not None and len(data) == _MBAP_READ_SIZE and not connection.pending and not connection.rtu:
            answer = self._answer_at_once(data)
            if answer:
                self._link.write(answer)
                return
        if connection is None:
            data = self._start + data
            connection = self._choose(data)
            if connection is None:
                return
        try:
            connection.receive_data(data)
            while isinstance(event := connection.next_event(), RequestAdu):
                self._respond(connection, event)
        except RemoteProtocolError:
            self._link.abort()

    def _answer_at_once(self, data: bytes) -> bytes:
        """The frame that answers a whole read; empty for anything that needs the general way."""
        found = self._models.get(data[6])
        if found is None or data[2:6] != b"\0\0\0\6":
            return b""
        model, image = found
        answer = image.prepared(data[7:])
        if answer is None:
            return b""
        try:
            octets = answer.data(model)
        except LocalProtocolError:
            return b""
        return b"%b\0\0\0%c%c%b%b" % (data[:2], len(octets) + 3, data[6], answer.head, octets)

    def link_lost(self, error: LinkError) -> None:  # noqa: ARG002 - shape of Receiver
        """The link is gone."""
        _served.pop(self._link, None)

    def _choose(self, data: bytes) -> ModbusConnection | None:
        """MBAP or RTU, by the first request; None while that cannot be told."""
        framing = recognise(data)
        if framing is NEED_DATA:
            self._start = data
            return None
        self._start = b""
        self._connection = ModbusConnection(Role.SERVER, rtu=framing != "tcp")
        return self._connection

    def _respond(self, connection: ModbusConnection, event: RequestAdu) -> None:
        found = self._models.get(event.unit_id)
        if found is None and not connection.rtu and event.unit_id in _DIRECT_UNITS and len(self._models) == 1:
            found = next(iter(self._models.values()))
        broadcast = connection.rtu and event.unit_id == BROADCAST
        if broadcast:
            for model, image in self._models.values():
                respond(model, image, event.request)
            return
        if found is not None:
            response = respond(*found, event.request)
        elif connection.rtu:
            return
        else:
            response = ExceptionResponse(event.request.function, ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
        connection.send(ResponseAdu(event.unit_id, response, event.transaction_id))
        self._link.write(connection.data_to_send())


_served: dict[Link, VirtualUnits] = {}


def serve(link: Link, model: MeterModel) -> None:
    """Play a meter on a link; called again for the same link, one more unit on the wire."""
    units = _served.get(link)
    if units is not None:
        units.add(model)
        return
    units = _served[link] = VirtualUnits(link)
    units.add(model)
    link.set_receiver(units)


def respond(model: MeterModel, image: Image, request: Request | InvalidRequest) -> Response:
    """The meter's response to one request."""
    try:
        match request:
            case ReadRequest():
                answer = image.answer(request)
                if isinstance(answer, _Answer):
                    return ReadResponse(request.function, answer.data(model))
                return ExceptionResponse(request.function, answer)
            case WriteSingle(function, address, value):
                coil = function == Function.WRITE_SINGLE_COIL
                octets = bytes((value >> 8 & 1,)) if coil else value.to_bytes(2, "big")
                _write(model, image, Table.COIL if coil else Table.HOLDING, address, 1, octets)
                return request
            case WriteMultiple(function, address, count, data):
                coils = function == Function.WRITE_MULTIPLE_COILS
                _write(model, image, Table.COIL if coils else Table.HOLDING, address, count, data)
                return WriteMultipleResponse(function, address, count)
            case ReadDeviceIdentification() | ReportServerId() if NO_IDENTIFICATION_QUIRK in model.profile.quirks:
                return ExceptionResponse(request.function, ExceptionCode.ILLEGAL_FUNCTION)
            case ReadDeviceIdentification():
                return _device_identification(model, request)
            case ReportServerId():
                return _server_id(model)
            case _:
                return ExceptionResponse(request.function, request.code)
    except _Refusal as refusal:
        return ExceptionResponse(request.function, refusal.code)
    except LocalProtocolError:
        return ExceptionResponse(request.function, ExceptionCode.SERVER_DEVICE_FAILURE)


def _write(model: MeterModel, image: Image, table: Table, address: int, count: int, data: bytes) -> None:
    for ref, entry, index in image.targets(table, address, count):
        offset = ref.address - address
        raw = _decode(ref.type, data, offset)
        value = None if raw is None else scale(raw, entry.exponent)
        if value is None:
            raise _Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
        try:
            model.write(index, value)
        except HeadendError:
            raise _Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS) from None


def _decode(kind: RegisterType | None, data: bytes, offset: int) -> Value | None:
    return decode_bits(data, offset + 1)[offset] if kind is None else kind.decode(data, offset * 2)


def _device_identification(model: MeterModel, request: ReadDeviceIdentification) -> Response:
    identity, profile = model.identity, model.profile
    texts = (profile.vendor, identity.model or profile.model, identity.firmware or "1.0")
    objects = tuple(
        (object_id, text.encode("latin-1", "replace")[:_MAX_IDENTIFICATION_TEXT])
        for object_id, text in enumerate(texts)
    )
    first = request.object_id
    if request.category == 4:
        if first >= len(objects):
            raise _Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        objects = objects[first : first + 1]
    elif first < len(objects):
        objects = objects[first:]
    return DeviceIdentificationResponse(request.category, 0x81, more_follows=False, next_object_id=0, objects=objects)


def _server_id(model: MeterModel) -> Response:
    identity, profile = model.identity, model.profile
    text = " ".join((profile.vendor, identity.model or profile.model, identity.serial))
    return ServerIdResponse(b"\x01\xff" + text.strip().encode("latin-1", "replace")[:200])
