"""The order of an examination: who answers, how, what is told, who else may ask. See the package for what is never done."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.parameters import read_params
from headend.drivers.dlms.probing.asking import UNANSWERED, Asker
from headend.drivers.dlms.probing.deeper import go_deeper
from headend.drivers.dlms.probing.offers import HIGH, Offer
from headend.drivers.dlms.probing.outcome import to_examination
from headend.drivers.ground import Budget
from headend.errors import LinkError, LinkTimeout, ProbeEnded, ProtocolError
from headend.model.discovery import TrialOutcome
from headend.protocols.base import LinkReleased
from headend.protocols.dlms.acse import Diagnostic

if TYPE_CHECKING:
    from headend.drivers.base import Secrets
    from headend.drivers.dlms.probing.offers import Answer
    from headend.drivers.dlms.probing.seen import Asked
    from headend.drivers.dlms.security import Counters
    from headend.drivers.ground import Ground
    from headend.model.discovery import Examination, Sighting

PUBLIC, MANAGEMENT = 16, 1
CLIENTS: Final = (PUBLIC, MANAGEMENT, 32, 48, 2, 17)
"""Clients that are tried: public, management, readers and settings of several countries and makers."""
MORE_CLIENTS: Final = (3, 7, 18, 64, 80, 96, 100, 102, 103)
"""Likewise, where the budget was made larger for it."""
_USUAL: Final = Budget()
_SEARCHES: Final = 1
"""Clients whose mechanism is searched for; more of them with a larger budget."""
_MAX_INFO, _WINDOW = 2030, 7
"""What is proposed in SNRM, so that the answer shows what the meter can do."""
_SIZES: Final = (1, 2, 4)
_SHORT: Final = 0x7F
_REQUIRED: Final = frozenset(
    {Diagnostic.AUTHENTICATION_REQUIRED.value, Diagnostic.AUTHENTICATION_MECHANISM_NAME_REQUIRED.value}
)
_NOT_RECOGNISED: Final = Diagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED.value


async def examine(ground: Ground, sighting: Sighting, secrets: Secrets, counters: Counters) -> Examination:
    """See `Driver.examine`."""
    owned = int(sighting.params.get("client", 0)) if secrets and "auth" in sighting.params else 0
    examiner = _Examiner(ground, sighting, owned)
    wire, seen = examiner.asker.wire, examiner.asker.seen
    try:
        async with asyncio.timeout(max(0.0, ground.seconds_left)):
            await examiner.run()
            if secrets:
                await wire.leave()
                await wire.drop()
                await go_deeper(ground, seen, sighting, secrets, counters)
    except ProbeEnded:
        pass
    except LinkError as error:
        if not wire.met:
            raise
        _stop(ground, f"the link was lost: {error}")
    except TimeoutError:
        _stop(ground, f"{ground.budget.seconds:g} s are as long as a discovery may take here")
    finally:
        await wire.leave()
        await wire.drop()
    return to_examination(ground, sighting, seen)


def _stop(ground: Ground, reason: str) -> None:
    with suppress(ProbeEnded):
        ground.end(reason)


class _Examiner:
    """One examination."""

    def __init__(self, ground: Ground, sighting: Sighting, owned: int) -> None:
        """`owned` is the client whose secrets are there: its mechanism is known, and nothing is begun in its name."""
        params = sighting.params
        addressing = read_params(sighting.framing, params).addressing
        if sighting.framing == "hdlc":
            addressing = replace(addressing, max_info=_MAX_INFO, window=_WINDOW)
        self.ground = ground
        self.asker = Asker(ground, addressing, sighting.endpoint)
        self._owned = owned
        self._referencing = str(params.get("ref", "ln"))
        more = ground.budget.associations > _USUAL.associations
        self._clients = (*CLIENTS, *MORE_CLIENTS) if more else CLIENTS
        self._searches = len(self._clients) if more else _SEARCHES

    async def run(self) -> None:
        """Everything, cheap and harmless first."""
        attempt = self.asker.attempt
        first = await self._first()
        if self.asker.seen.wport not in {None, first.offer.client}:
            first = await self._ask_where_it_answers(first)
        spoken, other = first, "sn" if self._referencing == "ln" else "ln"
        second = await attempt(first.offer._replace(context=other))
        if _is_likelier(second.answer, first.answer):
            self._referencing, spoken = other, second
        if self.asker.seen.accepted is not None or spoken.answer.wants_other_context:
            await attempt(spoken.offer._replace(context=f"{self._referencing}-ciphered"))
        if spoken.answer.wants_authentication:
            await self._search(spoken)
        if self.asker.seen.addressing.framing != "apdu":  # there are no others where nothing names them
            await self._others()
        await self.asker.ask_again()
        await self._lengths()

    # --- who answers ---

    async def _first(self) -> Asked:
        """The first answer: as the sighting says, with small frames, as the public and as the management client."""
        seen = self.asker.seen
        usual = replace(seen.addressing, max_info=128, window=1)
        ways = list(dict.fromkeys((seen.addressing, usual)))
        ways += [replace(usual, client=each) for each in (PUBLIC, MANAGEMENT) if each != usual.client]
        for addressing in ways:
            seen.addressing = addressing
            asked = await self.asker.begin(Offer(addressing.client, addressing.server, self._referencing))
            if asked is not None:
                return asked
        return self.ground.end("nobody answers a request to associate")

    async def _ask_where_it_answers(self, first: Asked) -> Asked:
        """The association of the logical device whose port the answer came from; the first one when there is none."""
        seen = self.asker.seen
        before = seen.addressing
        seen.addressing = replace(before, server=seen.wport or before.server)
        asked = await self.asker.attempt(first.offer._replace(server=seen.addressing.server))
        if asked.answer.outcome in UNANSWERED or asked.answer.outcome is TrialOutcome.EXCEPTION:
            seen.addressing = before
            return first
        return asked

    # --- who else may associate ---

    async def _others(self) -> None:
        """The clients that nobody has told about yet."""
        seen = self.asker.seen
        server = seen.addressing.server
        for each in seen.clients():
            offer = Offer(each.client, each.server or server, each.context, each.mechanism)
            if not any(asked.offer.client == each.client for asked in seen.asked):
                note = f"told by association object {each.name}"
                seen.infer(offer, note, (seen.told.in_values,), wants=each.mechanism != "none")
        told = {each.client for each in seen.clients()} | {each.offer.client for each in seen.asked}
        for client in self._clients:
            if client in told:
                continue
            offer = Offer(client, server, self._referencing)
            if not self.asker.patient:
                seen.infer(offer, "not tried: who is not known here meets silence", (), wants=False)
                continue
            asked = await self.asker.attempt(offer)
            if asked.answer.wants_authentication:
                await self._search(asked)

    async def _search(self, refused: Asked) -> None:
        """The mechanism of high level security of a client that is to authenticate: name after name, until one is known.

        LLS is what is left where the meter asks for authentication and recognises none of the others.
        """
        if self._searches <= 0 or refused.offer.client == self._owned:
            return
        self._searches -= 1
        named = refused.answer.mechanism
        asked: list[Asked] = []
        for mechanism in sorted(HIGH, key=lambda each: each != named):
            found = await self.asker.attempt(refused.offer._replace(mechanism=mechanism))
            if found.answer.wants_other_context:
                await self._search_ciphered(refused, found, asked)
                return
            asked.append(found)
            if found.answer.code != _NOT_RECOGNISED or found.answer.outcome is not TrialOutcome.REJECTED:
                return
        if refused.answer.code in _REQUIRED:
            note = "by elimination: it wants authentication, and recognises no other mechanism"
            evidence = (refused.place, *(each.place for each in asked))
            self.asker.seen.infer(refused.offer._replace(mechanism="lls"), note, evidence)

    async def _search_ciphered(self, refused: Asked, found: Asked, before: list[Asked]) -> None:
        """A mechanism by which the context alone is refused: recognised, where another one is not, and that in plain."""
        context = f"{self._referencing}-ciphered"
        ciphered = await self.asker.attempt(found.offer._replace(context=context))
        if ciphered.answer.outcome is TrialOutcome.WANTS_SECRET:
            return
        other = next(each for each in HIGH if each != found.offer.mechanism)
        contrast = before[-1] if before else await self.asker.attempt(refused.offer._replace(mechanism=other))
        if contrast.answer.code == _NOT_RECOGNISED and ciphered.answer.deciphers:
            note = (
                "recognised: in plain it is the context alone that is refused, and other mechanisms are not recognised"
            )
            evidence = (refused.place, found.place, contrast.place, ciphered.place)
            self.asker.seen.infer(found.offer._replace(context=context), note, evidence)

    # --- HDLC ---

    async def _lengths(self) -> None:
        """The address lengths that the same station answers to: SNRM and DISC in each."""
        asker, seen = self.asker, self.asker.seen
        addressing = seen.addressing
        if addressing.framing != "hdlc" or max(addressing.server, addressing.physical) > _SHORT:
            return
        for size in _SIZES:
            if size in seen.link.octets or (size == 1 and addressing.physical):
                continue
            asker.ground.go_on()
            await asker.wire.connect()
            name = f"dlms hdlc SNRM {addressing.server}:{addressing.physical} ({size} octets)"
            try:
                talk = await asker.wire.reach(replace(addressing, address_size=size))
            except (LinkTimeout, ProtocolError):
                asker.ground.step(name, "no answer")
                asker.wire.forget()
                continue
            if isinstance(talk, LinkReleased):
                asker.ground.step(name, talk.reason)
                continue
            seen.link.octets[size] = asker.ground.step(name, "UA")
            await asker.wire.leave()
            asker.ground.step("dlms hdlc DISC")


def _is_likelier(answer: Answer, than: Answer) -> bool:
    """Which of two contexts the meter rather has, where the second was not accepted."""
    if than.outcome is TrialOutcome.ACCEPTED:
        return False
    refused = than.wants_other_context or than.outcome is TrialOutcome.EXCEPTION
    return answer.outcome is TrialOutcome.ACCEPTED or (refused and answer.wants_authentication)
