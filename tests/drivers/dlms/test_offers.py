"""What an AARQ holds, and what the answers of meters to it mean, octet by octet (IEC 62056-5-3, 7.2.4 and 9.5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from headend.drivers.dlms.parameters import Addressing
from headend.drivers.dlms.probing.examining import CLIENTS, MORE_CLIENTS
from headend.drivers.dlms.probing.offers import CONTEXTS, HIGH, Offer, aarq, judge
from headend.drivers.dlms.probing.seen import Seen
from headend.drivers.dlms.probing.telling import Told
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.ground import Budget
from headend.errors import DecodeError
from headend.model.discovery import TrialOutcome
from headend.protocols.dlms.acse import Aarq
from headend.protocols.dlms.apdu.table import decode_apdu

LN = "A1 09 06 07 60 85 74 05 08 01 01"
LN_CIPHERED = "A1 09 06 07 60 85 74 05 08 01 03"
YES, NO = "A2 03 02 01 00", "A2 03 02 01 01"
TITLE = "A4 0A 04 08 4D 4D 4D 00 00 BC 61 4E"  # MMM, of the standard's examples
CHALLENGE = "AA 12 80 10 000102030405060708090A0B0C0D0E0F"
GMAC = "88 02 07 80 89 07 60 85 74 05 08 02 05"


def aare(*elements: str) -> bytes:
    body = bytes.fromhex("".join(elements))
    return bytes((0x61, len(body))) + body


def says(diagnostic: int, source: int = 0xA1) -> str:
    return f"A3 05 {source:02X} 03 02 01 {diagnostic:02X}"


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("mechanism", ["none", *HIGH])
def test_no_offer_holds_a_password(context: str, mechanism: str) -> None:
    apdu = decode_apdu(aarq(context, mechanism))
    assert isinstance(apdu, Aarq)
    assert apdu.application_context == CONTEXTS[context]
    assert apdu.mechanism != 1
    assert bool(apdu.authentication_value) is (mechanism != "none")
    assert bool(apdu.calling_ap_title) is (mechanism != "none" or context.endswith("ciphered"))
    assert len(aarq(context, mechanism)) < 128 - 3  # in one frame of HDLC, after the LLC


def test_nothing_is_offered_by_a_password() -> None:
    """Asked for LLS, an AARQ without authentication is what comes of it."""
    assert aarq("ln", "lls") == aarq("ln", "none")


def test_a_ciphered_initiate_response_tells_the_suite() -> None:
    """glo-initiate-response: 28, length, security control 31 (suite 1, authenticated and encrypted), counter."""
    answer = judge(
        Offer(1, 1, "ln-ciphered", "gmac"),
        aare(LN_CIPHERED, YES, says(14), TITLE, GMAC, CHALLENGE, "BE 0E 04 0C 28 0A 31 01234567 8090A0B0C0"),
    )
    assert (answer.outcome, answer.suite, answer.title.hex()) == (TrialOutcome.WANTS_SECRET, 1, "4d4d4d0000bc614e")
    assert (answer.context, answer.mechanism, answer.initiate) == ("ln-ciphered", "gmac", None)


def test_general_ciphering_tells_it_too() -> None:
    """general-glo-ciphering: DB, system title, length, security control 32 (suite 2)."""
    sealed = "BE 17 04 15 DB 08 4D4D4D0000BC614E 0A 32 01234567 8090A0B0C0"
    answer = judge(Offer(1, 1, "ln-ciphered"), aare(LN_CIPHERED, YES, says(0), TITLE, sealed))
    assert (answer.outcome, answer.suite) == (TrialOutcome.ACCEPTED, 2)


@pytest.mark.parametrize(
    ("apdu", "outcome", "diagnostic", "wants"),
    [
        (aare(LN, NO, says(11)), TrialOutcome.REJECTED, "authentication-mechanism-name-not-recognised", True),
        (aare(LN, NO, says(13)), TrialOutcome.REJECTED, "authentication-failure", True),
        (aare(LN, NO, says(1)), TrialOutcome.REJECTED, "no-reason-given", False),
        (aare(LN, NO, says(1, 0xA2)), TrialOutcome.REJECTED, "provider-1", False),
        (aare(LN, NO, says(99)), TrialOutcome.REJECTED, "99", False),
        (aare(LN, YES, says(0)), TrialOutcome.REJECTED, "", False),  # accepted, and nothing was agreed on
        (bytes.fromhex("D8 01 02"), TrialOutcome.EXCEPTION, "service-not-allowed, service-not-supported", False),
        (bytes.fromhex("0E 01 06 02"), TrialOutcome.EXCEPTION, "initiate: initiate: incompatible-conformance", False),
    ],
)
def test_refusals(apdu: bytes, outcome: TrialOutcome, diagnostic: str, wants: bool) -> None:
    answer = judge(Offer(16, 1), apdu)
    assert (answer.outcome, answer.diagnostic, answer.wants_authentication) == (outcome, diagnostic, wants)
    assert not answer.deciphers


@pytest.mark.parametrize("apdu", ["D8 01 05", "D8 01 06 0000002A"])
def test_who_has_tried_to_decipher(apdu: str) -> None:
    assert judge(Offer(1, 1, "ln-ciphered"), bytes.fromhex(apdu)).deciphers


@pytest.mark.parametrize(
    ("information", "note"),
    [
        ("BE 06 04 04 0E 01 06 03", "initiate: initiate: pdu-size-too-short"),
        ("BE 04 04 02 77 00", "user information begins with 77"),
        ("BE 05 04 03 08 00 06", "initiate response: "),
    ],
)
def test_user_information_that_is_no_initiate_response(information: str, note: str) -> None:
    answer = judge(Offer(16, 1), aare(LN, NO, says(1), information))
    assert answer.note.startswith(note)
    assert answer.initiate is None


@pytest.mark.parametrize("apdu", ["", "C4 01 C1 00 11 2A", "63 03 80 01 00", "61 02 A1 00"])
def test_what_is_no_answer_to_an_aarq(apdu: str) -> None:
    with pytest.raises(DecodeError):
        judge(Offer(16, 1), bytes.fromhex(apdu))


@pytest.mark.parametrize(
    ("context", "mechanism"),
    [
        (bytes.fromhex("60857405080103"), bytes.fromhex("60857405080205")),
        (bytes.fromhex("060760857405080103"), bytes.fromhex("060760857405080205")),  # with tag and length
        ([2, 16, 756, 5, 8, 1, 3], [2, 16, 756, 5, 8, 2, 5]),  # as a structure
    ],
)
def test_names_in_association_objects(context: object, mechanism: object) -> None:
    """Context and mechanism stand there in three forms; a negative client is one above 127."""
    values = {3: [-1, 1], 4: context, 6: mechanism}
    told = Told(values={cosem_ref(f"15/0-0:40.0.2.255/{member}"): value for member, value in values.items()})  # type: ignore[misc]
    (found,) = Seen(Addressing("wrapper", 16, 1), told=told).clients()
    assert (found.client, found.server, found.context, found.mechanism) == (255, 1, "ln-ciphered", "gmac")


@pytest.mark.parametrize(
    "values", [{3: None}, {3: [1, 1], 4: b"", 6: b""}, {3: [0, 1]}, {3: [1, 1], 4: [1, 2], 6: "x"}]
)
def test_association_objects_that_tell_nothing(values: dict[int, object]) -> None:
    told = Told(values={cosem_ref(f"15/0-0:40.0.2.255/{member}"): value for member, value in values.items()})  # type: ignore[misc]
    assert Seen(Addressing("wrapper", 16, 1), told=told).clients() == []


PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "dlms-discovery.md"


def test_the_page_says_what_is_done() -> None:
    """Clients, mechanisms and bounds, as the code has them."""
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    budget = Budget()
    first, *others = CLIENTS
    assert first == 16
    assert f"Clients {_listed(others)} without authentication" in text
    assert f"also {_listed(sorted(MORE_CLIENTS))}." in text
    assert f"more than {budget.associations} associations" in text
    assert f"| connections | {budget.links}, one open at a time |" in text
    assert f"| time | {budget.seconds:g} s |" in text
    assert "GMAC, SHA-256, MD5, SHA-1, ECDSA and HLS" in text
    assert HIGH == ("gmac", "sha256", "md5", "sha1", "ecdsa", "hls")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
