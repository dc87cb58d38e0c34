"""Facts from what was seen. Pure. What the wire does not show has an empty value and a note that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.identity import IDENTITY_REFS
from headend.drivers.dlms.probing.offers import CONTEXTS, MECHANISM_WORDS
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.mapping import octets_to_text
from headend.model.discovery import Fact, TrialOutcome
from headend.standards.flag import from_octets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headend.drivers.dlms.probing.seen import Asked, Seen
    from headend.model.objects import RawValue

_OFFERED: Final = frozenset({TrialOutcome.ACCEPTED, TrialOutcome.WANTS_SECRET})
_KEYED: Final = frozenset({"gmac", "ecdsa"})
"""Mechanisms that need a security suite."""
_NOBODY: Final = "no association was accepted, and none begun"
_NOT_TOLD: Final = "no object that tells it may be read without a password"
_NAME, _SERIAL, _FIRMWARE, _FIRMWARE_ELSEWHERE = IDENTITY_REFS
_MAKER: Final = cosem_ref("1/0-0:96.1.1.255")
_LETTERS: Final = 3


def facts_of(seen: Seen) -> Iterator[Fact]:
    """All facts of an examination."""
    yield Fact(name="protocol", value="dlms", evidence=_first(seen))
    yield Fact(name="framing", value=seen.addressing.framing, evidence=_first(seen))
    yield from _identity(seen)
    yield from _associations(seen)
    yield from _security(seen)
    yield from _link(seen)


def title_of(seen: Seen) -> bytes:
    """The system title of the meter: of an AARE, or of a security setup."""
    titles = [each.answer.title for each in seen.asked] + [each.title for each in seen.setups()]
    return next(filter(None, titles), b"")


def text_of(value: RawValue) -> str:
    """A value as text: octets that hold one as that, else in hexadecimal."""
    if isinstance(value, bytes):
        return octets_to_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return "" if value is None else str(value)


# --- who it is ---


def _identity(seen: Seen) -> Iterator[Fact]:
    values, index = seen.told.values, (seen.told.in_values,)
    name = values.get(_NAME)
    shown = text_of(name)
    yield _fact("logical_device_name", shown, index)
    if shown:
        flag = from_octets(name if isinstance(name, bytes) else shown.encode("latin-1", "replace"))
        yield _fact("logical_device_name_flag", flag or "", index, "it begins with no FLAG identifier")
    yield _fact("serial_number", text_of(values.get(_SERIAL)), index)
    firmware = values.get(_FIRMWARE) or values.get(_FIRMWARE_ELSEWHERE)
    yield _fact("firmware", text_of(firmware), index)
    maker = text_of(values.get(_MAKER))
    if sum(map(str.isalpha, maker)) >= _LETTERS and not any(map(str.isdigit, maker)):
        yield _fact("manufacturer_text", maker, index)
    title = title_of(seen)
    told_by = tuple(each.place for each in seen.asked if each.answer.title == title)[:1] or index
    yield _fact(
        "system_title", title.hex(), told_by if title else (), "no answer carries it, and no object that was read"
    )
    if title:
        yield _fact("system_title_flag", from_octets(title) or "", told_by, "it begins with no FLAG identifier")


def _fact(name: str, value: str, evidence: tuple[int, ...], why_not: str = _NOT_TOLD) -> Fact:
    if value:
        return Fact(name=name, value=value, evidence=tuple(index for index in evidence if index >= 0))
    return Fact(name=name, value="", note=f"not observable: {why_not}")


# --- who may associate, and how ---


def _associations(seen: Seen) -> Iterator[Fact]:
    yield _referencing(seen)
    yield _contexts(seen)
    yield from _stations(seen)
    accepted = seen.accepted
    initiate = None if accepted is None else accepted.answer.initiate
    if accepted is None or initiate is None:
        for name in ("conformance", "max_pdu", "dlms_version"):
            yield _fact(name, "", (), "no association was accepted without a password")
        return
    index = (accepted.place,)
    yield _fact("conformance", f"{int(initiate.conformance):06x}", index)
    yield _fact("max_pdu", str(initiate.max_receive_pdu), index)
    yield _fact("dlms_version", str(initiate.dlms_version), index)


def _stations(seen: Seen) -> Iterator[Fact]:
    """Clients with their authentication, and logical devices: where frames name them."""
    if seen.addressing.framing == "apdu":
        mechanisms = sorted({each.mechanism for each in seen.trials if each.outcome in _OFFERED})
        shown = f" (authentication: {_joined(mechanisms)})" if mechanisms else ""
        for name in ("authentication", "clients", "servers"):
            yield _fact(name, "", (), f"APDUs without wrapper name neither client nor server{shown}")
        return
    yield _authentication(seen)
    known = [each for each in seen.asked if each.answer.outcome in _OFFERED or each.answer.knows_client]
    told = [each for each in seen.trials if each.outcome in _OFFERED or _is_told(each.note)]
    clients = {each.offer.client for each in known} | {each.client for each in told}
    proof = _places(known)
    yield _fact("clients", _joined(sorted(clients)), proof, "no client was recognised")
    servers = {each.offer.server for each in known} | set(seen.servers())
    yield _fact("servers", _joined(sorted(servers)), proof, "no logical device took a client")


def _referencing(seen: Seen) -> Fact:
    """By what was accepted; else by what is refused for another reason than the context."""
    offered = [each for each in seen.asked if each.answer.outcome in _OFFERED]
    words = {each.offer.referencing for each in offered}
    if words:
        return _fact("referencing", ",".join(sorted(words)), _places(offered))
    plain = [each for each in seen.asked if each.offer.mechanism == "none" and each.offer.context in {"ln", "sn"}]
    wanted = [each for each in plain if each.answer.wants_authentication and each.answer.context == each.offer.context]
    refused = [each for each in plain if _refuses_context(each)]
    words = {each.offer.referencing for each in wanted}
    if len(words) == 1 and {each.offer.referencing for each in refused} - words:
        note = "nothing was accepted; the other one is refused for itself, this one for want of authentication"
        value = next(iter(words))
        return Fact(name="referencing", value=value, evidence=_places(wanted + refused), note=note)
    return _fact("referencing", "", (), _NOBODY)


def _refuses_context(asked: Asked) -> bool:
    answer = asked.answer
    other = answer.context and answer.context != asked.offer.context
    return answer.wants_other_context or answer.outcome is TrialOutcome.EXCEPTION or bool(other)


def _contexts(seen: Seen) -> Fact:
    """Accepted, or begun, or tried to decipher; and those of association objects."""
    shown = [each for each in seen.asked if each.answer.outcome in _OFFERED or each.answer.deciphers]
    shown = [each for each in shown if each.answer.outcome in _OFFERED or each.offer.context.endswith("ciphered")]
    told = {each.context for each in seen.clients()}
    words = {each.offer.context for each in shown} | told
    evidence = _places(shown) + ((seen.told.in_values,) if told else ())
    return _fact("contexts", ",".join(each for each in CONTEXTS if each in words), evidence, _NOBODY)


def _authentication(seen: Seen) -> Fact:
    found: dict[int, set[str]] = {}
    evidence: list[int] = []
    for trial in seen.trials:
        if trial.outcome in _OFFERED or _is_told(trial.note):
            found.setdefault(trial.client, set()).add(trial.mechanism)
            evidence += trial.evidence
    for each in seen.clients():
        found.setdefault(each.client, set()).add(each.mechanism)
        evidence.append(seen.told.in_values)
    wanting = {each.offer.client for each in seen.asked if each.answer.knows_client} - found.keys()
    order = list(MECHANISM_WORDS.values())
    value = ",".join(f"{client}:{'+'.join(sorted(found[client], key=order.index))}" for client in sorted(found))
    note = f"client {_joined(sorted(wanting))} has to authenticate; by what is not observable" if wanting else ""
    if not value:
        return _fact("authentication", "", (), note or _NOBODY)
    return Fact(name="authentication", value=value, evidence=tuple(sorted(set(evidence))), note=note)


def _is_told(note: str) -> bool:
    return note.startswith("told by")


# --- security ---


def _security(seen: Seen) -> Iterator[Fact]:
    setups = seen.setups()
    policies = sorted({each.policy for each in setups if each.policy is not None})
    yield _fact("policy", _joined(policies), (seen.told.in_values,))
    yield _suite(seen)


def _suite(seen: Seen) -> Fact:
    """Of security setups; of a ciphered initiate response; none where all associations are told, and none of them is ciphered."""
    setups = {each.suite for each in seen.setups() if each.suite is not None}
    if setups:
        return _fact("suite", _joined(sorted(setups)), (seen.told.in_values,))
    spoken = [each for each in seen.asked if each.answer.suite is not None]
    if spoken:
        return _fact("suite", _joined(sorted({each.answer.suite or 0 for each in spoken})), _places(spoken))
    mechanisms = {each.mechanism for each in seen.trials if each.outcome in _OFFERED}
    others = seen.clients()
    ciphered = any(each.context.endswith("ciphered") or each.mechanism in _KEYED for each in others)
    hidden = any(each.class_id == _SECURITY_SETUP for each in seen.told.objects) or mechanisms & _KEYED
    if len({each.client for each in others}) > 1 and not ciphered and not hidden:
        note = "none of the associations that it lists is ciphered"
        return Fact(name="suite", value="none", evidence=(seen.told.in_values,), note=note)
    if "ecdsa" in mechanisms:
        return _fact("suite", "", (), "1 or 2, since there is ecdsa; which of both is not shown")
    return _fact("suite", "", ())


_SECURITY_SETUP: Final = 64


# --- the link ---


def _link(seen: Seen) -> Iterator[Fact]:
    if seen.wport is not None:
        yield _fact("wrapper_wport", str(seen.wport), (seen.wport_index,))
    link = seen.link
    if seen.addressing.framing != "hdlc":
        return
    yield _fact(
        "hdlc_address_octets", _joined(sorted(link.octets)), tuple(sorted(link.octets.values())), "nobody answers"
    )
    if link.limits is None:
        return
    index = (link.opened,)
    yield _fact("hdlc_max_info_receive", str(link.limits.max_information_transmit), index)
    yield _fact("hdlc_max_info_transmit", str(link.limits.max_information_receive), index)
    yield _fact("hdlc_window_receive", str(link.limits.window_transmit), index)
    yield _fact("hdlc_window_transmit", str(link.limits.window_receive), index)


def _joined(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


def _places(asked: Iterable[Asked]) -> tuple[int, ...]:
    return tuple(sorted({each.place for each in asked}))


def _first(seen: Seen) -> tuple[int, ...]:
    return tuple(each.place for each in seen.asked if each.answer.outcome is not TrialOutcome.SILENT)[:1]
