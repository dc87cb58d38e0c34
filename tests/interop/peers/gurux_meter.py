"""A small meter on the pip package gurux_dlms, run as a process of its own: `gurux_meter.py --framing hdlc --auth lls`.

Framing, sequence numbers and check sequences, the parsing of AARQ and of selective access, and the encoding of every
value are Gurux's; the services are written here, because the package's server does not run (see README.md). It prints
`READY PORT` and serves until it is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gurux_dlms import GXByteBuffer, GXReplyData
from gurux_dlms._GXAPDU import _GXAPDU
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.enums import Authentication, Conformance, DataType, InterfaceType, RequestTypes, Security
from gurux_dlms.GXCiphering import GXCiphering
from gurux_dlms.GXDLMS import GXDLMS
from gurux_dlms.GXDLMSChippering import GXDLMSChippering
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.GXSecure import GXSecure
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo

PASSWORD = b"12345678"
LEVELS = {
    "none": Authentication.NONE,
    "lls": Authentication.LOW,
    "md5": Authentication.HIGH_MD5,
    "sha1": Authentication.HIGH_SHA1,
    "gmac": Authentication.HIGH_GMAC,
    "sha256": Authentication.HIGH_SHA256,
}
HIGH = ("md5", "sha1", "gmac", "sha256")
TITLE = b"GRX00001"
PUBLIC_CLIENT = 16
COUNTER = "0.0.43.1.0.255"
FIRST_ROW = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - the meter's clock tells no deviation
PERIOD = 900
REGISTERS = {
    "1.0.1.8.0.255": (1234567, 0, 30),
    "1.0.2.8.0.255": (4321, 1, 30),
    "1.0.32.7.0.255": (2302, -1, 35),
    "1.0.31.7.0.255": (999, -2, 33),
    "1.0.14.7.0.255": (5001, -2, 44),
}
"""value, scaler, unit"""
LOGICAL_DEVICE_NAME = b"GRX1234567890123"

DENIED, UNDEFINED, TYPE_UNMATCHED, OTHER = 3, 4, 12, 250
Answer = bytes | int
"""Encoded data, or a data-access-result."""


def encode(kind: DataType, value: Any) -> bytes:
    """One value by Gurux's encoder."""
    buffer = GXByteBuffer()
    _GXCommon.setData(None, buffer, kind, value)
    return bytes(buffer.array())


def count(number: int) -> bytes:
    buffer = GXByteBuffer()
    _GXCommon.setObjectCount(number, buffer)
    return bytes(buffer.array())


def sequence(tag: DataType, items: Iterable[bytes]) -> bytes:
    items = list(items)
    return bytes([tag]) + count(len(items)) + b"".join(items)


def octets(value: bytes) -> bytes:
    return encode(DataType.OCTET_STRING, bytearray(value))


def name_octets(name: str) -> bytes:
    return bytes(int(part) for part in name.split("."))


def date_time(moment: dt.datetime) -> bytes:
    """Twelve octets without a deviation."""
    head = moment.year.to_bytes(2, "big") + bytes([moment.month, moment.day, moment.isoweekday()])
    return head + bytes([moment.hour, moment.minute, moment.second, 0, 0x80, 0, 0])


class Meter:
    """Objects and values, shared by all connections."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.offset = dt.timedelta()
        self.closed = True
        self.heard = 1000  # the last invocation counter of a client under the global key
        self.said = 500  # ours
        self.values = {name: row[0] for name, row in REGISTERS.items()}
        self.texts = {
            "0.0.42.0.0.255": LOGICAL_DEVICE_NAME,
            "0.0.96.1.0.255": b"00012345",
            "1.0.0.2.0.255": b"peer 1.0",
        }
        self.rows = [(FIRST_ROW + dt.timedelta(seconds=PERIOD * i), 1000 + i, 2000 - i) for i in range(options.rows)]
        self.classes = {
            **dict.fromkeys(self.texts, (1, 0, 2, 0)),
            **dict.fromkeys(REGISTERS, (3, 0, 3, 1)),
            "0.0.1.0.0.255": (8, 0, 9, 6),
            **({COUNTER: (1, 0, 2, 0)} if options.ciphered else {}),
            "1.0.99.1.0.255": (7, 1, 8, 2),
            "0.0.96.3.10.255": (70, 0, 4, 2),
            "0.0.40.0.0.255": (15, 1, 9, 4),
        }

    def now(self) -> dt.datetime:
        return dt.datetime.now() + self.offset  # noqa: DTZ005 - local time, as the clock of a meter shows it

    def read(self, class_id: int, name: str, attribute: int, selector: int, parameters: Any) -> Answer:
        if self.classes.get(name, (0,))[0] != class_id:
            return UNDEFINED
        if attribute == 1:
            return octets(name_octets(name))
        reader: Callable[..., Answer] = getattr(self, f"_class_{class_id}")
        return reader(name, attribute, selector, parameters)

    def _class_1(self, name: str, attribute: int, *_: Any) -> Answer:
        if name == COUNTER and attribute == 2:
            return encode(DataType.UINT32, self.heard)
        return octets(self.texts[name]) if attribute == 2 else UNDEFINED

    def _class_3(self, name: str, attribute: int, *_: Any) -> Answer:
        _, scaler, unit = REGISTERS[name]
        if attribute == 2:
            return encode(DataType.UINT32, self.values[name])
        if attribute == 3:
            return sequence(DataType.STRUCTURE, [encode(DataType.INT8, scaler), encode(DataType.ENUM, unit)])
        return UNDEFINED

    def _class_8(self, _name: str, attribute: int, *_: Any) -> Answer:
        return octets(date_time(self.now())) if attribute == 2 else UNDEFINED

    def _class_70(self, _name: str, attribute: int, *_: Any) -> Answer:
        shown = {
            2: encode(DataType.BOOLEAN, self.closed),
            3: encode(DataType.ENUM, int(self.closed)),
            4: encode(DataType.ENUM, 4),
        }
        return shown.get(attribute, UNDEFINED)

    def _class_15(self, _name: str, attribute: int, *_: Any) -> Answer:
        if attribute != 2:
            return UNDEFINED
        return sequence(DataType.ARRAY, [self._listed(name, *row) for name, row in self.classes.items()])

    @staticmethod
    def _listed(name: str, class_id: int, version: int, attributes: int, methods: int) -> bytes:
        attribute_rights = [
            sequence(
                DataType.STRUCTURE, [encode(DataType.INT8, i + 1), encode(DataType.ENUM, 1 + 2 * (i == 1)), b"\x00"]
            )
            for i in range(attributes)
        ]
        method_rights = [
            sequence(DataType.STRUCTURE, [encode(DataType.INT8, i + 1), encode(DataType.ENUM, 1)])
            for i in range(methods)
        ]
        rights = [sequence(DataType.ARRAY, attribute_rights), sequence(DataType.ARRAY, method_rights)]
        head = [encode(DataType.UINT16, class_id), encode(DataType.UINT8, version), octets(name_octets(name))]
        return sequence(DataType.STRUCTURE, [*head, sequence(DataType.STRUCTURE, rights)])

    def _class_7(self, _name: str, attribute: int, selector: int, parameters: Any) -> Answer:
        if attribute == 2:
            return self._buffer(selector, parameters)
        columns = [(8, "0.0.1.0.0.255"), (3, "1.0.1.8.0.255"), (3, "1.0.2.8.0.255")]
        captured = [
            sequence(
                DataType.STRUCTURE,
                [
                    encode(DataType.UINT16, class_id),
                    octets(name_octets(name)),
                    encode(DataType.INT8, 2),
                    encode(DataType.UINT16, 0),
                ],
            )
            for class_id, name in columns
        ]
        shown = {
            3: sequence(DataType.ARRAY, captured),
            4: encode(DataType.UINT32, PERIOD),
            5: encode(DataType.ENUM, 1),
            7: encode(DataType.UINT32, len(self.rows)),
            8: encode(DataType.UINT32, len(self.rows)),
        }
        return shown.get(attribute, UNDEFINED)

    def _buffer(self, selector: int, parameters: Any) -> Answer:
        rows: Sequence[tuple[Any, ...]] = self.rows
        if selector in self.options.refuse_selectors:
            return TYPE_UNMATCHED
        if selector == 1:
            first, last = (bytes(parameters[at])[:8] for at in (1, 2))
            # year, month, day and time without the weekday, as numbers in the order of their weight
            keys = [(octet[:4], octet[5:8]) for octet in (first, last)]
            rows = [row for row in rows if keys[0] <= (date_time(row[0])[:4], date_time(row[0])[5:8]) <= keys[1]]
        elif selector == 2:
            rows = rows[int(parameters[0]) - 1 : int(parameters[1]) or None]
        return sequence(
            DataType.ARRAY,
            [
                sequence(
                    DataType.STRUCTURE,
                    [octets(date_time(row[0])), *(encode(DataType.UINT32, value) for value in row[1:])],
                )
                for row in rows
            ],
        )

    def write(self, class_id: int, name: str, attribute: int, value: Any) -> int:
        if (class_id, attribute) == (8, 2):
            year, (month, day, _, hour, minute, second) = int.from_bytes(value[:2], "big"), value[2:8]
            self.offset += dt.datetime(year, month, day, hour, minute, second) - self.now()  # noqa: DTZ001 - ditto
        elif (class_id, attribute) == (1, 2) and name in self.texts:
            self.texts[name] = bytes(value)
        else:
            return DENIED
        return 0

    def invoke(self, class_id: int, method: int) -> int:
        if class_id != 70:
            return DENIED
        self.closed = method == 2
        return 0


def is_dedicated(tag: int) -> bool:
    """A service under the dedicated key: of short names, of logical names, or any."""
    return 0x45 <= tag <= 0x58 or 0xD0 <= tag <= 0xD7 or tag == 0xDC


class Cipher:
    """The AES-GCM of Gurux, which does not look at the tags of what it deciphers, and the counters of the meter."""

    def __init__(self, meter: Meter, settings: GXDLMSSettings) -> None:
        self.meter = meter
        self.settings = settings
        self.suite = meter.options.suite
        length = 32 if self.suite == 2 else 16
        cipher = settings.cipher
        cipher.blockCipherKey = bytearray(range(length))
        cipher.authenticationKey = bytearray(range(0xC0, 0xC0 + length))
        cipher.securitySuite = self.suite

    def _parameter(self, tag: int, title: bytes, *, dedicated: bool, security: Security, counter: int) -> Any:
        cipher = self.settings.cipher
        key = cipher.dedicatedKey if dedicated else cipher.blockCipherKey
        parameter = AesGcmParameter(tag, bytearray(title), key, cipher.authenticationKey)
        parameter.security, parameter.securitySuite, parameter.invocationCounter = security, self.suite, counter
        return parameter

    def seal(self, tag: int, apdu: bytes) -> bytes:
        self.meter.said += 1
        security = Security.AUTHENTICATION_ENCRYPTION
        dedicated = is_dedicated(tag)
        parameter = self._parameter(tag, TITLE, dedicated=dedicated, security=security, counter=self.meter.said)
        return bytes(GXDLMSChippering.encryptAesGcm(parameter, bytearray(apdu)))

    def open(self, apdu: bytes) -> bytes:
        """The plain APDU; raises ReplayError."""
        dedicated = is_dedicated(apdu[0])
        title = self.settings.sourceSystemTitle
        parameter = self._parameter(0, title, dedicated=dedicated, security=Security.NONE, counter=0)
        buffer = GXByteBuffer()
        buffer.set(bytearray(apdu))
        with contextlib.redirect_stdout(io.StringIO()):
            plain = bytes(GXDLMSChippering.decryptAesGcm(self.settings, parameter, buffer))
        if not dedicated:
            if parameter.invocationCounter <= self.meter.heard:
                raise ReplayError
            self.meter.heard = parameter.invocationCounter
        return plain

    def proof(self, title: bytes, counter: int, challenge: bytes) -> bytes:
        security = Security.AUTHENTICATION
        parameter = self._parameter(0x10, title, dedicated=False, security=security, counter=counter)
        GXDLMSChippering.encryptAesGcm(parameter, bytearray(challenge))
        return bytes([0x10 | self.suite]) + counter.to_bytes(4, "big") + bytes(parameter.countTag)


class ReplayError(Exception):
    """A counter that is not greater than the last one."""


class Association:
    """One connection: settings of Gurux, and the services."""

    logical_names = True
    contexts = 1, 3
    """application contexts, plain and ciphered"""
    to_ciphered = 0x08, 0x10
    """from the tag of a plain response to that under the global key, and under the dedicated key"""
    vaa = b"\x00\x07"
    conformance = (
        Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ
        | Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE
        | Conformance.BLOCK_TRANSFER_WITH_ACTION
        | Conformance.GET
        | Conformance.SET
        | Conformance.SELECTIVE_ACCESS
        | Conformance.ACTION
        | Conformance.MULTIPLE_REFERENCES
        | Conformance.GENERAL_PROTECTION
    )

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.options = meter.options
        self.settings = GXDLMSSettings(True, None)  # noqa: FBT003 - a server
        self.settings.setUseLogicalNameReferencing(self.logical_names)
        hdlc = self.options.framing == "hdlc"
        self.settings.interfaceType = InterfaceType.HDLC if hdlc else InterfaceType.WRAPPER
        self.settings.cipher = GXCiphering(bytearray(TITLE))
        self.cipher = Cipher(meter, self.settings)
        self.open = self.options.preset
        self.challenges = b"", b""  # of client and meter, while the client has to prove itself
        self.ciphered = False
        self.rest = b""
        self.block = 0
        self.target = self.written = b""  # a SET in blocks
        self.services = {0xC0: self._get, 0xC1: self._set, 0xC3: self._action}

    def answer(self, apdu: bytes) -> bytes:
        tag = apdu[0]
        if tag == 0x60:
            return self._associate(apdu)
        if tag == 0x62:
            self.open = False
            return b"\x63\x03\x80\x01\x00"
        if self.ciphered and tag not in self.services:
            return self._answer_ciphered(apdu)
        if self.ciphered:
            return b"\xd8\x01\x05"
        if tag not in self.services or not (self.open or self._is_proof(apdu)):
            return b"\xd8\x01\x01"
        return self.services[tag](apdu)

    def _answer_ciphered(self, apdu: bytes) -> bytes:
        try:
            plain = self.cipher.open(apdu)
        except ReplayError:
            return b"\xd8\x01\x06" + (self.meter.heard + 1).to_bytes(4, "big")
        except Exception:  # noqa: BLE001 - whatever Gurux finds wrong with it
            return b"\xd8\x01\x05"
        if not self.open and not self._is_proof(plain):
            return b"\xd8\x01\x01"
        reply = self.services[plain[0]](plain)
        if reply[0] == 0xD8:
            return reply
        tag = apdu[0]
        if tag < 0xD8:
            tag = reply[0] + self.to_ciphered[is_dedicated(tag)]
        return self.cipher.seal(tag, reply)

    @staticmethod
    def _is_proof(apdu: bytes) -> bool:
        return apdu[0] == 0xC3

    def _associate(self, apdu: bytes) -> bytes:
        buffer = GXByteBuffer()
        buffer.set(bytearray(apdu))
        settings = self.settings
        settings.authentication, settings.password = Authentication.NONE, None
        settings.cipher.security, settings.cipher.dedicatedKey = Security.NONE, None
        self.ciphered = False
        settings.proposedConformance = self.conformance
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                _GXAPDU.parsePDU(settings, settings.cipher, buffer, None)
        except Exception:  # noqa: BLE001 - what Gurux makes of an initiate APDU under another key
            return b"\xd8\x01\x05"
        secured = self.options.ciphered or self.options.auth in HIGH
        public = secured and settings.clientAddress == PUBLIC_CLIENT
        return self._accept("none" if public else self.options.auth, ciphered=self.options.ciphered and not public)

    def _accept(self, auth: str, *, ciphered: bool) -> bytes:
        """The answer to an association, which is ciphered and proved as the options of the meter say."""
        settings, high = self.settings, auth in HIGH
        good = settings.authentication == LEVELS[auth]
        if auth == "lls":
            good = good and bytes(settings.password or b"") == PASSWORD
        good = good and ciphered is (settings.cipher.security != Security.NONE)
        names = b"\xa1\x09\x06\x07\x60\x85\x74\x05\x08\x01" + bytes([self.contexts[ciphered]])
        self.open, self.ciphered, self.challenges = good and not high, good and ciphered, (b"", b"")
        if not good:
            body = names + b"\xa2\x03\x02\x01\x01\xa3\x05\xa1\x03\x02\x01\x0d"
            return b"\x61" + bytes([len(body)]) + body
        initiate = self.cipher.seal(0x28, self._initiate()) if ciphered else self._initiate()
        body = names + b"\xa2\x03\x02\x01\x00\xa3\x05\xa1\x03\x02\x01" + (b"\x0e" if high else b"\x00")
        if ciphered or auth in ("gmac", "sha256"):
            body += b"\xa4\x0a\x04\x08" + TITLE
        if high:
            self.challenges = bytes(settings.ctoSChallenge), os.urandom(16)
            body += b"\x88\x02\x07\x80\x89\x07\x60\x85\x74\x05\x08\x02" + bytes([LEVELS[auth]])
            body += b"\xaa\x12\x80\x10" + self.challenges[1]
        body += b"\xbe" + bytes([2 + len(initiate)]) + b"\x04" + bytes([len(initiate)]) + initiate
        return b"\x61" + count(len(body)) + body

    def _initiate(self) -> bytes:
        conformance = int(self.settings.negotiatedConformance)
        bits = sum(1 << (23 - bit) for bit in range(24) if conformance & 1 << bit)
        initiate = b"\x08\x00\x06\x5f\x1f\x04\x00" + bits.to_bytes(3, "big")
        return initiate + self.options.max_pdu.to_bytes(2, "big") + self.vaa

    def _prove(self, apdu: bytes) -> bytes:
        """reply_to_HLS_authentication: the proof of the client against that of the meter."""
        own = self._proof_of_meter(apdu[15:])
        if own is None:
            return b"\xc7\x01" + apdu[2:3] + b"\x03\x00"
        return b"\xc7\x01" + apdu[2:3] + b"\x00\x01\x00" + octets(own)

    def _proof_of_meter(self, proof: bytes) -> bytes | None:
        """The answer to a good proof of the client."""
        client, meter = self.challenges
        peer = bytes(self.settings.sourceSystemTitle or b"")
        if self.options.auth == "gmac":
            counter = int.from_bytes(proof[1:5], "big")
            self.open = proof == self.cipher.proof(peer, counter, meter)
            self.meter.said += 1
            own = self.cipher.proof(TITLE, self.meter.said, client)
        else:
            self.open = proof == self._hash(meter, peer + TITLE + meter + client)
            own = self._hash(client, TITLE + peer + client + meter)
        return own if self.open else None

    def _hash(self, challenge: bytes, more: bytes) -> bytes:
        """By Gurux, which wants the titles and challenges of SHA-256 behind the secret."""
        secret = PASSWORD + (more if self.options.auth == "sha256" else b"")
        return bytes(GXSecure.secure(self.settings, self.settings.cipher, 0, bytearray(challenge), bytearray(secret)))

    def _target(self, raw: bytes) -> tuple[int, str, int]:
        return int.from_bytes(raw[:2], "big"), ".".join(map(str, raw[2:8])), raw[8]

    def _data(self, raw: bytes) -> tuple[Any, int]:
        buffer = GXByteBuffer()
        buffer.set(bytearray(raw))
        return _GXCommon.getData(self.settings, buffer, _GXDataInfo()), buffer.position

    def _one(self, raw: bytes) -> tuple[Answer, bytes]:
        """The answer to an attribute descriptor with its selection, and the octets after them."""
        target, selected, rest = self._target(raw), raw[9], raw[10:]
        selector, parameters = 0, None
        if selected:
            selector = rest[0]
            parameters, size = self._data(rest[1:])
            rest = rest[1 + size :]
        return self.meter.read(*target, selector, parameters), rest

    def _get(self, apdu: bytes) -> bytes:
        kind, invoke, rest = apdu[1], apdu[2:3], apdu[3:]
        if kind == 2:
            return self._next_block(invoke, int.from_bytes(rest, "big"))
        if kind == 3 and self.options.refuse_lists:
            return b"\xd8\x01\x02"
        if kind == 3:
            number, rest = rest[0], rest[1:]
            body = bytes([number])
            for _ in range(number):
                found, rest = self._one(rest)
                body += b"\x00" + found if isinstance(found, bytes) else bytes([1, found])
            whole = b"\xc4\x03" + invoke + body
        else:
            found, _ = self._one(rest)
            if isinstance(found, int):
                return b"\xc4\x01" + invoke + bytes([1, found])
            body, whole = found, b"\xc4\x01" + invoke + b"\x00" + found
        if len(whole) <= min(self.options.max_pdu, self.settings.maxPduSize or 0xFFFF) - 30 * self.ciphered:
            return whole
        self.rest, self.block = body, 0
        return self._next_block(invoke, 0)

    def _next_block(self, invoke: bytes, number: int) -> bytes:
        if not self.rest or number != self.block:
            return b"\xc4\x02" + invoke + b"\x01" + number.to_bytes(4, "big") + b"\x01\x13"
        room = self.options.max_pdu - (46 if self.ciphered else 16)
        part, self.rest = self.rest[:room], self.rest[room:]
        self.block += 1
        head = b"\xc4\x02" + invoke + bytes([not self.rest]) + self.block.to_bytes(4, "big")
        return head + b"\x00" + count(len(part)) + part

    def _set(self, apdu: bytes) -> bytes:
        kind, invoke, block = apdu[1], apdu[2:3], apdu[3:]
        if kind == 4:
            return b"\xc5\x05" + invoke + self._write_list(block)
        if kind == 1:
            value, _ = self._data(apdu[13:])
            return b"\xc5\x01" + invoke + bytes([self.meter.write(*self._target(block[:9]), value)])
        if kind == 2:
            self.target, self.written, block = block[:9], b"", block[10:]
        last, number, tail = block[0], block[1:5], block[5:]
        self.written += tail[1:] if tail[0] < 0x80 else tail[1 + (tail[0] & 0x7F) :]
        if not last:
            return b"\xc5\x02" + invoke + number
        value, _ = self._data(self.written)
        return b"\xc5\x03" + invoke + bytes([self.meter.write(*self._target(self.target), value)]) + number

    def _write_list(self, rest: bytes) -> bytes:
        """Attributes without selection, and their values."""
        number, rest = rest[0], rest[1:]
        targets = [self._target(rest[at : at + 9]) for at in range(0, 10 * number, 10)]
        rest = rest[10 * number + 1 :]
        results = b""
        for target in targets:
            value, size = self._data(rest)
            rest = rest[size:]
            results += bytes([self.meter.write(*target, value)])
        return bytes([number]) + results

    def _action(self, apdu: bytes) -> bytes:
        if apdu[1] in (4, 6):
            return self._action_block(apdu)
        class_id, _, method = self._target(apdu[3:12])
        if class_id == 9 and self.open:
            return b"\xc7\x01" + apdu[2:3] + b"\x00\x01\x00" + apdu[13:]  # it gives back its parameter
        if self.challenges[1] and (class_id, method) == (15, 1):
            return self._prove(apdu)
        if not self.open:
            return b"\xd8\x01\x01"
        return b"\xc7\x01" + apdu[2:3] + bytes([self.meter.invoke(class_id, method), 0])

    def _action_block(self, apdu: bytes) -> bytes:
        """A block of an ACTION of the script table, which gives back its parameter."""
        kind, invoke, block = apdu[1], apdu[2:3], apdu[3:]
        if kind == 4:
            self.target, self.written, block = block[:9], b"", block[9:]
        last, number, tail = block[0], block[1:5], block[5:]
        self.written += tail[1:] if tail[0] < 0x80 else tail[1 + (tail[0] & 0x7F) :]
        if not last:
            return b"\xc7\x04" + invoke + number
        value, size = self._data(self.written)
        good = size == len(self.written) and self.target[:2] == b"\x00\x09"
        return b"\xc7\x01" + invoke + bytes([0 if good else OTHER]) + b"\x01\x00" + encode(DataType.UINT32, len(value))


class Connection:
    """One socket with the framing of Gurux."""

    def __init__(self, sock: socket.socket, association: Association) -> None:
        self.sock = sock
        self.association = association
        self.settings = self.association.settings
        self.waiting = b""
        self.reply = GXReplyData()
        self.segments = b""
        self.left = GXByteBuffer()

    def run(self) -> None:
        take = self._take_hdlc if self.association.options.framing == "hdlc" else self._take_wrapper
        while data := self.sock.recv(0x10000):
            self.waiting += data
            while (out := take()) is not None:
                self.sock.sendall(out)

    def _take_wrapper(self) -> bytes | None:
        size = 8 + int.from_bytes(self.waiting[6:8], "big")
        if len(self.waiting) < max(size, 8):
            return None
        frame, self.waiting = self.waiting[:size], self.waiting[size:]
        self.settings.clientAddress = int.from_bytes(frame[2:4], "big")
        self.settings.serverAddress = int.from_bytes(frame[4:6], "big")
        buffer = GXByteBuffer()
        buffer.set(bytearray(self.association.answer(frame[8:])))
        return bytes(GXDLMS.getWrapperFrame(self.settings, 0, buffer))

    def _take_hdlc(self) -> bytes | None:
        waiting = self.waiting.lstrip(b"\x7e")
        if len(waiting) < 2:
            return None
        length = int.from_bytes(waiting[:2], "big") & 0x7FF
        if len(waiting) <= length:
            return None
        self.waiting = waiting[length:]
        frame = GXByteBuffer()
        frame.set(bytearray(b"\x7e" + waiting[:length] + b"\x7e"))
        with contextlib.redirect_stdout(io.StringIO()):
            control = GXDLMS.getHdlcData(True, self.settings, frame, self.reply, None)  # noqa: FBT003 - a server
        end = length - 1
        information = bytes(frame.subArray(frame.position, max(end - frame.position, 0)))
        out = self._hdlc_answer(control, information, more=bool(self.reply.moreData & RequestTypes.FRAME))
        self.reply.clear()
        return bytes(out)

    def _hdlc_answer(self, control: int, information: bytes, *, more: bool) -> bytes:
        settings = self.settings
        if control == 0x93:
            self.segments, self.left = b"", GXByteBuffer()
            self.association.open = self.association.options.preset
            limits = b"\x05\x02\x01\x00\x06\x02\x01\x00\x07\x04\x00\x00\x00\x01\x08\x04\x00\x00\x00\x01"
            settings.hdlc.maxInfoTX = settings.hdlc.maxInfoRX = 128
            buffer = GXByteBuffer()
            if information:
                buffer.set(bytearray(information))
                GXDLMS.parseSnrmUaResponse(buffer, settings.hdlc)
            buffer = GXByteBuffer()
            buffer.set(bytearray(b"\x81\x80" + bytes([len(limits)]) + limits))
            return bytes(GXDLMS.getHdlcFrame(settings, 0x73, buffer))
        if control == 0x53:
            return bytes(GXDLMS.getHdlcFrame(settings, 0x73, None))
        if control & 1:  # receive ready: the rest of an answer
            return bytes(GXDLMS.getHdlcFrame(settings, settings.getNextSend(False), self.left))  # noqa: FBT003 - no first
        self.segments += information
        if more:
            return bytes(GXDLMS.getHdlcFrame(settings, settings.getReceiverReady(), None))
        apdu, self.segments = self.segments, b""
        self.left = GXByteBuffer()
        self.left.set(bytearray(b"\xe6\xe7\x00" + self.association.answer(apdu)))
        return bytes(GXDLMS.getHdlcFrame(settings, 0, self.left))


def main(associate: type[Association] = Association) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framing", choices=("wrapper", "hdlc"), default="wrapper")
    parser.add_argument("--auth", choices=tuple(LEVELS), default="none")
    parser.add_argument("--ciphered", action="store_true", help="all clients but the public one cipher")
    parser.add_argument("--preset", action="store_true", help="the association stands from the beginning")
    parser.add_argument("--suite", type=int, choices=(0, 1, 2), default=0, help="security suite of those who cipher")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--max-pdu", type=int, default=0xFFFF)
    parser.add_argument("--refuse-lists", action="store_true", help="answer GET with list by an exception")
    parser.add_argument("--refuse-selectors", type=int, nargs="*", default=[], help="selective access that is refused")
    options = parser.parse_args()
    options.ciphered |= options.auth == "gmac"
    meter = Meter(options)
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"READY {listener.getsockname()[1]}\n")
    sys.stdout.flush()

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Connection(sock, associate(meter)).run()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
