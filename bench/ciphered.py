"""Ciphered rounds, answers and associations, without a wire, against gurux-dlms and dlms-cosem on the same plaintexts.

Processor time, medians of interleaved batches. A round is what a session does for a read (see codec), deciphering and the
check of the tag and of the invocation counter included. gurux-dlms ciphers with service-specific APDUs and does not check the
tags of what is authenticated and encrypted; dlms-cosem knows general-glo-ciphering alone. Each is compared in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle

from bench.codec import PROFILE, READER, ROWS
from bench.common import Here, Result, Settings, There, per_second
from bench.responder import CLIENT, METER, NORMAL
from headend.drivers.dlms.parameters import Addressing
from headend.drivers.dlms.plans import prepare
from headend.drivers.dlms.refs import cosem_ref
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.dlms.acse import ApplicationContext, Mechanism
from headend.protocols.dlms.apdu.action import ActionRequestNormal, ActionResponseNormal
from headend.protocols.dlms.apdu.descriptor import ActionResult
from headend.protocols.dlms.axdr import NULL, array, encode_data, int8, octet_string, structure, uint8, uint16
from headend.protocols.dlms.axdr import enum as enumeration
from headend.protocols.dlms.axdr_plain import decode_data
from headend.protocols.dlms.classes import to_object_list
from headend.protocols.dlms.connection import DlmsConnection
from headend.protocols.dlms.events import AssociationRequest, AssociationResponse
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.rows import decode_rows, times
from headend.protocols.dlms.security.authentication import (
    Authentication,
    EcdsaAuthentication,
    GmacAuthentication,
    Said,
    answer_pass_3,
    check_pass_4,
    pass_3,
)
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter, ReceivedCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.keys import private_key
from headend.protocols.dlms.security.policy import policy_of
from headend.protocols.dlms.security.protection import Ciphering
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.dlms.template import decode_get_response
from headend.protocols.wrapper import WrapperFraming, wrap

TITLES = {Role.CLIENT: b"HDE\x00\x00\x00\x00\x01", Role.SERVER: b"MTR\x00\x00\x00\x00\x01"}
EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
ENTRIES, ANSWERS = 1000, 256
READS = Conformance.GET | Conformance.ACTION
RIGHTS = structure(
    array(*(structure(int8(number), enumeration(1), NULL) for number in (1, 2, 3))),
    array(structure(int8(1), enumeration(1))),
)
OBJECTS = encode_data(
    array(
        *(
            structure(uint16(3), uint8(0), octet_string(bytes((1, at >> 7, at & 0x7F, 8, 0, 255))), RIGHTS)
            for at in range(ENTRIES)
        )
    )
)


class Side:
    """One end of a ciphered association over the wrapper."""

    def __init__(self, role: Role, suite: int = 0) -> None:
        length = SUITES[suite].key_length
        self.key = GcmKey((EK * 2)[:length], (AK * 2)[:length])
        self.sent, self.received = OwnCounter(MemoryCounters(), ""), ReceivedCounter()
        self.protection = Ciphering(
            role,
            SUITES[suite],
            policy_of(3),
            key=self.key,
            system_title=TITLES[role],
            sent=self.sent,
            received=self.received,
        )
        self.framing = WrapperFraming(role, client_sap=CLIENT, server_sap=METER)
        self.connection = DlmsConnection(role, self.framing, protection=self.protection)
        self.authentication: Authentication = GmacAuthentication(SUITES[suite], self.key, self.sent)


def hand_over(sender: Side, receiver: Side) -> object:
    """What the other end makes of what one has to send."""
    receiver.connection.receive_data(sender.connection.data_to_send())
    event = receiver.connection.next_event()
    assert event is not NEED_DATA
    return event


def associate(client: Side, meter: Side, mechanism: Mechanism, conformance: Conformance = READS) -> None:
    """All four passes of high level security, in both roles."""
    client.connection.open()
    client.connection.next_event()
    request = AssociationRequest(
        initiate=InitiateRequest(conformance=conformance, max_receive_pdu=0xFFFF),
        application_context=ApplicationContext.LN_CIPHERED,
        mechanism=mechanism,
        authentication_value=b"challenge of the client",
        system_title=TITLES[Role.CLIENT],
    )
    client.connection.send(request)
    hand_over(client, meter)
    response = AssociationResponse(
        initiate=InitiateResponse(conformance=conformance, max_receive_pdu=0xFFFF),
        application_context=ApplicationContext.LN_CIPHERED,
        mechanism=mechanism,
        diagnostic=14,
        authentication_value=b"challenge of the meter",
        system_title=TITLES[Role.SERVER],
    )
    meter.connection.send(response)
    hand_over(meter, client)
    said = Said(TITLES[Role.CLIENT], TITLES[Role.SERVER], request.authentication_value, response.authentication_value)
    client.connection.send(pass_3(client.authentication, said, client.connection.next_invoke_id()))
    third = hand_over(client, meter)
    assert isinstance(third, ActionRequestNormal)
    meter.connection.send(answer_pass_3(meter.authentication, said, third))
    fourth = hand_over(meter, client)
    assert isinstance(fourth, ActionResponseNormal)
    assert fourth.result is ActionResult.SUCCESS
    check_pass_4(client.authentication, said, fourth)


def associated(*, general: bool) -> tuple[Side, Side]:
    client, meter = Side(Role.CLIENT), Side(Role.SERVER)
    conformance = READS | Conformance.GENERAL_PROTECTION if general else READS
    associate(client, meter, Mechanism.HLS_GMAC, conformance)
    return client, meter


def get_round(*, general: bool) -> Callable[[], object]:
    """A prepared GET, ciphered; its answer deciphered and decoded."""
    client, meter = associated(general=general)
    prepared = prepare([cosem_ref("3/1-0:1.8.0.255/2")], Addressing(framing="wrapper", client=CLIENT, server=METER))
    connection, framing, protection = client.connection, client.framing, client.protection
    ask(client, meter)
    answers = cycle(
        [
            wrap(meter.protection.protect(NORMAL[(connection.next_invoke_id() & 0x0F)]), METER, CLIENT)
            for _ in range(ANSWERS)
        ]
    )
    before = client.received.last
    left = ANSWERS

    def round_trip() -> object:
        nonlocal left
        invoke = connection.next_invoke_id() & 0x0F
        connection.request_sent(prepared.heads[invoke])
        framing.send_apdu(protection.protect(prepared.apdus[invoke]))
        framing.data_to_send()
        found = framing.receive_apdu(next(answers))
        assert found is not None
        buffer, start, end = found
        apdu = protection.unprotect(buffer[start:end])
        value = decode_get_response(apdu, 0, len(apdu), invoke)
        connection.request_answered()
        left -= 1
        if not left:
            left, client.received.last = ANSWERS, before
        return value

    assert {round_trip() for _ in range(2 * ANSWERS)} == {100_000}
    return round_trip


def ask(client: Side, meter: Side) -> None:
    """One request, so that the meter knows how it is asked."""
    client.framing.send_apdu(client.protection.protect(b"\xc0\x01\xc1\x00"))
    meter.protection.unprotect(client.framing.data_to_send()[8:])


def long_answer(plain: bytes, decode: Callable[[bytes], object], *, general: bool = False) -> Callable[[], object]:
    """One long APDU to what it says."""
    client, meter = associated(general=general)
    ask(client, meter)
    apdu = meter.protection.protect(NORMAL[1][:4] + plain)
    before = client.received.last

    def take() -> object:
        client.received.last = before
        return decode(client.protection.unprotect(apdu))

    return take


def typed_rows(apdu: bytes) -> list[tuple[object, ...]]:
    """Rows with times as aware `datetime`."""
    rows, _ = decode_rows(apdu, 4)
    moments = times([row[0] for row in rows], READER)
    return [(datetime.fromtimestamp((at or 0) / 1000, UTC), *row[1:]) for at, row in zip(moments, rows, strict=True)]


def objects(apdu: bytes) -> object:
    value, _ = decode_data(apdu, 4)
    return to_object_list(value, 1)


def association(suite: int, mechanism: Mechanism) -> Callable[[], object]:
    size = SUITES[suite].scalar_length if suite else 0
    keys = [private_key(SUITES[suite], bytes((number,)) * size) for number in (1, 2)] if suite else []

    def both() -> None:
        client, meter = Side(Role.CLIENT, suite), Side(Role.SERVER, suite)
        if mechanism is Mechanism.HLS_ECDSA:
            own, other = keys
            client.authentication = EcdsaAuthentication(SUITES[suite], own, other.public_key())
            meter.authentication = EcdsaAuthentication(SUITES[suite], other, own.public_key())
        associate(client, meter, mechanism)

    return both


WORKS: dict[str, Callable[[], object]] = {
    "global": get_round(general=False),
    "general": get_round(general=True),
    "profile": long_answer(PROFILE, typed_rows),
    "general profile": long_answer(PROFILE, typed_rows, general=True),
    "objects": long_answer(OBJECTS, objects),
    "general objects": long_answer(OBJECTS, objects, general=True),
    "gmac": association(0, Mechanism.HLS_GMAC),
    "ecdsa 1": association(1, Mechanism.HLS_ECDSA),
    "ecdsa 2": association(2, Mechanism.HLS_ECDSA),
}
TITLE = {
    "round": "GET of a u32, ciphered and authenticated",
    "profile": f"load profile of {ROWS:,} rows and 6 columns in one ciphered APDU, to typed rows with times",
    "objects": f"object list of {ENTRIES:,} entries in one ciphered APDU, with access rights",
}
AGAINST = {
    "gurux-dlms": ("global", "profile", "objects"),
    "dlms-cosem": ("general", "general profile", "general objects"),
}
TARGETS = {("round", "gurux-dlms"): 100, ("round", "dlms-cosem"): 8}


def peers() -> dict[str, There]:
    """The other stacks, told keys, titles and plaintexts; they make the answers of the meter with their own ciphering."""
    given = {
        "round": NORMAL[1].hex(),
        "profile": (NORMAL[1][:4] + PROFILE).hex(),
        "objects": (NORMAL[1][:4] + OBJECTS).hex(),
        "ek": EK.hex(),
        "ak": AK.hex(),
        "client": TITLES[Role.CLIENT].hex(),
        "meter": TITLES[Role.SERVER].hex(),
    }
    found = {"gurux-dlms": There("gurux_ciphered.py"), "dlms-cosem": There("dlmscosem_ciphered.py")}
    for there in found.values():
        there.begin(json.dumps(given))
    return found


def run(settings: Settings) -> list[Result]:
    here, there = Here(WORKS), peers()
    batches = 3 * settings.repeats
    results = []
    try:
        for at, (work, title) in enumerate(TITLE.items()):
            size, unit = {"round": (1, "rounds/s"), "profile": (ROWS, "rows/s"), "objects": (ENTRIES, "objects/s")}[
                work
            ]
            for name, it in there.items():
                ours = AGAINST[name][at]
                rates = per_second({"ours": (here, ours), "theirs": (it, work)}, batches)
                results.append(
                    Result(
                        benchmark="ciphered",
                        what=f"{title}, {'general-glo' if ours.startswith('general') else 'glo'}",
                        figure=rates["ours"] * size,
                        unit=unit,
                        against=name,
                        reference=rates["theirs"] * size,
                        target=TARGETS.get((work, name)),
                    )
                )
    finally:
        for it in there.values():
            it.close()
    return results + associations(here, batches)


def associations(here: Here, batches: int) -> list[Result]:
    titles = {
        "gmac": "association of suite 0, ciphered, by GMAC",
        "ecdsa 1": "association of suite 1, ciphered, by ECDSA P-256",
        "ecdsa 2": "association of suite 2, ciphered, by ECDSA P-384",
    }
    rates = per_second({work: (here, work) for work in titles}, batches)
    note = "both roles together: four passes, two proofs made and two checked"
    return [
        Result(benchmark="ciphered", what=title, figure=rates[work], unit="associations/s", note=note)
        for work, title in titles.items()
    ]
