"""Any octets of DL/T 645 in words: frames, one or many, with noise between them. Pure.

Passwords are shown as asterisks. Where a password stands in a write of 1997 cannot be told: its data are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import singledispatch
from typing import Final, TypeAlias

from headend.drivers.base import Layer
from headend.drivers.dlt645.recorded import reseal
from headend.drivers.dlt645.records import decode_records
from headend.drivers.dlt645.values import meaning
from headend.errors import ConfigError, DecodeError, RemoteProtocolError
from headend.protocols.dlt645 import requests
from headend.protocols.dlt645.fields import ControlCommand, OutputSignal
from headend.protocols.dlt645.frame import (
    FROM_METER,
    FUNCTION,
    LEADER,
    MORE_FOLLOWS,
    REFUSED,
    START,
    Frame,
    decode_frame,
    frame_length,
)
from headend.protocols.dlt645.messages import FUNCTIONS, decode_request, decode_response
from headend.protocols.dlt645.responses import Confirmation, Data, MeterAddress, Refusal
from headend.standards.dlt645 import Version, find_register, format_di, status_bits

_Field: TypeAlias = tuple[str, str, int, int]

_HIDDEN: Final = "******"
_HEAD: Final = 10
_TAIL: Final = 2
_WORDS: Final = {
    requests.Read: "read",
    requests.ReadFollowing: "read what follows",
    requests.ReRead: "read again",
    requests.ReadAddress: "read the address",
    requests.Write: "write",
    requests.WriteAddress: "write the address",
    requests.SetTime: "set the time by broadcast",
    requests.Freeze: "freeze",
    requests.ChangeBaudRate: "change the speed",
    requests.ChangePassword: "change a password",
    requests.ClearDemand: "clear demand",
    requests.ClearMeter: "clear the meter",
    requests.ClearEvents: "clear events",
    requests.Control: "control",
    requests.SetOutput: "set the output",
    requests.Authenticate: "authenticate",
}


def explain(data: bytes) -> Layer:
    """Decode frames; what is malformed ends in a layer with `error` set."""
    layers: list[Layer] = []
    at = 0
    error = ""
    while at < len(data):
        start = _start(data, at)
        if start < 0:
            error = f"{len(data) - at} octets are no frame of DL/T 645 (at octet {at})"
            break
        try:
            frame, end = decode_frame(data, start)
        except RemoteProtocolError as wrong:
            layers.append(_damaged(data, start, wrong))
            break
        if start > at and data[at:start].strip(LEADER):
            error = f"{start - at} octets before a frame are noise (at octet {at})"
        layers.append(_frame_layer(frame, data, at if not data[at:start].strip(LEADER) else start, start, end))
        at = end
    if len(layers) == 1 and not error:
        return layers[0]
    if not data:
        error = "no octets"
    return Layer(name="DL/T 645", offset=0, length=len(data), layers=tuple(layers), error=error)


def _damaged(data: bytes, start: int, wrong: RemoteProtocolError) -> Layer:
    """What still can be told of a frame whose checksum is wrong; of others, only what is wrong."""
    try:
        repaired = decode_frame(reseal(data[start:]))[0]
    except RemoteProtocolError:
        return Layer(name="DL/T 645 frame", offset=start, length=len(data) - start, error=str(wrong))
    end = start + _HEAD + data[start + _HEAD - 1] + _TAIL
    return replace(_frame_layer(repaired, data, start, start, end), error=str(wrong))


def _start(data: bytes, at: int) -> int:
    """Where the next frame begins, or what looks most like one; -1 when nothing does."""
    start = data.find(START, at)
    doubtful = -1
    while start >= 0:
        length = frame_length(data, start)
        if length and start + length <= len(data):
            return start
        if doubtful < 0 and data[start + 7 : start + 8] == b"\x68":
            doubtful = start
        start = data.find(START, start + 1)
    return doubtful


def _frame_layer(frame: Frame, data: bytes, at: int, start: int, end: int) -> Layer:
    size = end - start - _HEAD - _TAIL
    fields: list[_Field] = [("leader", f"{start - at} octets FE", at, start - at)] if start > at else []
    whose = ", everybody" if frame.address.is_broadcast else ", a wildcard" if frame.address.has_wildcard else ""
    fields += [
        ("address", f"{frame.address}{whose}", start + 1, 6),
        ("control code", f"0x{frame.control:02X} ({_control(frame.control)})", start + 8, 1),
        ("length", str(size), start + 9, 1),
        ("checksum", f"0x{data[end - 2]:02X}", end - 2, 1),
    ]
    inner = _message(frame, start + _HEAD, size)
    return Layer(name="DL/T 645 frame", offset=at, length=end - at, fields=tuple(fields), layers=(inner,))


def _control(control: int) -> str:
    """The bits of a control code in words."""
    words = ["from the meter" if control & FROM_METER else "to the meter"]
    words += ["refused"] if control & REFUSED else []
    words += ["more follows"] if control & MORE_FOLLOWS else []
    return ", ".join([*words, f"function {control & FUNCTION:02X}"])


def _version(frame: Frame) -> Version | None:
    """The version whose function this is, by what stands in the data where both have one."""
    function, size = frame.control & FUNCTION, len(frame.data)
    known = [version for version in Version if function in FUNCTIONS[version]]
    if len(known) < 2:
        return known[0] if known else None
    return Version.V1997 if function == 0x03 and size < 8 and not frame.control & REFUSED else Version.V2007


def _message(frame: Frame, at: int, size: int) -> Layer:
    """What a frame carries; offsets count from the beginning of the input."""
    version = _version(frame)
    if version is None:
        error = f"no function {frame.control & FUNCTION:02X} in DL/T 645 (at octet {at - 2})"
        return Layer(name="data", offset=at, length=size, error=error)
    answer = bool(frame.control & FROM_METER)
    name = (
        f"{_WORDS[FUNCTIONS[version][frame.control & FUNCTION]]}, {'answer' if answer else 'request'} ({version.value})"
    )
    try:
        if answer:
            fields = list(_answer(frame, version))
        else:
            fields = list(_request(decode_request(frame.control, frame.data, version), frame.data, version))
    except (DecodeError, ConfigError) as error:
        return Layer(name=name, offset=at, length=size, error=f"{error} (counted from octet {at})")
    shown = tuple((what, value, at + offset, length) for what, value, offset, length in fields)
    return Layer(name=name, offset=at, length=size, fields=shown)


# --- answers ---


def _answer(frame: Frame, version: Version) -> Iterator[_Field]:
    response = decode_response(frame.control, frame.data, version)
    match response:
        case Refusal():
            yield ("error word", f"0x{response.error:02X} ({response.reason})", 0, 1)
            if response.detail:
                yield ("detail", response.detail.hex(" "), 1, len(response.detail))
        case MeterAddress(address):
            yield ("meter address", str(address), 0, 6)
        case Confirmation(octets):
            if octets:
                secret = frame.control & FUNCTION in (0x18, 0x0F)
                yield ("echo", _HIDDEN if secret else octets.hex(" "), 0, len(octets))
        case Data():
            yield from _data(response, version, parts=response.more or response.sequence is not None)


def _data(response: Data, version: Version, *, parts: bool) -> Iterator[_Field]:
    width = 4 if version is Version.V2007 else 2
    yield _di_field(response.di, version, 0)
    if parts and response.data:
        yield ("part of the data", response.data.hex(" "), width, len(response.data))
    elif not parts:
        yield from _values(response.di, version, response.data, width)
    if response.sequence is not None:
        yield ("sequence", str(response.sequence), width + len(response.data), 1)


def _di_field(di: int, version: Version, at: int) -> _Field:
    register = find_register(di, version)
    name = f" ({register.name})" if register else ""
    return ("data identifier", format_di(di, version) + name, at, 4 if version is Version.V2007 else 2)


def _values(di: int, version: Version, octets: bytes, at: int) -> Iterator[_Field]:
    """The values of an identifier, each with its unit."""
    if version is Version.V2007 and di >> 24 == 6 and octets[:2] == b"\xa0\xa0":
        yield from _records(octets, at)
        return
    register = find_register(di, version)
    known = meaning(di, version)
    if register is None or known.parts is None:
        if octets:
            yield ("octets", octets.hex(" "), at, len(octets))
        return
    values = known.values(octets)
    units, decimals = register.unit.split(","), [len(part.partition(".")[2]) for part in register.format.split(",")]
    for place, value in enumerate(values):
        item, part = divmod(place, len(known.parts))
        size = known.parts[part].size
        name = "value" if len(known.parts) == 1 else "time" if part and "Y" in register.format else f"value {part + 1}"
        unit = units[part] if part < len(units) else ""
        shown = "absent" if value is None else _amount(value, decimals[part] if part < len(decimals) else 0)
        yield (f"{name} {item + 1}" if len(values) > len(known.parts) else name, f"{shown} {unit}".strip(), at, size)
        if register.key.startswith("status_word_") and version is Version.V2007 and isinstance(value, int):
            yield from _bits(int(register.key[-1]), value, at)
        at += size


def _amount(value: object, decimals: int) -> str:
    if isinstance(value, int) and decimals:
        sign, digits = "-" if value < 0 else "", str(abs(value)).zfill(decimals + 1)
        return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
    return value.hex(" ") if isinstance(value, bytes) else f"{value}"


def _bits(word: int, value: int, at: int) -> Iterator[_Field]:
    """What the bits of a status word say."""
    for first, last, text in status_bits(word):
        number = value >> first & (1 << last - first + 1) - 1
        if number:
            yield (
                f"bit {first}" if first == last else f"bits {first} to {last}",
                text if first == last else f"{number} ({text})",
                at,
                2,
            )


def _records(octets: bytes, at: int) -> Iterator[_Field]:
    for record in decode_records(octets):
        shown = ", ".join(f"{format_di(di)}: {_recorded(di, value)}" for di, value in record.values.items())
        yield (f"load record {record.time}", shown, at + record.offset, record.length)


def _recorded(di: int, value: float | None) -> str:
    register = find_register(di)
    if register is None or value is None:
        return "absent"
    return f"{_amount(value, len(register.format.partition('.')[2]))} {register.unit}".strip()


# --- requests ---


def _request(request: object, data: bytes, version: Version) -> Iterator[_Field]:
    width = 4 if version is Version.V2007 else 2
    if isinstance(
        request, requests.Read | requests.ReadFollowing | requests.ReRead | requests.Write | requests.Authenticate
    ):
        yield _di_field(request.di, version, 0)
    yield from _rest(request, data, version, width)


@singledispatch
def _rest(request: object, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001 - shape of all
    """What a request holds beside its identifier."""
    if len(data) > at:
        yield ("octets", data[at:].hex(" "), at, len(data) - at)


@_rest.register
def _(request: requests.Read, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    if request.count is not None:
        yield ("rows", str(request.count), at, 1)
    if request.since is not None:
        yield ("from", str(request.since), at + 1, 5)


@_rest.register
def _(request: requests.ReadFollowing, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    if request.sequence is not None:
        yield ("sequence", str(request.sequence), at, 1)


@_rest.register
def _(request: requests.Write, data: bytes, version: Version, at: int) -> Iterator[_Field]:
    if request.password is not None:
        yield from _who(data, at)
        at += 8
    yield from _values(request.di, version, request.data, at)


@_rest.register
def _(request: requests.WriteAddress, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield ("new address", str(request.address), 0, 6)


@_rest.register
def _(request: requests.SetTime, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield ("time", str(request.time), 0, 6)


@_rest.register
def _(request: requests.Freeze, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield ("when", "now" if request.when == requests.NOW else str(request.when), 0, 4)


@_rest.register
def _(request: requests.ChangeBaudRate, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield ("speed", f"{request.baud_rate} baud", 0, 1)


@_rest.register
def _(request: requests.ChangePassword, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    start = len(data) - 8
    if request.di is not None:
        yield _di_field(request.di, version, 0)
    for what, offset in (("old", start), ("new", start + 4)):
        yield (f"{what} level", f"{data[offset]:02X}", offset, 1)
        yield (f"{what} password", _HIDDEN, offset + 1, 3)


@_rest.register(requests.ClearDemand)
@_rest.register(requests.ClearMeter)
def _(request: object, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    if data:
        yield from _who(data, 0)


@_rest.register
def _(request: requests.ClearEvents, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield from _who(data, 0)
    yield ("which", "all" if request.di == requests.ALL_EVENTS else format_di(request.di), 8, 4)


@_rest.register
def _(request: requests.Control, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    yield from _who(data, 0)
    known = {each.value: each.name.lower().replace("_", " ") for each in ControlCommand}
    yield ("command", f"0x{request.command:02X} ({known.get(request.command, 'of the maker')})", 8, 1)
    yield ("parameter", str(request.parameter), 9, 1)
    yield ("valid until", str(request.valid_until), 10, 6)


@_rest.register
def _(request: requests.SetOutput, data: bytes, version: Version, at: int) -> Iterator[_Field]:  # noqa: ARG001
    known = {each.value: each.name.lower().replace("_", " ") for each in OutputSignal}
    yield ("signal", f"{request.signal} ({known.get(request.signal, 'of the maker')})", 0, 1)


def _who(data: bytes, at: int) -> Iterator[_Field]:
    yield ("level", f"{data[at]:02X}", at, 1)
    yield ("password", _HIDDEN, at + 1, 3)
    yield ("operator", data[at + 4 : at + 8][::-1].hex(), at + 4, 4)
