"""What an examination has seen, in the order in which it was seen; facts are made of it when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from headend.drivers.dlms.probing.offers import CONTEXT_WORDS, Answer, Offer, mechanism_of
from headend.drivers.dlms.probing.telling import ASSOCIATION, SAP_ASSIGNMENT, SECURITY_SETUP, Told
from headend.errors import DecodeError
from headend.model.discovery import Trial, TrialOutcome
from headend.protocols.dlms.classes import to_sap_list
from headend.protocols.hdlc import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headend.drivers.dlms.parameters import Addressing
    from headend.model.objects import RawValue
    from headend.protocols.hdlc import Limits
    from headend.protocols.hdlc.address import AddressSize
    from headend.standards.obis import Obis

_PREFIX: Final = bytes.fromhex("6085740508")
"""2.16.756.5.8, before the arc and the number of contexts and mechanisms."""
_NAME: Final = 7
_TITLE: Final = 8


class Asked(NamedTuple):
    """One offer, the answer, and where in the evidence both stand."""

    offer: Offer
    answer: Answer
    place: int


class ToldClient(NamedTuple):
    """A client as an association object describes it."""

    name: str
    client: int
    server: int
    context: str
    mechanism: str


class ToldSetup(NamedTuple):
    """A security setup; None and nothing where it does not tell."""

    name: str
    suite: int | None
    policy: int | None
    title: bytes


@dataclass(slots=True)
class Link:
    """What HDLC has shown: the sizes that were agreed on, the address lengths that answer, where this stands."""

    limits: Limits | None = None
    opened: int = -1
    octets: dict[int, int] = field(default_factory=dict)
    """by length, the place in the evidence"""


@dataclass(slots=True)
class Seen:
    """Everything so far."""

    addressing: Addressing
    asked: list[Asked] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    told_by: Offer | None = None
    """whose association it was read in"""
    lists: bool = True
    """several attributes are read in one request, where the meter agrees"""
    link: Link = field(default_factory=Link)
    wport: int | None = None
    """where it answers from, when that is not the one that was asked"""
    wport_index: int = -1
    deep: bool = False
    """the secrets of the owner have opened an association"""

    def note(self, offer: Offer, answer: Answer, index: int, note: str = "") -> None:
        """Keep an answer, and its row of the matrix in the place of what was known of the same offer before."""
        self.asked.append(Asked(offer, answer, index))
        initiate = answer.initiate
        self.trials = [each for each in self.trials if _offer_of(each) != offer]
        self.trials.append(
            Trial(
                **_row(offer),
                outcome=answer.outcome,
                result=answer.result,
                diagnostic=answer.diagnostic,
                conformance="" if initiate is None else f"{int(initiate.conformance):06x}",
                max_pdu=None if initiate is None else initiate.max_receive_pdu,
                system_title=answer.title.hex(),
                note=" ".join(filter(None, (answer.note, note))),
                evidence=(index,),
            )
        )

    def infer(self, offer: Offer, note: str, evidence: tuple[int, ...], *, wants: bool = True) -> None:
        """Keep what was not asked for, because it is known."""
        self.trials = [each for each in self.trials if _offer_of(each) != offer]
        outcome = TrialOutcome.WANTS_SECRET if wants else TrialOutcome.NOT_TRIED
        self.trials.append(Trial(**_row(offer), outcome=outcome, note=note, evidence=evidence))

    @property
    def accepted(self) -> Asked | None:
        """The first association that was accepted, rather one that said in plain what it agrees to."""
        found = [each for each in self.asked if each.answer.outcome is TrialOutcome.ACCEPTED]
        return next((each for each in found if each.answer.initiate is not None), found[0] if found else None)

    def clients(self) -> list[ToldClient]:
        """Clients that association objects describe."""
        return list(_clients(self.told))

    def setups(self) -> list[ToldSetup]:
        """Security setups."""
        return list(_setups(self.told))

    def servers(self) -> list[int]:
        """Logical devices of the SAP assignment."""
        for ref, value in self.told.values.items():
            if ref.class_id == SAP_ASSIGNMENT:
                try:
                    return [each.sap for each in to_sap_list(value)]
                except DecodeError:
                    return []
        return []


def octets_of(addressing: Addressing) -> int:
    """How many octets the address of the meter has in HDLC."""
    size = cast("AddressSize | None", addressing.address_size or None)
    return Address.server(addressing.server, addressing.physical, size).size


def _offer_of(trial: Trial) -> Offer:
    return Offer(trial.client, trial.server, trial.context, trial.mechanism)


def _row(offer: Offer) -> dict[str, Any]:
    return {
        "client": offer.client,
        "server": offer.server,
        "referencing": offer.referencing,
        "context": offer.context,
        "mechanism": offer.mechanism,
    }


def _clients(told: Told) -> Iterator[ToldClient]:
    """The associations that say who their client is, in which context and by which mechanism."""
    for name, members in _objects(told, ASSOCIATION):
        match members.get(3):
            case [int(client), int(server)]:
                pass
            case _:
                continue
        context = CONTEXT_WORDS.get(_last_arc(members.get(4), 1), "")
        mechanism = mechanism_of(_last_arc(members.get(6), 2))
        if context and mechanism and client & 0xFF:
            yield ToldClient(str(name), client & 0xFF, server & 0xFFFF, context, mechanism)


def _setups(told: Told) -> Iterator[ToldSetup]:
    for name, members in _objects(told, SECURITY_SETUP):
        policy, suite, title = members.get(2), members.get(3), members.get(5)
        yield ToldSetup(
            str(name),
            suite if isinstance(suite, int) and 0 <= suite <= 2 else None,
            policy if isinstance(policy, int) else None,
            title if isinstance(title, bytes) and len(title) == _TITLE and any(title) else b"",
        )


def _objects(told: Told, class_id: int) -> Iterator[tuple[Obis, dict[int, RawValue]]]:
    found: dict[Obis, dict[int, RawValue]] = {}
    for ref, value in told.values.items():
        if ref.class_id == class_id:
            found.setdefault(ref.obis, {})[ref.member] = value
    yield from found.items()


def _last_arc(value: RawValue, arc: int) -> int:
    """The number in the name of a context (arc 1) or mechanism (arc 2), as octets or as a structure; -1 for none."""
    if isinstance(value, bytes):
        content = value[2:] if value[:2] == b"\x06\x07" else value
        return content[-1] if len(content) == _NAME and content[:-1] == _PREFIX + bytes((arc,)) else -1
    match value:
        case [*_, int(found), int(number)] if found == arc and len(value) == _NAME:
            return number
    return -1
