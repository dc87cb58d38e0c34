"""The association report of a meter: who may associate, how, and what the meter answered, with the octets that prove it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from headend.errors import DecodeError
from headend.model.discovery import Evidence, Examination, Fact, Trial, TrialOutcome
from headend.model.meter import NO_PARAMS
from headend.services.discovery.fingerprint import unseen
from headend.standards.conformance import conformance_names

SCHEMA: Final = "headend-association-report/1"

ROLES: Final[Mapping[int, str]] = {0: "no station", 1: "management client", 16: "public client"}
"""clients whose number the standard gives; all others are the meter's own or its country's"""
_HLS: Final = ("hls", "md5", "sha1", "gmac", "sha256", "ecdsa")
_ASPECTS: Final = (
    "referencing",
    "contexts",
    "authentication",
    "clients",
    "servers",
    "suite",
    "policy",
    "system_title",
    "conformance",
    "max_pdu",
    "dlms_version",
)
_HDLC_ASPECTS: Final = (
    "hdlc_address_octets",
    "hdlc_max_info_receive",
    "hdlc_max_info_transmit",
    "hdlc_window_receive",
    "hdlc_window_transmit",
)
_OFFERED: Final = (TrialOutcome.ACCEPTED, TrialOutcome.WANTS_SECRET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One thing about the meter's associations. An empty value is not observable, and `note` says why."""

    name: str
    value: str
    note: str = ""
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What one client may do at one server: the application contexts and mechanisms that were accepted or want a secret.

    `modes` are none, lls and hls; `untold` are trials that told nothing, as they were not made or nobody answered.
    """

    server: int
    client: int
    role: str
    contexts: tuple[str, ...]
    mechanisms: tuple[str, ...]
    modes: tuple[str, ...]
    conformance: tuple[str, ...]
    max_pdu: int | None
    untold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationReport:
    """The matrix of client, context and mechanism, what follows from it, and the evidence that its indices point to."""

    protocol: str
    framing: str
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    aspects: tuple[Aspect, ...] = ()
    clients: tuple[Client, ...] = ()
    trials: tuple[Trial, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    associations: int = 0
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON's own types; octets are hexadecimal, what is not observable is null."""
        return {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "framing": self.framing,
            "params": dict(self.params),
            "aspects": {
                each.name: {"value": each.value or None, "note": each.note, "evidence": list(each.evidence)}
                for each in self.aspects
            },
            "clients": [{**asdict(each), **_lists(asdict(each))} for each in self.clients],
            "trials": [
                {
                    **asdict(each),
                    "outcome": each.outcome.value,
                    "conformance": list(_services(each.conformance)),
                    "conformance_octets": each.conformance,
                    "evidence": list(each.evidence),
                }
                for each in self.trials
            ],
            "evidence": [
                {**asdict(each), "sent": each.sent.hex(), "received": each.received.hex()} for each in self.evidence
            ],
            "associations": self.associations,
            "stopped": self.stopped,
        }

    def to_table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """The matrix as a table: its columns, and a row for each trial."""
        columns = ("client", "server", "context", "mechanism", "outcome", "detail", "evidence")
        return columns, [
            (
                f"{each.client} ({ROLES[each.client]})" if each.client in ROLES else str(each.client),
                str(each.server),
                each.context,
                each.mechanism,
                each.outcome.value,
                _detail(each),
                " ".join(map(str, each.evidence)),
            )
            for each in self.trials
        ]

    def aspects_table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """What follows, as a table."""
        return ("aspect", "value", "evidence"), [
            (
                each.name,
                each.value or f"not observable: {each.note}",
                " ".join(map(str, each.evidence)),
            )
            for each in self.aspects
        ]


def matrix(examination: Examination) -> AssociationReport:
    """The report of an examined meter. A meter without associations has a report without trials: its facts only."""
    trials = tuple(sorted(examination.trials, key=lambda each: (each.server, each.client, each.referencing)))
    return AssociationReport(
        protocol=examination.protocol,
        framing=examination.framing,
        params=examination.params,
        aspects=tuple(_aspects(examination, trials)),
        clients=tuple(_clients(trials)),
        trials=trials,
        evidence=examination.evidence,
        associations=examination.associations,
        stopped=examination.stopped,
    )


def _aspects(examination: Examination, trials: Sequence[Trial]) -> Iterator[Aspect]:
    """What the facts say, else what follows from the trials, else that it is not observable."""
    facts: dict[str, Fact] = {}
    for fact in examination.facts:
        if fact.value or fact.name not in facts:
            facts[fact.name] = fact
    if not trials:
        for fact in facts.values():
            yield _from_fact(fact)
        return
    derived = {each.name: each for each in _from_trials(trials)}
    for name in (*_ASPECTS, *(_HDLC_ASPECTS if examination.framing == "hdlc" else ())):
        told = facts.get(name)
        if told is not None and told.value:
            yield _from_fact(told)
        elif name in derived:
            yield derived[name]
        else:
            why = told.note if told is not None else examination.stopped
            yield Aspect(name=name, value="", note=unseen(why), evidence=told.evidence if told is not None else ())


def _from_fact(fact: Fact) -> Aspect:
    value = ", ".join(_services(fact.value)) or fact.value if fact.name == "conformance" else fact.value
    note = fact.note if value else unseen(fact.note)
    return Aspect(name=fact.name, value=value, note=note, evidence=fact.evidence)


def _from_trials(trials: Sequence[Trial]) -> Iterator[Aspect]:
    """What the trials themselves tell. Only what was accepted, or wants a secret, is there."""
    offered = [each for each in trials if each.outcome in _OFFERED]
    for name, values in (
        ("referencing", [each.referencing for each in offered]),
        ("contexts", [each.context for each in offered]),
        ("clients", [str(each.client) for each in offered]),
        ("servers", [str(each.server) for each in offered]),
        ("authentication", list(_authentication(offered))),
    ):
        if values:
            proof = tuple(sorted({index for each in offered for index in each.evidence}))
            yield Aspect(name=name, value=",".join(dict.fromkeys(values)), evidence=proof)
    for each in offered:
        if each.conformance:
            yield Aspect(name="conformance", value=", ".join(_services(each.conformance)), evidence=each.evidence)
            break
    for each in offered:
        if each.max_pdu is not None:
            yield Aspect(name="max_pdu", value=str(each.max_pdu), evidence=each.evidence)
            break


def _authentication(offered: Sequence[Trial]) -> Iterator[str]:
    for client in sorted({each.client for each in offered}):
        of_client = dict.fromkeys(each.mechanism for each in offered if each.client == client)
        yield f"{client}:{'+'.join(of_client)}"


def _clients(trials: Sequence[Trial]) -> Iterator[Client]:
    for server, client in dict.fromkeys((each.server, each.client) for each in trials):
        of_client = [each for each in trials if (each.server, each.client) == (server, client)]
        offered = [each for each in of_client if each.outcome in _OFFERED]
        mechanisms = tuple(dict.fromkeys(each.mechanism for each in offered))
        answered = next((each for each in offered if each.conformance), None)
        yield Client(
            server=server,
            client=client,
            role=ROLES.get(client, ""),
            contexts=tuple(dict.fromkeys(each.context for each in offered)),
            mechanisms=mechanisms,
            modes=tuple(dict.fromkeys("hls" if each in _HLS else each for each in mechanisms)),
            conformance=_services(answered.conformance) if answered is not None else (),
            max_pdu=next((each.max_pdu for each in offered if each.max_pdu is not None), None),
            untold=sum(
                each.outcome in (TrialOutcome.NOT_TRIED, TrialOutcome.SILENT, TrialOutcome.CLOSED) for each in of_client
            ),
        )


def _services(conformance: str) -> tuple[str, ...]:
    """The names of the bits; none where it is empty or not three octets."""
    try:
        return conformance_names(conformance)
    except DecodeError:
        return ()


def _detail(trial: Trial) -> str:
    said = [trial.result, trial.diagnostic]
    if trial.max_pdu is not None:
        said.append(f"{trial.max_pdu} octets")
    return ", ".join(text for text in (*said, trial.note) if text)


def _lists(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) for name, value in document.items() if isinstance(value, tuple)}
