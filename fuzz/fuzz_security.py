"""Ciphered APDUs with keys, key information, signatures and proofs of authentication.

First octet: 0 and 1 an association as client or as meter; 2 the APDUs that carry others; 3 keys and signatures; 4 proofs.
In an association each step is an octet and a length: with bit 7 our side does something (bits 0-2), else that many octets
follow, and bits 0-2 say what they are: 0 an APDU as it comes, else the content of one that is sealed with the right key, since
chance never makes a tag: 1 service-specific, 2 dedicated, 3 and 4 the same general, 5 under a wrong title. Bits 3 and 4:
authenticated, encrypted; bit 5: the counter of before.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import harness

if TYPE_CHECKING:
    from headend.protocols.dlms.security.suite import Suite

with harness.instrumented():
    from headend.errors import (
        CapabilityError,
        ConfigError,
        DecodeError,
        LocalProtocolError,
        RemoteProtocolError,
        SecurityError,
    )
    from headend.protocols.base import NEED_DATA, Role
    from headend.protocols.dlms.acse import ApplicationContext, Mechanism
    from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
    from headend.protocols.dlms.apdu.descriptor import ActionResult, AttributeDescriptor
    from headend.protocols.dlms.apdu.get import GetRequestNormal, GetResponseNormal
    from headend.protocols.dlms.connection import DlmsConnection
    from headend.protocols.dlms.events import AssociationRequest, AssociationResponse, Spoken
    from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
    from headend.protocols.dlms.octets import Reader
    from headend.protocols.dlms.security.authentication import (
        REPLY_TO_HLS,
        Authentication,
        EcdsaAuthentication,
        GmacAuthentication,
        HashAuthentication,
        Said,
        answer_pass_3,
        check_pass_4,
        pass_3,
    )
    from headend.protocols.dlms.security.ciphering import (
        DEDICATED,
        GENERAL_DEDICATED,
        GENERAL_GLOBAL,
        GLOBAL,
        AgreedKey,
        WrappedKey,
        decode_general_ciphering,
        decode_general_signing,
        encode_general,
        encode_service,
    )
    from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
    from headend.protocols.dlms.security.gcm import GcmKey
    from headend.protocols.dlms.security.keys import (
        agree,
        is_signed,
        private_key,
        public_key,
        unwrap_key,
        wrap_key,
    )
    from headend.protocols.dlms.security.policy import policy_of
    from headend.protocols.dlms.security.protection import Ciphering
    from headend.protocols.dlms.security.suite import SUITES
    from headend.protocols.wrapper import WrapperFraming, wrap

REFUSALS = (RemoteProtocolError, SecurityError, CapabilityError)  # the last for what is compressed
TITLES = {Role.CLIENT: b"HDE00001", Role.SERVER: b"MTR00001"}
OTHER_TITLE = b"XXX00001"
EK, AK, DK, MK = bytes(range(16)), bytes(range(0xD0, 0xE0)), bytes(range(0x30, 0x40)), bytes(range(0x50, 0x60))
GLOBAL_KEY, DEDICATED_KEY = GcmKey(EK, AK), GcmKey(DK, AK)
EVERYTHING = Conformance(0x407E1F)
ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
SCALARS = [suite.scalar_length * b"\x05" for suite in SUITES]
STATIC = [private_key(suite, scalar) for suite, scalar in zip(SUITES, SCALARS, strict=True)]
SAID = {
    Role.CLIENT: (GetRequestNormal(0xC1, ENERGY), ActionRequestNormal(0xC1, REPLY_TO_HLS)),
    Role.SERVER: (
        GetResponseNormal(0xC1, b"\x09\x81\xff" + bytes(255)),
        ActionResponseNormal(0xC1, ActionResult.SUCCESS),
    ),
}
ROLES = tuple(Role)


def protection(role: Role) -> Ciphering:
    """Everything authenticated and encrypted."""
    return Ciphering(
        role,
        SUITES[0],
        policy_of(3),
        key=GLOBAL_KEY,
        system_title=TITLES[role],
        sent=OwnCounter(MemoryCounters(), ""),
        received=ReceivedCounter(),
    )


def associated(role: Role) -> DlmsConnection:
    """Our side of a ciphered association with a dedicated key."""
    client, server = WrapperFraming(Role.CLIENT, client_sap=1, server_sap=1), WrapperFraming(Role.SERVER, server_sap=1)
    sides = {
        side: DlmsConnection(side, framing, protection=protection(side), max_transfer=2000)
        for side, framing in ((Role.CLIENT, client), (Role.SERVER, server))
    }
    hello = InitiateRequest(conformance=EVERYTHING, dedicated_key=DK, max_receive_pdu=128)
    welcome = InitiateResponse(conformance=EVERYTHING, max_receive_pdu=128)
    context = ApplicationContext.LN_CIPHERED
    said: tuple[tuple[Role, Spoken], ...] = (
        (
            Role.CLIENT,
            AssociationRequest(initiate=hello, application_context=context, system_title=TITLES[Role.CLIENT]),
        ),
        (
            Role.SERVER,
            AssociationResponse(initiate=welcome, application_context=context, system_title=TITLES[Role.SERVER]),
        ),
    )
    for speaker, event in said:
        sides[speaker].send(event)
        listener = sides[_other(speaker)]
        listener.receive_data(sides[speaker].data_to_send())
        listener.next_event()
    return sides[role]


def _other(role: Role) -> Role:
    return Role.SERVER if role is Role.CLIENT else Role.CLIENT


def sealed(role: Role, kind: int, content: bytes, counter: int) -> bytes:
    """An APDU from the other side, with a tag that holds."""
    how, control = kind & 0x07, (kind & 0x18) << 1
    title = OTHER_TITLE if how == 5 else TITLES[_other(role)]
    dedicated = how in (2, 4)
    octets = (DEDICATED_KEY if dedicated else GLOBAL_KEY).seal(control, title, counter, content)
    tag = (DEDICATED if dedicated else GLOBAL).get(content[0])
    if how in (1, 2) and tag is not None:
        return encode_service(tag, octets)
    return encode_general(GENERAL_DEDICATED if dedicated else GENERAL_GLOBAL, title, octets)


def association(role: Role, steps: bytes) -> None:
    """Nothing that is not protected as the policy demands reaches the application, and no counter serves twice."""
    ours = associated(role)
    ports, counter, at = (1, 1), 10, 0
    while at + 1 < len(steps):
        step, length = steps[at], steps[at + 1]
        at += 2
        if step & 0x80:
            with contextlib.suppress(LocalProtocolError):
                if step & 0x04:
                    ours.data_to_send()
                else:
                    ours.send(SAID[role][step & 0x01])
            continue
        apdu = steps[at : at + length]
        at += length
        if not apdu:
            continue
        counter += 0 if step & 0x20 else 1
        raw = not step & 0x07 or not step & 0x18
        ours.receive_data(wrap(apdu if raw else sealed(role, step, apdu, counter), *ports))
        taken = harness.drain(ours, NEED_DATA, REFUSALS, 8)
        if taken and not raw and apdu[0] not in {0x0E, 0xD8}:
            assert step & 0x18 == 0x18
            assert step & 0x07 != 5
        ours.data_to_send()


def carriers(data: bytes) -> None:
    """general-ciphering and general-signing: what they say can be said again; keys in them are opened."""
    with contextlib.suppress(RemoteProtocolError):
        ciphered = decode_general_ciphering(Reader(data))
        assert decode_general_ciphering(Reader(ciphered.encode()[1:])) == ciphered
        with contextlib.suppress(SecurityError, ConfigError):
            if isinstance(ciphered.key, WrappedKey):
                unwrap_key(MK, ciphered.key.wrapped)
        if isinstance(ciphered.key, AgreedKey):
            keys(ciphered.key.ciphered)
        with contextlib.suppress(SecurityError):
            GLOBAL_KEY.open(ciphered.header.originator[:8].ljust(8), ciphered.sealed, ciphered.header.encode())
    with contextlib.suppress(RemoteProtocolError):
        signed = decode_general_signing(Reader(data))
        assert decode_general_signing(Reader(signed.encode()[1:])) == signed
        assert not is_signed(SUITES[1], STATIC[1].public_key(), signed.signed, signed.signature)


def keys(data: bytes) -> None:
    """Public keys and wrapped keys from the wire, signatures of anything by anybody."""
    for suite, own in zip(SUITES[1:], STATIC[1:], strict=True):
        with contextlib.suppress(DecodeError):
            peer = public_key(suite, data[: 2 * suite.scalar_length])
            assert len(agree(suite, own, peer, TITLES[Role.CLIENT], TITLES[Role.SERVER])) == suite.key_length
        assert not is_signed(suite, own.public_key(), b"content", data[: 2 * suite.scalar_length])
    with contextlib.suppress(SecurityError, ConfigError):
        assert wrap_key(MK, unwrap_key(MK, data)) == data


def authentication(which: int) -> Authentication:
    """One of each kind; the signature is the slowest, so it is the rarest."""
    suite: Suite = SUITES[1]
    if which < 3:
        mechanism = (Mechanism.HLS_MD5, Mechanism.HLS_SHA1, Mechanism.HLS_SHA256)[which]
        return HashAuthentication(mechanism, b"secret")
    if which < 7:
        return GmacAuthentication(suite, GLOBAL_KEY, OwnCounter(MemoryCounters(), ""))
    return EcdsaAuthentication(suite, STATIC[1], STATIC[1].public_key())


def proofs(data: bytes) -> None:
    """Challenges and titles of the other side, and a proof that nobody has made: refused, whichever side we are."""
    known = authentication(data[0] & 0x07)
    lengths, rest = (data[0] >> 3 & 0x01, data[0] >> 4), data[1:]
    title = rest[: 8 if lengths[0] else 3]
    challenge = rest[8 : 8 + 4 * lengths[1]]
    proof = rest[8 + 4 * lengths[1] :]
    said = Said(TITLES[Role.CLIENT], title, b"our own challenge", challenge)
    with contextlib.suppress(SecurityError):
        pass_3(known, said, 0xC1)
        answered = ActionResponseNormal(0xC1, ActionResult.SUCCESS, proof)
        check_pass_4(known, said, answered)
        raise AssertionError("a proof out of nothing")
    asked = ActionRequestNormal(0xC1, REPLY_TO_HLS, proof)
    said = Said(title, TITLES[Role.SERVER], challenge, b"our own challenge")
    assert answer_pass_3(known, said, asked).result != ActionResult.SUCCESS


def one_input(data: bytes) -> None:
    """Choose by the first octet."""
    if len(data) < 2:
        return
    choice, rest = data[0] % 5, data[1:]
    if choice < 2:
        association(ROLES[choice], rest)
    elif choice == 2:
        carriers(rest)
    elif choice == 3:
        keys(rest)
    else:
        proofs(rest)


if __name__ == "__main__":
    harness.fuzz("security", one_input)
