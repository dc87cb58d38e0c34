"""What calls and is not spoken here: protocols whose first octets are like those of a meter's, and the visitors of open ports.

The octet 68 begins frames of many protocols. It is none of these where a second one stands seven octets behind it, as in
DL/T 645, unless the whole frame with its check octets is theirs:

```text
 M-Bus         68 L L 68                                   sum, 16
 Q/GDW 376.1   68 L L L L 68        (L / 4 octets follow)  sum, 16
 Q/GDW 1376.2  68 L L C             (L octets in all)      sum, 16
 DL/T 698.45   68 L L C A … A HCS HCS …                    FCS FCS 16
 IEC 104       68 04 and a U frame
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headend.drivers.base import Sniff
from headend.protocols.hdlc.crc import fcs16

_START: Final = 0x68
_STOP: Final = 0x16
_SECOND: Final = 7
"""Where DL/T 645 has another 68."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """What was told by the octets up to `end`."""

    name: str
    end: int


_TEXTS: Final = {
    **dict.fromkeys(
        (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"PRI * HTTP/2"),
        "HTTP",
    ),
    b"SSH-": "SSH",
    b"PROXY ": "the PROXY protocol of a load balancer",
    b"EHLO ": "SMTP",
    b"HELO ": "SMTP",
    b"\x03\x00\x00": "remote desktop (TPKT)",
    b"/?": "IEC 62056-21",
}
_TELNET: Final = frozenset({0xFB, 0xFC, 0xFD, 0xFE})
_TELNET_OPTIONS: Final = 0x31
_LONGEST: Final = 1024
"""Octets of a frame that is waited for, where it may be DL/T 645."""
_U_FRAMES: Final = frozenset({0x07, 0x0B, 0x13, 0x23, 0x43, 0x83})
_CONCENTRATOR: Final = frozenset({0x01, 0x02, 0x03, 0x0A, 0x14})
"""Ways of communication in the control field of Q/GDW 1376.2."""
_C1222: Final = frozenset({0xA1, 0xA2, 0xA4, 0xA6, 0xA7, 0xA8, 0xAC, 0xBE})
_DLMS_OID: Final = b"\x06\x07\x60\x85\x74\x05\x08"
_WRAPPED_LENGTHS: Final = {0: 256, 1: 257}
"""Octets of an M-Bus frame whose length does not fit its octet."""


def meet(data: bytes, at: int, *, silent: bool = False, first: bool = True) -> Stranger | Sniff:
    """What stranger's frame begins at an offset. `first`: nothing but line noise stands in front of it."""
    if data[at] == _START:
        return _sixty_eight(data, at, silent=silent, first=first)
    if not first:
        return Sniff.NO
    if data[at] == 0x60:
        return _c1222(data, at)
    if data[at] == 0x16:
        return _tls(data, at)
    if data[at] == 0x10:
        return _mqtt(data, at)
    if data[at] == 0xFF:
        return _telnet(data, at)
    undecided = False
    for text, name in _TEXTS.items():
        said = data[at : at + len(text)]
        if said == text:
            return Stranger(name, at + len(text))
        undecided |= text.startswith(said)
    return Sniff.NEED_DATA if undecided else Sniff.NO


def _sixty_eight(data: bytes, at: int, *, silent: bool, first: bool) -> Stranger | Sniff:
    said = [_mbus(data, at), _gdw376(data, at), _dlt698(data, at)]
    found = [each for each in said if isinstance(each, Stranger)]
    if found:
        return min(found, key=lambda each: each.end)
    undecided = Sniff.NEED_DATA in said and not silent
    if undecided or not first:
        return Sniff.NEED_DATA if undecided else Sniff.NO
    head = data[at : at + _SECOND + 1]
    weaker = _iec104(head, at, silent=silent)
    return weaker if weaker is not Sniff.NO else _concentrator(head, at)


def _summed(data: bytes, at: int, begin: int, size: int, name: str) -> Stranger | Sniff:
    """A frame that may be DL/T 645, too: by the second 68 that it has not, or by its sum over `size` octets from `begin` on."""
    second = data[at + _SECOND : at + _SECOND + 1]
    if second and second[0] != _START:
        return Stranger(name, at + _SECOND + 1)
    end = begin + size + 2
    if size > _LONGEST or len(data) < end:
        return Sniff.NO if size > _LONGEST else Sniff.NEED_DATA
    right = data[end - 1] == _STOP and sum(data[begin : end - 2]) & 0xFF == data[end - 2]
    return Stranger(name, end) if right else Sniff.NO


def _mbus(data: bytes, at: int) -> Stranger | Sniff:
    head = data[at : at + 4]
    if head[1:2] != head[2:3] and len(head) > 2:
        return Sniff.NO
    if len(head) < 4:
        return Sniff.NEED_DATA
    size = _WRAPPED_LENGTHS.get(head[1], head[1])
    return _summed(data, at, at + 4, size, "M-Bus") if head[3] == _START and size > 2 else Sniff.NO


def _gdw376(data: bytes, at: int) -> Stranger | Sniff:
    head = data[at : at + 6]
    there = head[3:5]
    if there != head[1 : 1 + len(there)]:
        return Sniff.NO
    if len(head) < 6:
        return Sniff.NEED_DATA
    if head[5] != _START or head[1] & 0x03 not in {1, 2}:
        return Sniff.NO
    size = int.from_bytes(head[1:3], "little") >> 2
    return _summed(data, at, at + 6, size, "Q/GDW 376.1")


def _dlt698(data: bytes, at: int) -> Stranger | Sniff:
    """By the check octets of the header, which cover all from the length on."""
    head = data[at + 1 : at + 5]
    if len(head) < 4:
        return Sniff.NEED_DATA
    end = at + 5 + (head[3] & 0x0F) + 1 + 1 + 2
    length = int.from_bytes(head[:2], "little") & 0x3FFF
    if head[1] & 0x80 or length < end - at - 1 + 2:
        return Sniff.NO
    if len(data) < end:
        return Sniff.NEED_DATA
    right = fcs16(data[at + 1 : end - 2], 0).to_bytes(2, "little") == data[end - 2 : end]
    return Stranger("DL/T 698.45", end) if right else Sniff.NO


def _iec104(head: bytes, at: int, *, silent: bool) -> Stranger | Sniff:
    if head[1:2] not in {b"", b"\x04"} or (len(head) > 2 and head[2] not in _U_FRAMES) or any(head[3:6]):
        return Sniff.NO
    if len(head) > _SECOND:
        return Stranger("IEC 60870-5-104", at + len(head)) if head[_SECOND] != _START else Sniff.NO
    return Stranger("IEC 60870-5-104", at + len(head)) if silent and len(head) >= 6 else Sniff.NEED_DATA


def _concentrator(head: bytes, at: int) -> Stranger | Sniff:
    if len(head) <= _SECOND:
        return Sniff.NEED_DATA
    length = int.from_bytes(head[1:3], "little")
    fits = 15 <= length < 0x400 and head[3] & 0x3F in _CONCENTRATOR and head[_SECOND] != _START
    return Stranger("Q/GDW 1376.2", at + len(head)) if fits else Sniff.NO


def _c1222(data: bytes, at: int) -> Stranger | Sniff:
    """ANSI C12.22: an element of ACSE behind the length, without the application context of DLMS."""
    head = data[at : at + 16]
    size = 1 + (head[1] & 0x7F if len(head) > 1 and head[1] > 0x7F else 0)
    if size > 3:
        return Sniff.NO
    element = head[1 + size :]
    if not element:
        return Sniff.NEED_DATA
    if element[0] not in _C1222:
        return Sniff.NO
    there = element[2 : 2 + len(_DLMS_OID)]
    if element[0] == 0xA1 and there == _DLMS_OID[: len(there)]:
        return Sniff.NO if there == _DLMS_OID else Sniff.NEED_DATA
    return Stranger("ANSI C12.22", at + 1 + size + (2 + len(there) if element[0] == 0xA1 else 1))


def _tls(data: bytes, at: int) -> Stranger | Sniff:
    """A record with a client's hello that fills it."""
    head = data[at : at + 9]
    if head[1:2] not in {b"", b"\x03"} or (len(head) > 2 and head[2] > 4) or head[5:6] not in {b"", b"\x01"}:
        return Sniff.NO
    if len(head) < 9:
        return Sniff.NEED_DATA
    fits = int.from_bytes(head[3:5], "big") == int.from_bytes(head[6:9], "big") + 4
    return Stranger("TLS", at + 9) if fits else Sniff.NO


def _mqtt(data: bytes, at: int) -> Stranger | Sniff:
    """CONNECT with the name of the protocol behind a length of one or two octets."""
    head = data[at + 1 : at + 9]
    size = 2 if head[:1] >= b"\x80" else 1
    name = head[size : size + 6]
    if name == b"\x00\x04MQTT":
        return Stranger("MQTT", at + 1 + size + 6)
    return Sniff.NEED_DATA if b"\x00\x04MQTT".startswith(name) else Sniff.NO


def _telnet(data: bytes, at: int) -> Stranger | Sniff:
    head = data[at : at + 3]
    if len(head) > 1 and head[1] not in _TELNET:
        return Sniff.NO
    if len(head) < 3:
        return Sniff.NEED_DATA
    return Stranger("telnet", at + 3) if head[2] < _TELNET_OPTIONS else Sniff.NO
