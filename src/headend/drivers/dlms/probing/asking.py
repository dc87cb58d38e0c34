"""One request to associate after the other: the answer, what the association tells, its release; and signs of distress."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.probing.offers import ACCEPTED, Answer, Offer, aarq, judge
from headend.drivers.dlms.probing.seen import Asked, Seen, octets_of
from headend.drivers.dlms.probing.telling import Told, tell
from headend.drivers.dlms.probing.wire import Talk, Wire
from headend.errors import DecodeError, LinkError, LinkTimeout, ProtocolError
from headend.model.discovery import TrialOutcome
from headend.protocols.base import LinkReleased
from headend.protocols.dlms.acse import Diagnostic
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.hdlc import HdlcConnection

if TYPE_CHECKING:
    from headend.drivers.dlms.parameters import Addressing
    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint
    from headend.protocols.base import ApduReceived

UNANSWERED: Final = frozenset({TrialOutcome.SILENT, TrialOutcome.CLOSED})
_OPEN: Final = frozenset({TrialOutcome.ACCEPTED, TrialOutcome.WANTS_SECRET})
_EXCEPTIONS: Final = 3
"""Exceptions in a row to requests to associate, after which nothing else is to be expected."""
_REGISTERS: Final = frozenset({3, 4, 5, 7})
_NO_REASON: Final = frozenset({Diagnostic.NO_REASON_GIVEN.value, Diagnostic.AUTHENTICATION_FAILURE.value, None})
"""Refusals that a meter gives to those it does not know, and to all once it has had enough."""


_BARE: Final = (b"\x61", b"\xc4", b"\x0c", b"\xd8")
"""First octets of answers to an AARQ, GET or READ without wrapper."""


class Asker:
    """Makes offers at one place, each once, and keeps what is said in `seen`."""

    def __init__(self, ground: Ground, addressing: Addressing, endpoint: Endpoint | None = None) -> None:
        self.ground = ground
        self.wire = Wire(ground, endpoint)
        self.seen = Seen(addressing)
        self.patient = True
        """nobody has met silence yet"""
        self._exceptions = 0
        self._one_a_link = False

    async def begin(self, offer: Offer) -> Asked | None:
        """Make an offer before anybody has answered; None where nobody does. Raises LinkError, or ProbeEnded."""
        asked = await self._ask(offer)
        self._note(asked)
        refused = asked.answer.outcome is TrialOutcome.EXCEPTION and not self.wire.answers
        return None if refused or asked.answer.outcome in UNANSWERED else asked

    async def attempt(self, offer: Offer) -> Asked:
        """Make an offer, unless it was made; raises ProbeEnded at the first sign of distress, LinkError at the beginning."""
        for asked in reversed(self.seen.asked):
            if asked.offer == offer:
                return asked
        asked = await self._ask(offer)
        self._note(asked)
        if asked.answer.outcome in UNANSWERED and self.wire.met:
            self.patient = False
            await self._look_for_it(offer)
        self._exceptions = self._exceptions + 1 if asked.answer.outcome is TrialOutcome.EXCEPTION else 0
        if self._exceptions >= _EXCEPTIONS and self.seen.accepted is None:
            self.ground.end("it answers requests to associate by nothing but exceptions")
        return asked

    async def ask_again(self) -> None:
        """See that who was let in before still is, when others were refused since without a reason that means them."""
        accepted = self.seen.accepted
        if accepted is None:
            return
        since = self.seen.asked[self.seen.asked.index(accepted) + 1 :]
        if any(each.answer.outcome is TrialOutcome.REJECTED and each.answer.code in _NO_REASON for each in since):
            await self._expect(accepted)

    def _note(self, asked: Asked) -> None:
        self.seen.note(*asked)
        if asked.answer.busy:
            self.ground.end("it refuses for now: it is busy")

    async def _look_for_it(self, unanswered: Offer) -> None:
        """Silence may be how a meter refuses; it is over when it is silent to what it has answered before, too."""
        known = self.seen.accepted or next(
            (each for each in self.seen.asked if each.answer.outcome not in UNANSWERED), None
        )
        if known is None or known.offer == unanswered:
            self.ground.end("it has fallen silent")
        await self._expect(known)

    async def _expect(self, known: Asked, *, read: bool = False) -> None:
        """Make an offer again; another answer than before is a sign of distress."""
        again = await self._ask(known.offer, read=read)
        if again.answer.outcome is not known.answer.outcome:
            who = f"client {known.offer.client}"
            said = " ".join(filter(None, (again.answer.outcome.value, again.answer.diagnostic)))
            self.ground.end(f"{who} was {known.answer.outcome.value} before, and is {said} now")

    async def _ask(self, offer: Offer, *, read: bool = True) -> Asked:
        """Make an offer; on a link of its own where it is not answered: some meters take one association on each, or close."""
        if self._one_a_link and self.wire.answers:
            await self.wire.leave()
            await self.wire.drop()
        asked = await self._ask_once(offer, read=read)
        if asked.answer.outcome in UNANSWERED and self.wire.answers and not self._is_bare(asked.place):
            asked = await self._ask_once(offer, read=read)
            self._one_a_link |= asked.answer.outcome not in UNANSWERED
        if asked.answer.outcome is TrialOutcome.SILENT and self._leaves_wrapper_out(asked.place):
            asked = await self._ask_once(offer, read=read)
        return asked

    async def _ask_once(self, offer: Offer, *, read: bool) -> Asked:
        """Make an offer, read what is to be read where it is accepted, release."""
        await self.wire.connect()
        if self.ground.associations and self.ground.budget.spacing:
            await self.ground.sleep(self.ground.budget.spacing)
        self.ground.associate()
        name = f"dlms AARQ {offer.client} to {offer.server} {offer.context} {offer.mechanism}"
        answer, talk = await self._exchange(offer)
        asked = Asked(offer, answer, self.ground.step(name, _said(answer)))
        if talk is None:
            return asked
        self.wire.associated = answer.outcome in _OPEN or answer.result == ACCEPTED
        if read and answer.outcome is TrialOutcome.ACCEPTED and answer.initiate is not None and self._is_wanted:
            await self._read(talk, asked)
        if self.wire.associated:
            await self.wire.release()
            self.ground.step("dlms release")
        return asked

    async def _exchange(self, offer: Offer) -> tuple[Answer, Talk | None]:
        """The AARQ and what comes; the framing it came over, where that stands still."""
        seen, wire, timeout = self.seen, self.wire, self.ground.timeout
        addressing = replace(seen.addressing, client=offer.client, server=offer.server)
        try:
            talk = await wire.reach(addressing)
            if isinstance(talk, LinkReleased):
                return Answer(outcome=TrialOutcome.EXCEPTION, note=f"HDLC: {talk.reason}"), None
            if isinstance(talk.framing, HdlcConnection):
                self._note_link(talk.framing, addressing)
            wire.associated = True  # as long as it is not known
            received = await talk.ask(aarq(offer.context, offer.mechanism), timeout)
            wire.answered()
            answer = self._checked(offer, received, judge(offer, received.apdu))
        except LinkTimeout:
            await wire.drop()
            return Answer(outcome=TrialOutcome.SILENT), None
        except LinkError:
            await wire.drop()
            return Answer(outcome=TrialOutcome.CLOSED), None
        except ProtocolError as error:
            await wire.drop()
            return Answer(outcome=TrialOutcome.EXCEPTION, note=f"not to be read: {error}"), None
        return answer, talk

    def _note_link(self, framing: HdlcConnection, addressing: Addressing) -> None:
        """What HDLC was opened with, the first time; the step that holds it is the one to come."""
        link, size = self.seen.link, octets_of(addressing)
        index = len(self.ground.evidence)
        if link.limits is None:
            link.limits, link.opened = framing.limits, index
        link.octets.setdefault(size, index)

    def _checked(self, offer: Offer, received: ApduReceived, answer: Answer) -> Answer:
        """The answer, unless it is one to something else: to another client, or of another context or mechanism."""
        why = ""
        if self.seen.addressing.framing == "wrapper":
            swapped = (received.source, received.destination) == (offer.client, offer.server)
            if received.destination != offer.client and not swapped:
                why = f"an answer to wPort {received.destination}"
            elif received.source != offer.server and self.seen.wport is None:
                self.seen.wport, self.seen.wport_index = received.source, len(self.ground.evidence)
        if answer.outcome in _OPEN and answer.context != offer.context:
            why = why or f"an answer in context {answer.context or 'unknown'}"
        if answer.outcome is TrialOutcome.WANTS_SECRET and answer.mechanism not in {"", offer.mechanism}:
            why = why or f"a challenge by mechanism {answer.mechanism}"
        return (
            replace(answer, outcome=TrialOutcome.EXCEPTION, note=f"{why}, which was not asked for") if why else answer
        )

    @property
    def _is_wanted(self) -> bool:
        """Nothing was read before, or nothing that measures."""
        told = self.seen.told
        return not (told.values and any(each.class_id in _REGISTERS for each in told.objects))

    async def _read(self, talk: Talk, asked: Asked) -> None:
        """Read in the association that stands. A meter that falls silent at a list of attributes is asked for one at a time."""
        initiate, seen = asked.answer.initiate, self.seen
        if initiate is None:
            return
        told = Told()
        params = {"ref": asked.offer.referencing, "lists": "yes" if seen.lists else "no"}
        try:
            await tell(talk, self.ground, initiate, params, told)
        except LinkTimeout as error:
            await self._drop_unread()
            self._keep(told, asked.offer)
            if not told.objects or not seen.lists:
                self.ground.end(f"it fell silent while it was read: {error}")
            seen.lists = False
            await self._expect(asked, read=True)
        except (LinkError, ProtocolError) as error:
            told.note = told.note or str(error)
            await self._drop_unread()
            if self._leaves_wrapper_out(asked.place + 1):
                await self._expect(asked, read=True)
        finally:
            self.wire.resume()
        self._keep(told, asked.offer)

    def _leaves_wrapper_out(self, place: int) -> bool:
        """The meter has answered without wrapper since a piece of evidence; from now on that is expected."""
        seen = self.seen
        if seen.addressing.bare or not self._is_bare(place):
            return False
        seen.addressing = replace(seen.addressing, bare=True)
        return True

    def _is_bare(self, place: int) -> bool:
        wrapped = self.seen.addressing.framing == "wrapper"
        return wrapped and any(_is_bare(each.received) for each in self.ground.evidence[place:])

    async def _drop_unread(self) -> None:
        await self.wire.drop()
        self.ground.step("dlms release")

    def _keep(self, told: Told, offer: Offer) -> None:
        seen = self.seen
        worth = len(told.objects), len(told.values)
        if seen.told_by is None or worth > (len(seen.told.objects), len(seen.told.values)):
            seen.told, seen.told_by = told, offer


def _is_bare(octets: bytes) -> bool:
    """True for octets that begin with a whole APDU without wrapper."""
    try:
        return octets[:1] in _BARE and Delimiter().find_end(octets) is not None
    except DecodeError:
        return False


def _said(answer: Answer) -> str:
    return " ".join(filter(None, (answer.outcome.value, answer.diagnostic, answer.note)))
