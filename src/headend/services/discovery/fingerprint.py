"""Fingerprints: the canonical facts of an examined meter, their digest, and how two of them differ. Pure.

The digest is `f1-` and the SHA-256, in hexadecimal, of the UTF-8 text

    headend fingerprint 1
    [["conformance","00101d"],["framing","hdlc"],...]

which is one line feed and then JSON without blanks: pairs of name and value of all facts of stability MODEL that have a value,
sorted by name. The object list takes part by its own digest, which is the fact `object_digest`: likewise SHA-256 of
`headend objects 1`, a line feed, and the sorted [class, version, logical name] of all objects. Where a text of the maker holds the
meter's own serial number or address, that is replaced by `#` for each of its characters, for the digest only.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headend.model.discovery import Examination
from headend.model.fingerprint import FACTS, Fingerprint, Stability
from headend.model.objects import ObjectInfo
from headend.standards.flag import find_manufacturer, from_octets

Object = tuple[int, int, str]

_SETS: Final = frozenset({"referencing", "contexts", "authentication", "clients", "servers", "functions", "plausible"})
"""facts that are lists separated by commas, in no order of their own"""
_HEXADECIMAL: Final = frozenset({"conformance", "system_title", "banner", "server_id", "object_digest"})
_OWN: Final = ("serial_number", "logical_device_name", "system_title", "meter_address")
"""facts that tell one meter from all others"""
_TEXTS: Final = frozenset(
    {"banner", "identification", "manufacturer_text", "model_text", "device_id_vendor", "device_id_product"}
)
"""texts of the maker, which may hold what is the meter's own"""
_NAMES: Final = frozenset(
    {
        "protocol",
        "edition",
        "logical_device_name_flag",
        "system_title_flag",
        "manufacturer_text",
        "model_text",
        "device_id_vendor",
        "device_id_product",
    }
)
"""facts of which a difference means another model"""
_MODELS: Final = ("model_text", "device_id_product")
_PATH: Final = frozenset(
    {
        "framing",
        "hdlc_address_octets",
        "hdlc_max_info_receive",
        "hdlc_max_info_transmit",
        "hdlc_window_receive",
        "hdlc_window_transmit",
        "wrapper_wport",
        "banner",
        "registration",
    }
)
"""facts of the way to the meter: one meter that is reached in two ways differs in them"""
_LEAST_OWN: Final = 6
"""characters of a serial number or address that are looked for in texts: shorter ones are found by chance"""
_LEAST_ALIKE: Final = 0.5
"""similarity of the object lists of one model in two firmwares"""


class ChangeKind(enum.Enum):
    """What became of a fact or an object from one fingerprint to the other."""

    FACT_CHANGED = "fact-changed"
    FACT_ADDED = "fact-added"
    FACT_GONE = "fact-gone"
    OBJECT_CHANGED = "object-changed"
    """class or version of a logical name"""
    OBJECT_ADDED = "object-added"
    OBJECT_GONE = "object-gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. Objects are written as `class 3 version 0`; `note` says why one side did not observe a fact."""

    kind: ChangeKind
    name: str
    before: str = ""
    after: str = ""
    stability: Stability = Stability.MODEL
    note: str = ""


class Verdict(enum.Enum):
    """What two fingerprints are to each other."""

    SAME_METER = "same-meter"
    SAME_MODEL = "same-model"
    """and the same firmware"""
    OTHER_FIRMWARE = "other-firmware"
    """of the same model, or of one so similar that only its name could tell"""
    OTHER_MODEL = "other-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two fingerprints are to each other, and what says so. `updated`: the same meter with another firmware."""

    verdict: Verdict
    text: str
    similarity: float
    changes: Sequence[Change]
    updated: bool = False


def build(examination: Examination) -> Fingerprint:
    """The fingerprint of an examined meter. Values that change from day to day take no part in it."""
    facts: dict[str, str] = dict(_from_identity(examination))
    unobserved: dict[str, str] = {}
    for fact in examination.facts:
        name = fact.name.removeprefix(f"{examination.protocol}:")
        value = _canonical(name, fact.value)
        if value:
            facts[name] = value
        else:
            unobserved[name] = unseen(fact.note)
    objects = canonical_objects(examination.objects)
    if objects:
        facts |= {"object_count": str(len(objects)), "object_digest": object_digest(objects)}
    facts = dict(sorted(facts.items()))
    return Fingerprint(
        digest=digest(facts),
        facts=facts,
        unobserved={name: why for name, why in sorted(unobserved.items()) if name not in facts},
        objects=objects,
    )


def digest(facts: Mapping[str, str]) -> str:
    """The digest over those facts that are the same for all meters of a model and firmware."""
    own = [facts[name] for name in _OWN if len(facts.get(name, "")) >= _LEAST_OWN]
    pairs = [
        (name, _masked(value, own) if name in _TEXTS or name not in FACTS else value)
        for name, value in sorted(facts.items())
        if value and stability(name) is Stability.MODEL
    ]
    return "f1-" + _sha256("headend fingerprint 1", pairs)


def object_digest(objects: Iterable[Object]) -> str:
    """The digest of an object list, whatever its order."""
    return _sha256("headend objects 1", sorted(set(objects)))


def canonical_objects(objects: Iterable[ObjectInfo]) -> tuple[Object, ...]:
    """Class, version and logical name of each object, sorted; class 0 and the reference where there are no classes."""
    found: set[Object] = set()
    for each in objects:
        if each.class_id is None:
            found.add((0, 0, each.ref.address))
        else:
            found.add((each.class_id, each.version or 0, named_in(each.ref.address)))
    return tuple(sorted(found))


def named_in(address: str) -> str:
    """The logical name in the reference of an object that has a class, such as `3/1-0:1.8.0.255/2`."""
    parts = address.split("/")
    return parts[1] if len(parts) > 1 else address


def unseen(note: str) -> str:
    """Why a fact is not observable, in words that can stand behind that."""
    return note.removeprefix("not observable").lstrip(": ") or "nothing that went over the wire shows it"


def stability(name: str) -> Stability:
    """How long a fact stays as it is; what single objects hold is taken for the model's."""
    known = FACTS.get(name)
    return known[0] if known else Stability.MODEL


def difference(a: Fingerprint, b: Fingerprint) -> Sequence[Change]:
    """What changed from a to b: facts by name, then objects by logical name. Empty when nothing did."""
    return (*_fact_changes(a, b), *_object_changes(a.objects, b.objects))


def compare(a: Fingerprint, b: Fingerprint) -> Comparison:
    """Whether it is the same meter, the same model, another firmware of it, or another model.

    Only facts that both sides know tell anything. Object lists that have less than half in common are of two models, unless it is
    one and the same meter.
    """
    changes = difference(a, b)
    alike = similarity(a, b)
    told = {change.name for change in changes if change.kind is ChangeKind.FACT_CHANGED}
    same_meter = not told & set(_OWN) and any(name in a.facts and name in b.facts for name in _OWN)
    other_model = sorted(told & _NAMES)
    if not other_model and not same_meter and a.objects and b.objects and alike < _LEAST_ALIKE:
        other_model = ["objects"]
    of_firmware = sorted(
        {
            "objects" if change.name in ("object_count", "object_digest") else change.name
            for change in changes
            if change.kind is ChangeKind.FACT_CHANGED
            and change.stability is Stability.MODEL
            and change.name not in _PATH | _NAMES
        }
    )
    if other_model:
        verdict, text = Verdict.OTHER_MODEL, "another model: " + ", ".join(other_model)
    elif same_meter:
        update = f", changed since: {', '.join(of_firmware)}" if of_firmware else ""
        verdict, text = Verdict.SAME_METER, f"the same meter{update}"
    elif of_firmware:
        named = any(name in a.facts and name in b.facts for name in _MODELS)
        what = "the same model, another firmware" if named else "another firmware, or another model of the same family"
        verdict, text = Verdict.OTHER_FIRMWARE, f"{what}: {', '.join(of_firmware)}"
    else:
        verdict, text = Verdict.SAME_MODEL, "the same model and firmware"
    updated = verdict is Verdict.SAME_METER and bool(of_firmware)
    return Comparison(verdict=verdict, text=text, similarity=alike, changes=changes, updated=updated)


def similarity(a: Fingerprint, b: Fingerprint) -> float:
    """How much two object lists have in common, 0 to 1 (Jaccard, without versions).

    Without an object list on both sides: likewise the facts of stability MODEL.
    """
    if a.objects and b.objects:
        return _jaccard(_names(a.objects), _names(b.objects))
    mine, other = (
        {(name, value) for name, value in each.facts.items() if stability(name) is Stability.MODEL} for each in (a, b)
    )
    return _jaccard(mine, other)


def nearest(
    fingerprint: Fingerprint, others: Iterable[Fingerprint], limit: int = 5
) -> Sequence[tuple[float, Fingerprint]]:
    """The most similar of many, with their similarity, the most similar first. Equal object lists are compared once."""
    known: dict[str, float] = {}
    ranked: list[tuple[float, Fingerprint]] = []
    for other in others:
        lists = other.facts.get("object_digest", "") if fingerprint.objects and other.objects else ""
        share = known.get(lists)
        if share is None:
            share = similarity(fingerprint, other)
            if lists:
                known[lists] = share
        ranked.append((share, other))
    return sorted(ranked, key=lambda pair: (-pair[0], pair[1].digest))[:limit]


def _from_identity(examination: Examination) -> Iterator[tuple[str, str]]:
    """What follows from how the meter is reached and who it says it is."""
    identity = examination.identity
    name, title = identity.logical_device_name.strip(), identity.system_title.strip().lower()
    address = identity.meter_address if identity.meter_address.isdigit() else ""
    told = {
        "protocol": examination.protocol,
        "framing": examination.framing,
        "serial_number": identity.serial,
        "firmware": identity.firmware,
        "model_text": identity.model,
        "logical_device_name": name,
        "logical_device_name_flag": _flag(name.encode()),
        "system_title": title,
        "system_title_flag": _flag(_octets(title)),
        "meter_address": address if len(address) >= _LEAST_OWN else "",
    }
    for fact, value in told.items():
        canonical = _canonical(fact, value)
        if canonical:
            yield fact, canonical


def _flag(octets: bytes) -> str:
    """The FLAG identifier that octets begin with, when it is registered."""
    flag = from_octets(octets)
    return flag if flag is not None and find_manufacturer(flag) else ""


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _canonical(name: str, value: str) -> str:
    """A value without padding; lists in order, hexadecimal digits small."""
    value = value.strip("\0 \t\r\n")
    if name in _HEXADECIMAL:
        return value.lower().replace(" ", "")
    if name in _SETS:
        return ",".join(sorted({part.strip() for part in value.split(",")} - {""}, key=_number_first))
    return value


def _number_first(part: str) -> tuple[int, str]:
    head = part.partition(":")[0]
    return (int(head), part) if head.isascii() and head.isdigit() else (-1, part)


def _masked(value: str, own: Sequence[str]) -> str:
    for text in own:
        for form in (text, text.encode().hex()):
            value = value.replace(form, "#" * len(form))
    return value


def _sha256(title: str, content: Sequence[object]) -> str:
    text = f"{title}\n{json.dumps(content, ensure_ascii=False, separators=(',', ':'))}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _fact_changes(a: Fingerprint, b: Fingerprint) -> Iterator[Change]:
    for name in sorted(a.facts.keys() | b.facts.keys()):
        before, after = a.facts.get(name, ""), b.facts.get(name, "")
        if before == after:
            continue
        kind = ChangeKind.FACT_CHANGED
        note = ""
        if not before:
            kind, note = ChangeKind.FACT_ADDED, a.unobserved.get(name, "")
        elif not after:
            kind, note = ChangeKind.FACT_GONE, b.unobserved.get(name, "")
        yield Change(kind=kind, name=name, before=before, after=after, stability=stability(name), note=note)


def _object_changes(a: Sequence[Object], b: Sequence[Object]) -> Iterator[Change]:
    before, after = _by_name(set(a) - set(b)), _by_name(set(b) - set(a))
    for name in sorted(before.keys() | after.keys()):
        gone, new = before.get(name, ""), after.get(name, "")
        kind = ChangeKind.OBJECT_CHANGED
        if not gone:
            kind = ChangeKind.OBJECT_ADDED
        elif not new:
            kind = ChangeKind.OBJECT_GONE
        yield Change(kind=kind, name=name, before=gone, after=new)


def _by_name(objects: Iterable[Object]) -> Mapping[str, str]:
    """What stands under each logical name, in words."""
    found: dict[str, str] = {}
    for class_id, version, name in sorted(objects):
        words = f"class {class_id} version {version}"
        found[name] = f"{found[name]}, {words}" if name in found else words
    return found


def _names(objects: Iterable[Object]) -> set[object]:
    return {(class_id, name) for class_id, _, name in objects}


def _jaccard(a: set[object] | set[tuple[str, str]], b: set[object] | set[tuple[str, str]]) -> float:
    both = len(a & b)
    either = len(a) + len(b) - both
    return both / either if either else 0.0
