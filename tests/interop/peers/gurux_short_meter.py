"""The meter of gurux_meter.py with short names: `gurux_short_meter.py --framing hdlc --auth lls`.

READ and WRITE with lists, parameterised access and blocks both ways. Where methods stand behind a base name is Gurux's table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gurux_dlms.enums import Conformance, DataType
from gurux_dlms.GXDLMS import GXDLMS
from gurux_meter import (
    DENIED,
    UNDEFINED,
    Answer,
    Association,
    Meter,
    count,
    encode,
    main,
    name_octets,
    octets,
    sequence,
)

ASSOCIATION = 0xFA00
REPLY_TO_HLS = ASSOCIATION + 0x58
BLOCK_NUMBER_INVALID = 19
FIRST, STEP = 0x0700, 0x0100


def int16(name: int) -> bytes:
    return encode(DataType.INT16, name - 0x10000 if name & 0x8000 else name)


class ShortAssociation(Association):
    """One connection: the services of short names, on the objects of the meter."""

    logical_names = False
    contexts = 2, 4
    to_ciphered = 0x20, 0x40
    vaa = b"\xfa\x00"
    conformance = (
        Conformance.READ
        | Conformance.WRITE
        | Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ
        | Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE
        | Conformance.MULTIPLE_REFERENCES
        | Conformance.PARAMETERIZED_ACCESS
        | Conformance.GENERAL_PROTECTION
    )

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter)
        if self.options.refuse_lists:
            self.conformance &= ~Conformance.MULTIPLE_REFERENCES
        self.services = {0x05: self._read, 0x06: self._write}
        self.written = b""  # blocks of a request
        self.names: dict[int, tuple[str, int, int, int, int]] = {ASSOCIATION: ("0.0.40.0.0.255", 12, 2, 3, 8)}
        for at, (name, row) in enumerate(meter.classes.items()):
            if row[0] != 15:
                self.names[FIRST + STEP * at] = (name, *row)

    @staticmethod
    def _is_proof(apdu: bytes) -> bool:
        return apdu[:5] == b"\x05\x01\x04\xfa\x58"

    def _find(self, name: int) -> tuple[str, int, int, bool] | None:
        """Logical name, class, attribute or method, and whether it is a method."""
        base = max((base for base in self.names if base <= name), default=0)
        if not base or (name - base) % 8:
            return None
        logical_name, class_id, _, attributes, _ = self.names[base]
        number = (name - base) // 8 + 1
        if number <= attributes:
            return logical_name, class_id, number, False
        offset, methods = [0], [0]
        GXDLMS.getActionInfo(class_id, offset, methods)
        number = (name - base - offset[0]) // 8 + 1
        return (logical_name, class_id, number, True) if 1 <= number <= methods[0] else None

    def _value(self, name: int, selector: int = 0, parameters: object = None) -> Answer:
        found = self._find(name)
        if found is None or found[3]:
            return UNDEFINED
        logical_name, class_id, attribute, _ = found
        if class_id != 12:
            return self.meter.read(class_id, logical_name, attribute, selector, parameters)
        if attribute == 1:
            return octets(name_octets(logical_name))
        return sequence(DataType.ARRAY, map(self._listed if attribute == 2 else self._rights, self.names))

    def _listed(self, base: int) -> bytes:
        logical_name, class_id, version, _, _ = self.names[base]
        head = [int16(base), encode(DataType.UINT16, class_id), encode(DataType.UINT8, version)]
        return sequence(DataType.STRUCTURE, [*head, octets(name_octets(logical_name))])

    def _rights(self, base: int) -> bytes:
        *_, attributes, methods = self.names[base]
        rows: Sequence[bytes] = [
            sequence(
                DataType.STRUCTURE, [encode(DataType.INT8, i + 1), encode(DataType.ENUM, 1 + 2 * (i == 1)), b"\x00"]
            )
            for i in range(attributes)
        ]
        allowed: Sequence[bytes] = [
            sequence(DataType.STRUCTURE, [encode(DataType.INT8, i + 1), encode(DataType.ENUM, 1)])
            for i in range(methods)
        ]
        parts = [int16(base), sequence(DataType.ARRAY, rows), sequence(DataType.ARRAY, allowed)]
        return sequence(DataType.STRUCTURE, parts)

    def _room(self) -> int:
        """The longest response before it is ciphered."""
        return min(self.options.max_pdu, self.settings.maxPduSize or 0xFFFF) - 30 * self.ciphered

    def _read(self, apdu: bytes) -> bytes:
        kind = apdu[2]
        if kind == 5:
            return self._next_part(int.from_bytes(apdu[3:5], "big"))
        if kind == 6:
            return self._collect(apdu[3], apdu[4:6], apdu[6:], b"\x0c\x01", b"\x03", self._read)
        number, rest = apdu[1], apdu[2:]
        body = bytes([number])
        for _ in range(number):
            kind, name, rest = rest[0], int.from_bytes(rest[1:3], "big"), rest[3:]
            if kind == 4:
                selector = rest[0]
                parameters, size = self._data(rest[1:])
                rest = rest[1 + size :]
                is_reply = name == REPLY_TO_HLS
                found = self._reply(bytes(parameters)) if is_reply else self._value(name, selector, parameters)
            else:
                found = self._value(name)
            body += b"\x00" + found if isinstance(found, bytes) else bytes([1, found])
        if len(body) < self._room():
            return b"\x0c" + body
        self.rest, self.block = body, 0
        return self._next_part(0)

    def _next_part(self, number: int) -> bytes:
        if not self.rest or number != self.block:
            return bytes([0x0C, 1, 1, BLOCK_NUMBER_INVALID])
        room = self._room() - 9
        part, self.rest = self.rest[:room], self.rest[room:]
        self.block += 1
        head = b"\x0c\x01\x02" + bytes([not self.rest]) + self.block.to_bytes(2, "big")
        return head + count(len(part)) + part

    def _collect(
        self, last: int, number: bytes, tail: bytes, head: bytes, choice: bytes, serve: Callable[[bytes], bytes]
    ) -> bytes:
        """A block of a request; the last one is answered as the whole."""
        if number == b"\x00\x01":
            self.written = b""
        size = tail[0]
        raw = tail[1:] if size < 0x80 else tail[1 + (size & 0x7F) :]
        self.written += raw
        if not last:
            return head + choice + number
        return serve(b"\x00" + self.written)

    def _write(self, apdu: bytes) -> bytes:
        number, rest = apdu[1], apdu[2:]
        if rest[0] == 7:  # last, number, one octet-string
            return self._collect(rest[1], rest[2:4], rest[6:], b"\x0d\x01", b"\x02", self._write)
        names = [int.from_bytes(rest[3 * at + 1 : 3 * at + 3], "big") for at in range(number)]
        rest = rest[3 * number + 1 :]
        body = bytes([number])
        for name in names:
            value, size = self._data(rest)
            rest = rest[size:]
            result = self._put(name, value)
            body += bytes([1, result]) if result else b"\x00"
        return b"\x0d" + body

    def _put(self, name: int, value: object) -> int:
        found = self._find(name)
        if found is None:
            return UNDEFINED
        logical_name, class_id, number, is_method = found
        if class_id == 12:
            return DENIED
        if is_method:
            return self.meter.invoke(class_id, number)
        return self.meter.write(class_id, logical_name, number, value)

    def _reply(self, proof: bytes) -> Answer:
        """reply_to_HLS_authentication: the proof of the client against that of the meter."""
        own = self._proof_of_meter(proof)
        return DENIED if own is None else octets(own)


if __name__ == "__main__":
    main(ShortAssociation)
