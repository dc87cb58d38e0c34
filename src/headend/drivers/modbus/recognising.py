"""Telling Modbus framings apart. Pure."""

from __future__ import annotations

from headend.drivers.base import Defect, Sniff, Sniffed
from headend.protocols.base import NEED_DATA, NeedData, Role
from headend.protocols.modbus.framing import MAX_PDU, crc16, rtu_length
from headend.protocols.modbus.pdu import Function

MBAP_HEADER = 7
_UNCOUNTED = 6
"""Octets of the MBAP header that its length does not count."""
_CRC = 2
_MBAP_UNIT = 6
_FUNCTIONS = frozenset(code for code in range(0x80) if any(rtu_length(bytes((1, code)), 0, role) for role in Role))
_EXCEPTIONS = frozenset(bytes((code,)) for code in range(0x01, 0x0C))


def recognise(data: bytes) -> str | NeedData:
    """`tcp` for MBAP, `rtu` for RTU with a correct CRC, empty for neither, NEED_DATA while that cannot be told."""
    if rtu_size(data):
        return "rtu"
    if is_mbap(data):
        length = 6 + int.from_bytes(data[4:6], "big") if len(data) > MBAP_HEADER else len(data) + 1
        return "tcp" if len(data) >= length else NEED_DATA
    return NEED_DATA if any(rtu_length(data, 0, sender) > len(data) for sender in Role) else ""


def is_mbap(data: bytes) -> bool:
    """True when an MBAP header may begin so."""
    length = int.from_bytes(data[4:6], "big") if len(data) >= 6 else 2
    if any(data[2:4]) or not 2 <= length <= MAX_PDU + 1:
        return False
    return len(data) <= MBAP_HEADER or 0 < data[MBAP_HEADER] & 0x7F <= Function.ENCAPSULATED_INTERFACE


def rtu_size(data: bytes) -> int:
    """Octets of the complete RTU frame with correct CRC that starts here; 0 when there is none."""
    for sender in Role:
        length = rtu_length(data, 0, sender)
        if 0 < length <= len(data) and crc16(data[:length]) == 0:
            return length
    return 0


def sniff(data: bytes, at: int) -> Sniffed | Sniff:
    """The frame that begins at an offset: RTU with a correct CRC, or MBAP as long as its function says."""
    second = data[at + 1 : at + 2]
    if second and second[0] & 0x7F not in _FUNCTIONS and any(data[at + 2 : at + 4]):
        return Sniff.NO
    found: list[Sniffed] = []
    undecided = False
    for sender in Role:
        end = at + rtu_length(data, at, sender)
        if at < end <= len(data) and crc16(data[at:end]) == 0:
            found.append(Sniffed(framing="rtu", end=end, sure=True, address=str(data[at])))
        undecided |= end > len(data)
    header = data[at : at + MBAP_HEADER + 1]
    if is_mbap(header):
        end = at + _UNCOUNTED + int.from_bytes(header[4:6], "big") if len(header) > MBAP_HEADER else len(data) + 1
        if end <= len(data) and _is_pdu(data[at + _UNCOUNTED : end]):
            found.append(Sniffed(framing="tcp", end=end, address=str(header[6])))
        undecided |= end > len(data)
    if found:
        return min(found, key=lambda each: each.end)
    return Sniff.NEED_DATA if undecided else Sniff.NO


def _is_pdu(addressed: bytes) -> bool:
    """True for unit id and PDU that are as long as the function says, in one direction or the other."""
    if addressed[1] & 0x80 and addressed[2:3] not in _EXCEPTIONS:
        return False
    return any(rtu_length(addressed, 0, sender) == len(addressed) + _CRC for sender in Role)


def spoil(data: bytes, defect: Defect) -> bytes:
    """A frame of another unit, or in RTU with a wrong CRC."""
    if defect is Defect.HEADER_CHECK:
        return data
    tcp = not rtu_size(data)
    octets = bytearray(data)
    if defect is Defect.ADDRESS:
        octets[_MBAP_UNIT if tcp else 0] ^= 1
        if not tcp:
            octets[-2:] = crc16(octets[:-2]).to_bytes(2, "little")
    elif not tcp:
        octets[-1] ^= 1
    return bytes(octets)
