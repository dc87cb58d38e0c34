"""What a meter told somebody else: the registers that were read in a recorded conversation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.base import Overheard
from headend.drivers.modbus.plan import read_rules
from headend.drivers.modbus.refs import register_ref
from headend.errors import CapabilityError, RemoteProtocolError
from headend.model.quantity import base_unit
from headend.protocols.modbus.pdu import ReadRequest, ReadResponse, decode_request, decode_response
from headend.protocols.modbus.values import RegisterLayout, decode_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.modbus.refs import RegisterRef
    from headend.model.objects import ObjectRef, RawValue
    from headend.model.profile import MeterProfile

_MBAP: Final = 7
_CHECK: Final = 2
_BITS: Final = (1, 2)


def overhear(exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
    """The objects of the meter file whose registers were all read; raises CapabilityError without a file."""
    if profile is None:
        raise CapabilityError("registers say nothing without a meter file", hint="headend profile list")
    registers: dict[tuple[int, int], bytes] = {}
    bits: dict[tuple[int, int], bool] = {}
    framing, unit = "", 0
    for request, answer in exchanges:
        tcp = _is_mbap(request) and _is_mbap(answer) and request[:2] == answer[:2]
        asked, told = (request[_MBAP:], answer[_MBAP:]) if tcp else (request[1:-_CHECK], answer[1:-_CHECK])
        try:
            question, reply = decode_request(asked), decode_response(told)
        except RemoteProtocolError:
            continue
        if not isinstance(question, ReadRequest) or not isinstance(reply, ReadResponse):
            continue
        if len(reply.data) != question.byte_count or reply.function != question.function:
            continue
        framing, unit = ("tcp" if tcp else "rtu"), request[_MBAP - 1] if tcp else request[0]
        if question.function in _BITS:
            for at, bit in enumerate(decode_bits(reply.data, question.count), question.address):
                bits[question.function, at] = bit
        else:
            for index in range(question.count):
                registers[question.function, question.address + index] = reply.data[2 * index : 2 * index + 2]
    patterns = read_rules(profile.link, profile.quirks).patterns
    seen: dict[ObjectRef, tuple[RawValue, int, str]] = {}
    for entry in profile.objects:
        ref = register_ref(entry.ref.address)
        key = ref.table.value.value, ref.address
        if ref.type is None:
            if key in bits:
                seen[entry.ref] = bits[key], entry.exponent, ""
            continue
        octets = _octets(ref, registers)
        if octets is not None:
            (value,) = RegisterLayout([(0, ref.type)], ref.size, patterns=patterns).decode(octets)
            seen[entry.ref] = value, entry.exponent, base_unit(entry.unit)[0]
    return Overheard(seen=seen, framing=framing, params={"unit": str(unit)} if framing else {})


def _is_mbap(octets: bytes) -> bool:
    return len(octets) > _MBAP and octets[2:4] == b"\x00\x00" and int.from_bytes(octets[4:6], "big") == len(octets) - 6


def _octets(ref: RegisterRef, registers: dict[tuple[int, int], bytes]) -> bytes | None:
    found = [registers.get((ref.table.value.value, at)) for at in range(ref.address, ref.end)]
    return None if None in found else b"".join(each for each in found if each is not None)
