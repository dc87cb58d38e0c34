"""Drafting a meter file from what a meter has answered, or from what discovery has learned of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from headend.drivers.meter_text import write
from headend.errors import ConfigError
from headend.model.discovery import Examination, TrialOutcome
from headend.model.fingerprint import FACTS, Classification, Fingerprint, Stability
from headend.model.meter import Meter, MeterIdentity
from headend.model.objects import ObjectEntry, ObjectInfo
from headend.model.quantity import Kind, base_unit, find_quantity
from headend.model.url import SCHEMES, format_url
from headend.services.discovery.probing import Answer

UNKNOWN: Final = "unknown"
_PATH_PARAMS: Final = frozenset(path for *_, path in SCHEMES.values())
"""addresses of one meter on its line, which are no matter of its model"""
_WEIGHTS: Final[Mapping[str, int]] = {
    "model_text": 80,
    "device_id_product": 80,
    "object_digest": 70,
    "server_id": 60,
    "registration": 40,
    "device_id_vendor": 40,
    "manufacturer_text": 40,
    "logical_device_name_flag": 30,
    "system_title_flag": 20,
    "firmware": 10,
    "conformance": 10,
    "authentication": 10,
    "max_pdu": 5,
}
"""how much a fact speaks for a model when another meter shows the same"""
_OF_REFERENCE: Final = 60
_QUIRKS: Final[Mapping[str, str]] = {
    "wrapper_wport": "answers from another wrapper port than the one that was asked",
    "banner": "speaks before it is asked",
}
"""facts that are there when a meter does something odd, by the name of the fact"""
_PROVEN: Final = frozenset({TrialOutcome.ACCEPTED, TrialOutcome.WANTS_SECRET})
_MOST_COLUMNS: Final = 64
_MOST_ROWS: Final = 100_000
_PUBLIC: Final = 16
_AUTHENTICATIONS: Final = frozenset({"none", "lls", "md5", "sha1", "gmac", "sha256", "ecdsa", "hls"})


class Meaning(Protocol):
    """What an object of a meter is taken for: an empty quantity where nobody can tell."""

    @property
    def ref(self) -> object:
        """The reference, with its protocol or without."""

    @property
    def quantity(self) -> str:
        """Key of the catalogue."""


class Meanings(Protocol):
    """What normalisation makes of an object list."""

    @property
    def rows(self) -> Sequence[Meaning]:
        """One for each object."""


def draft(
    protocol: str,
    identity: MeterIdentity,
    params: Mapping[str, str],
    candidates: Iterable[ObjectEntry],
    answers: Sequence[Answer],
    *,
    source: str,
) -> str:
    """The text of a meter file in the state DRAFT: one object for each answer, with the quantity where the unit fits.

    Two objects that claim the same quantity: the first has it, the other one only its name.
    """
    entries = {str(entry.ref): entry for entry in candidates}
    claims = Claims()
    objects = [_answered(answer, entries.get(answer.ref), claims) for answer in answers]
    return write(
        {"meter": _meter(protocol, identity, source), **_unless_empty(link=model_params(params), object=objects)}
    )


def draft_profile(
    examination: Examination, fingerprint: Fingerprint, classification: Classification, normalised: Meanings
) -> str:
    """The text of a meter file in the state DRAFT, of what discovery has learned of one meter."""
    profile_id = fitting(examination, classification)
    day = _day(examination)
    meter = _meter(
        examination.protocol,
        examination.identity,
        f"discovered at {_place(examination)}" + (f", {day}" if day else ""),
        vendor=classification.vendor or fingerprint.facts.get("manufacturer_text", ""),
        model=classification.model or fingerprint.facts.get("model_text", ""),
    )
    meter |= _unless_empty(
        flag=classification.flag,
        firmware=classification.firmware or fingerprint.facts.get("firmware", ""),
        fingerprint=fingerprint.digest,
        note=f"{profile_id} of the library fits it" if profile_id else "",
    )
    meanings = {str(row.ref).removeprefix(f"{examination.protocol}:"): row.quantity for row in normalised.rows}
    claims = Claims()
    listed = {info.ref: info for info in examination.objects if is_value(info)}.values()  # some meters list one twice
    objects = [listed_object(info, meanings.get(info.ref.address, ""), claims) for info in listed]
    tables = list(_load_profiles(examination, objects))
    with_associations = bool(examination.trials)
    document = {
        "meter": meter,
        **_unless_empty(
            **{"association" if with_associations else "link": model_params(examination.params)},
            detect=list(_detect(fingerprint)),
            object=objects,
            load_profile=tables,
            client=_clients(examination),
            quirk=[{"name": name.replace("_", "-")} for name in _QUIRKS if fingerprint.facts.get(name)],
        ),
    }
    return write(document, _remark(examination, classification, fingerprint))


def fitting(examination: Examination, classification: Classification) -> str:
    """The file of the library that is to be used instead of a draft; empty where there is none.

    A meter that lists its objects itself is drafted from them, whatever it resembles.
    """
    lists = any(info.class_id is not None for info in examination.objects)
    return "" if lists else classification.profile_id


class Claims:
    """Which quantities have an object already: the first one that claims it has it."""

    def __init__(self) -> None:
        self._claimed: set[str] = set()

    def take(self, key: str, unit: str) -> str:
        """The quantity, unless it is taken, or its values are in another unit; then nothing."""
        quantity = find_quantity(key) if key else None
        if quantity is None or key in self._claimed or (unit and known_unit(unit)[1] != quantity.unit):
            return ""
        self._claimed.add(key)
        return key


def listed_object(info: ObjectInfo, meaning: str, claims: Claims) -> dict[str, Any]:
    """An object of a meter's own list as a table of a meter file."""
    unit, _ = known_unit(info.unit)
    key = claims.take(meaning or info.quantity, unit)
    quantity = find_quantity(key) if key else None
    polled = quantity is not None and quantity.kind is not Kind.STATUS
    return {
        "ref": info.ref.address,
        **_unless_empty(quantity=key, name="" if quantity else info.name or info.class_name, unit=unit),
        **({"scaler": "meter"} if info.class_id is not None else {}),
        **({} if polled else {"poll": False}),
    }


def model_params(params: Mapping[str, str]) -> dict[str, str]:
    """Parameters that all meters of the model need, without the address of the one."""
    return {name: value for name, value in sorted(params.items()) if name not in _PATH_PARAMS}


def known_unit(symbol: str) -> tuple[str, str]:
    """A unit and its base unit; empty for one that meter files do not know."""
    try:
        return symbol, base_unit(symbol)[0]
    except ConfigError:
        return "", ""


def _meter(protocol: str, identity: MeterIdentity, source: str, *, vendor: str = "", model: str = "") -> dict[str, Any]:
    return {
        "vendor": vendor or identity.manufacturer or UNKNOWN,
        "model": model or identity.model or UNKNOWN,
        "protocol": protocol,
        "state": "DRAFT",
        "source": source,
    }


def _answered(answer: Answer, entry: ObjectEntry | None, claims: Claims) -> dict[str, Any]:
    unit, _ = known_unit(answer.unit)
    scaler: object = None if entry is None else "meter" if entry.scaler is None else entry.scaler
    return {
        "ref": answer.ref.partition(":")[2],
        **_unless_empty(
            quantity=claims.take(entry.quantity, unit) if entry is not None else "",
            unit=unit,
            scaler=scaler,
            name=entry.name if entry is not None else "",
        ),
        "note": f"answered {answer.value}",
    }


def is_value(info: ObjectInfo) -> bool:
    """One value that may be read, by somebody at least."""
    rights = next(iter(info.attributes.values()), "r") if len(info.attributes) == 1 else info.attributes.get(2, "r")
    return info.value and not info.history and "r" in rights


def _detect(fingerprint: Fingerprint) -> Iterator[dict[str, Any]]:
    """Facts that another meter of the model shows, too, the weightiest first."""
    rules = []
    for name, value in fingerprint.facts.items():
        stability, _ = FACTS.get(name, (Stability.MODEL, ""))
        weight = _WEIGHTS.get(name, 0) if name in FACTS else _OF_REFERENCE
        if value and weight and stability is Stability.MODEL:
            rules.append((-weight, name, value))
    for weight, name, value in sorted(rules):
        yield {"fact": name, "value": _exactly(value), "weight": -weight}


def _exactly(value: str) -> str:
    """The text as the value of a rule: one between slashes would be a regular expression."""
    return f"/^{value.replace('/', '.')}$/" if value.startswith("/") and value.endswith("/") else value


def _clients(examination: Examination) -> list[dict[str, Any]]:
    """Clients that the meter lets in, or asks for their secret, beside the one that it is read by."""
    found: dict[int, list[str]] = {}
    for trial in examination.trials:
        if trial.outcome in _PROVEN and trial.mechanism in _AUTHENTICATIONS:
            found.setdefault(trial.client, []).append(trial.mechanism)
    own = examination.params.get("client", "")
    found.pop(int(own) if own.isdecimal() else _PUBLIC, None)
    return [{"sap": sap, "params": {"auth": mechanisms[0]}} for sap, mechanisms in sorted(found.items())]


def _load_profiles(examination: Examination, objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those whose layout the meter told; a column that is no object yet becomes one."""
    refs = {each["ref"] for each in objects}
    for info in examination.objects:
        said = {
            name: examination.values.get(f"{info.ref.address}#{name}", "") for name in ("columns", "period", "capacity")
        }
        columns = said["columns"].split()[:_MOST_COLUMNS]
        if not info.history or not columns or not said["period"].isdecimal():
            continue
        for column in columns:
            if column not in refs:
                refs.add(column)
                objects.append({"ref": column, "scaler": "meter", "poll": False})
        capacity = int(said["capacity"]) if said["capacity"].isdecimal() else 0
        yield {
            "ref": info.ref.address,
            "period_seconds": int(said["period"]),
            "capacity": min(capacity or _MOST_ROWS, _MOST_ROWS),
            "columns": columns,
        }


def _remark(examination: Examination, classification: Classification, fingerprint: Fingerprint) -> str:
    """What a reader of the file should know before trusting it."""
    lines = ["Drafted by discovery from what one meter has shown: read it before it is used."]
    if classification.vendor:
        lines.append(f"Taken for {classification.vendor} with a confidence of {classification.confidence:.2f}:")
        lines += [f"  {reason.text}" for reason in classification.reasons[:5]]
    told = {name.partition("#")[0] for name in examination.values if name.endswith("#columns")}
    tables = [info.ref.address for info in examination.objects if info.history and info.ref.address not in told]
    if tables:
        lines.append("Load profiles, whose columns the meter tells itself: " + ", ".join(tables))
    if referencing := fingerprint.facts.get("referencing"):
        lines.append(f"Referencing: {referencing}; clients: {fingerprint.facts.get('authentication', '')}")
    if examination.stopped:
        lines.append(f"The examination ended early: {examination.stopped}")
    return "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines)


def _place(examination: Examination) -> str:
    """Where it was, without how it was asked."""
    endpoint = examination.endpoint
    meter = Meter(id="", protocol=examination.protocol, framing=examination.framing, endpoint=endpoint)
    try:
        return format_url(meter)
    except ConfigError:  # a link that has no URL
        return endpoint.wire


def _day(examination: Examination) -> str:
    """Of the last step of the examination."""
    at = max((each.at for each in examination.evidence), default=0)
    return datetime.fromtimestamp(at / 1000, UTC).date().isoformat() if at > 0 else ""


def _unless_empty(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, [], {}, 0)}
