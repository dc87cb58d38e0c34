"""The TCP wrapper, APDUs without it, and the gateway prefix, in both roles.

First octet: what is fed (bits 0-2) and in what pieces (bits 3-7, 0 for whole). 0 the wrapper as client, 1 as meter; 2 and 3
the same behind a gateway, where each length octet begins an APDU that is wrapped rightly; 4 the prefix alone; 5 and 6 wrapped
and bare APDUs mixed, as client and as meter; 7 where an APDU ends, and whether it decodes.
"""

from __future__ import annotations

import contextlib

import harness

with harness.instrumented():
    from headend.errors import DecodeError, RemoteProtocolError
    from headend.protocols.base import NEED_DATA, ApduReceived, Role
    from headend.protocols.dlms.apdu.table import decode_apdu
    from headend.protocols.dlms.delimiting import Delimiter
    from headend.protocols.gateway import GatewayFraming, decode_routed, prefix
    from headend.protocols.wrapper import WrapperFraming, wrap

CLIENT_SAP, SERVER_SAP = 16, 1
PORTS = {Role.CLIENT: (SERVER_SAP, CLIENT_SAP), Role.SERVER: (CLIENT_SAP, SERVER_SAP)}
"""Ports of what each role receives."""
DEVICE = b"\x05"


def wrapper(role: Role, *, tolerant: bool = False) -> WrapperFraming:
    """A side that knows both ports, and takes bare APDUs if it is tolerant."""
    delimiter = Delimiter() if tolerant else None
    return WrapperFraming(role, client_sap=CLIENT_SAP, server_sap=SERVER_SAP, delimiter=delimiter)


def wrapped(role: Role, data: bytes, size: int, *, tolerant: bool = False) -> None:
    """Any octets; where they are frames without a fault, pieces make no difference."""
    framing, faults = wrapper(role, tolerant=tolerant), []
    framing.receive_data(data)
    whole = harness.drain(framing, NEED_DATA, RemoteProtocolError, len(data) + 4, faults)
    framing = wrapper(role, tolerant=tolerant)
    parts = []
    for piece in harness.pieces(data, size):
        framing.receive_data(piece)
        parts += harness.drain(framing, NEED_DATA, RemoteProtocolError, len(data) + 4)
    assert faults or parts == whole
    short = None
    with contextlib.suppress(RemoteProtocolError):
        short = wrapper(role, tolerant=tolerant).receive_apdu(data) if role is Role.CLIENT else None
    if short is not None:
        _, start, end = short
        assert whole == [ApduReceived(data[start:end], *PORTS[role])]


def behind_a_gateway(role: Role, steps: bytes, size: int) -> None:
    """APDUs in frames of their own. Nothing that another meter says answers a request, nothing is lost or made up."""
    framing = GatewayFraming(wrapper(role), network=0, device=DEVICE)
    apdus, at = [], 0
    while at < len(steps):
        apdu = steps[at + 1 : at + 1 + steps[at]]
        at += 1 + steps[at]
        if apdu:
            apdus.append(apdu)
    octets = b"".join(wrap(apdu, *PORTS[role]) for apdu in apdus)
    events, faults = [], []
    for piece in harness.pieces(octets, size):
        framing.receive_data(piece)
        events += harness.drain(framing, NEED_DATA, RemoteProtocolError, len(octets) + 4, faults)
    assert len(events) + len(faults) == len(apdus)
    for event in events:
        assert any(apdu.endswith(event.apdu) for apdu in apdus)
        if not event.unsolicited and role is Role.SERVER:
            assert event.apdu in apdus or prefix(0xE6, 0, DEVICE) + event.apdu in apdus


def delimited(data: bytes, size: int) -> None:
    """Where an APDU ends, in pieces as whole, and at no earlier octet."""
    end = Delimiter().find_end(data)
    delimiter, seen, found = Delimiter(), 0, None
    for piece in harness.pieces(data, size):
        seen += len(piece)
        found = delimiter.find_end(data[:seen])
        if found is not None:
            break
    assert found == end
    if end:
        assert Delimiter().find_end(data[: end - 1]) is None
        assert Delimiter().find_end(data[:end]) == end
        decode_apdu(data[:end])


def routed(data: bytes) -> None:
    """What a prefix says can be said again."""
    with contextlib.suppress(RemoteProtocolError):
        found = decode_routed(data)
        if found and found.device:
            assert prefix(data[0], found.network, found.device) + found.apdu == data


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if not data:
        return
    choice, size, rest = data[0] & 0x07, data[0] >> 3, data[1:]
    role = Role.SERVER if choice & 0x01 else Role.CLIENT
    if choice < 2:
        wrapped(role, rest, size)
    elif choice < 4:
        behind_a_gateway(role, rest, size)
    elif choice == 4:
        routed(rest)
    elif choice < 7:
        wrapped(Role.CLIENT if choice == 5 else Role.SERVER, rest, size, tolerant=True)
    else:
        with contextlib.suppress(DecodeError):
            delimited(rest, size)


if __name__ == "__main__":
    harness.fuzz("framing", one_input)
