"""Modbus: PDUs, MBAP and RTU in both roles, and prepared reads.

First octet: bit 0 role of our side, bit 1 RTU, bit 2 a prepared read, bits 3-7 size of the pieces (0 for whole). RTU
input is followed by itself with a right CRC, because chance never makes one.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import MeterError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.modbus.connection import ModbusConnection, PreparedRead, RequestAdu
    from headend.protocols.modbus.framing import Frame, encode_mbap, encode_rtu
    from headend.protocols.modbus.pdu import (
        Function,
        InvalidRequest,
        ReadRequest,
        decode_request,
        decode_response,
        encode_request,
        encode_response,
    )
    from headend.protocols.modbus.values import RegisterLayout, RegisterType

READ = ReadRequest(Function.READ_INPUT_REGISTERS, 0, 4)
LAYOUT = RegisterLayout([(0, RegisterType.parse("f32")), (2, RegisterType.parse("i32"))], 4)


def pdus(data: bytes) -> None:
    """What a PDU says can be said again."""
    with contextlib.suppress(RemoteProtocolError):
        request = decode_request(data)
        assert isinstance(request, InvalidRequest) or decode_request(encode_request(request)) == request
    with contextlib.suppress(RemoteProtocolError):
        response = decode_response(data)
        assert decode_response(encode_response(response)) == response


def connection(role: Role, data: bytes, size: int, *, rtu: bool) -> None:
    """Any octets, and the same as a frame that is addressed rightly."""
    ours = ModbusConnection(role, rtu=rtu)
    if role is Role.CLIENT:
        ours.send(RequestAdu(1, READ))
        ours.data_to_send()
    for piece in harness.pieces(data, size):
        ours.receive_data(piece)
        harness.drain(ours, NEED_DATA, RemoteProtocolError, len(data) + 4)
    pdu = data[:253]
    if pdu:
        ours.receive_data(encode_rtu(Frame(1, pdu)) if rtu else encode_mbap(Frame(1, pdu, 1)))
        harness.drain(ours, NEED_DATA, RemoteProtocolError, 2 * len(data) + 8)


def prepared(data: bytes, size: int, *, rtu: bool) -> None:
    """A read that recurs, answered by any data of the right size and by any octets."""
    read = PreparedRead(1, READ, LAYOUT, rtu=rtu)
    ours = ModbusConnection(Role.CLIENT, rtu=rtu)
    ours.begin(read)
    pdu = bytes((READ.function, 8)) + data[:8].ljust(8, b"\x00")
    answer = encode_rtu(Frame(1, pdu)) if rtu else encode_mbap(Frame(1, pdu, 1))
    with contextlib.suppress(RemoteProtocolError, MeterError):
        for piece in harness.pieces(data[8:] + answer, size):
            if ours.complete(read, piece) is not NEED_DATA:
                ours.begin(read)


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    options, size, rest = data[0], data[0] >> 3, data[1:]
    pdus(rest)
    rtu = bool(options & 0x02)
    if options & 0x04:
        prepared(rest, size, rtu=rtu)
    else:
        connection(Role.SERVER if options & 0x01 else Role.CLIENT, rest, size, rtu=rtu)


if __name__ == "__main__":
    harness.fuzz("modbus", one_input)
