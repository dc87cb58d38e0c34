"""With the secrets of the owner: the same questions in the association that they are for. Once; a refusal is not repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms import client
from headend.drivers.dlms.parameters import Parameters, parameters_of
from headend.drivers.dlms.probing.offers import MECHANISM_WORDS, Answer, Offer
from headend.drivers.dlms.probing.telling import Told, ask_values, choose
from headend.drivers.dlms.redaction import reseal, spoken
from headend.errors import HeadendError, LinkError, LinkTimeout, MeterError, SecurityError
from headend.model.discovery import TrialOutcome
from headend.model.meter import Meter
from headend.protocols.dlms.acse import Mechanism

if TYPE_CHECKING:
    from headend.drivers.base import Secrets
    from headend.drivers.dlms.client import DlmsSession
    from headend.drivers.dlms.probing.seen import Seen
    from headend.drivers.dlms.security import Counters
    from headend.drivers.ground import Ground
    from headend.model.discovery import Sighting

_STEP: Final = "dlms association with the secrets of the owner"
_WHOSE: Final = "with the secrets of the owner"


async def go_deeper(ground: Ground, seen: Seen, sighting: Sighting, secrets: Secrets, counters: Counters) -> None:
    """Associate as the parameters of the sighting say, and read what is shown then; raises ProbeEnded, LinkError."""
    endpoint = sighting.endpoint or ground.endpoint
    meter = Meter(
        id=f"discovery {endpoint.wire}",
        protocol=sighting.protocol,
        framing=sighting.framing,
        endpoint=endpoint,
        params=sighting.params,
    )
    parameters = parameters_of(meter, None)
    if parameters.mechanism is Mechanism.NONE and "ek" not in secrets:
        return  # nobody has said for which client and mechanism they are: trying would be guessing
    asks_counter = "ek" in secrets and parameters.security.counter is not None
    for _ in range(1 + asks_counter):
        ground.associate()
    link = await ground.link(endpoint)
    offer = _offer(parameters, secrets)
    try:
        session = await client.attach(
            link, meter, None, secrets, counters=counters, buffered=b"", timeout=ground.timeout
        )
    except HeadendError as error:
        await ground.close()
        answer = Answer(outcome=_outcome(error), note=str(error))
        seen.note(offer, answer, _step(ground, secrets, str(error)), _WHOSE)
        return
    try:
        await _read(session, seen)
    except HeadendError as error:
        seen.told.note = seen.told.note or str(error)
    finally:
        await session.aclose()
        await ground.close()
        place = _step(ground, secrets, "accepted")
    seen.told.in_list = seen.told.in_values = place
    suite = parameters.security.suite if offer.context.endswith("ciphered") else None
    answer = Answer(
        outcome=TrialOutcome.ACCEPTED, title=session.access.system_title, suite=suite, context=offer.context
    )
    seen.note(offer, answer, place, _WHOSE)
    seen.trials[-1] = replace(seen.trials[-1], conformance=f"{int(session.access.conformance):06x}")
    seen.deep = True


def _outcome(error: HeadendError) -> TrialOutcome:
    """What came of the association: a refusal is one of the secrets, too."""
    if isinstance(error, LinkTimeout):
        return TrialOutcome.SILENT
    if isinstance(error, LinkError):
        return TrialOutcome.CLOSED
    return TrialOutcome.REJECTED if isinstance(error, MeterError | SecurityError) else TrialOutcome.EXCEPTION


async def _read(session: DlmsSession, seen: Seen) -> None:
    """The object list of the association, and what it shows of the meter, with what was read without secrets."""
    told = Told(values=dict(seen.told.values))
    told.objects = await session.objects()
    seen.told = told
    await ask_values(session.access, choose(told.objects), told)


def _offer(parameters: Parameters, secrets: Secrets) -> Offer:
    """What the session asks for."""
    referencing = "sn" if parameters.short_names else "ln"
    ciphered = parameters.security.policy != 0 and "ek" in secrets
    return Offer(
        parameters.addressing.client,
        parameters.addressing.server,
        f"{referencing}-ciphered" if ciphered else referencing,
        MECHANISM_WORDS[parameters.mechanism],
    )


def _step(ground: Ground, secrets: Secrets, note: str) -> int:
    """The evidence of it, with asterisks in the place of what is secret; without what was sent where it may be cut in pieces."""
    index = ground.step(_STEP, note)
    kept = ground.evidence[index]
    sent, hides = kept.sent, spoken(secrets)
    for octets, hidden in hides:
        sent = sent.replace(octets, hidden)
    if sent == kept.sent and "secret" in secrets:
        sent = b""
    ground.evidence[index] = replace(kept, sent=reseal(sent))
    return index
