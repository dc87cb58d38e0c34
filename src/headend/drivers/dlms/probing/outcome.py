"""The result of an examination, from what was seen. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.identity import IDENTITY_REFS, identity_of
from headend.drivers.dlms.probing.facts import facts_of, text_of, title_of
from headend.drivers.dlms.probing.seen import octets_of
from headend.drivers.dlms.probing.telling import LAYOUT_MEMBERS, LOAD_PROFILE
from headend.drivers.dlms.refs import CosemRef
from headend.errors import DecodeError, ObjectUndefined
from headend.model.discovery import Examination, TrialOutcome
from headend.protocols.dlms.classes import to_capture_objects

if TYPE_CHECKING:
    from headend.drivers.dlms.probing.offers import Offer
    from headend.drivers.dlms.probing.seen import Seen
    from headend.drivers.dlms.probing.telling import Told
    from headend.drivers.ground import Ground
    from headend.model.discovery import Sighting, Trial

_LAYOUT: Final = {3: "columns", 4: "period", 8: "capacity"}
_MEASURES: Final = frozenset({3, 4, 5, 7})
"""Classes of registers and load profiles."""
_MANAGEMENT: Final = 1
_KEPT: Final = frozenset(
    {"zone", "lists", "bare", "max_pdu", "inactivity", "mode_e", "mode_e_device", "device", "network"}
)
"""Parameters of a sighting that an examination does not learn itself."""


def to_examination(ground: Ground, sighting: Sighting, seen: Seen) -> Examination:
    """Everything that was learned."""
    told = seen.told
    absent = ObjectUndefined("not read")
    values = [told.values.get(ref, absent) for ref in IDENTITY_REFS]
    return Examination(
        endpoint=sighting.endpoint or ground.endpoint,
        protocol=sighting.protocol,
        framing=seen.addressing.framing,
        params=_params(sighting, seen),
        identity=identity_of(values, title_of(seen), seen.addressing),
        facts=tuple(facts_of(seen)),
        trials=tuple(seen.trials),
        objects=tuple(told.objects),
        values={str(ref): text_of(value) for ref, value in told.values.items()} | _layouts(told),
        evidence=tuple(ground.evidence),
        associations=ground.associations,
        stopped=ground.stopped,
    )


def _layouts(told: Told) -> dict[str, str]:
    """How load profiles are laid out, in the form that `Examination.values` describes."""
    found: dict[str, str] = {}
    for ref, value in told.values.items():
        if ref.class_id != LOAD_PROFILE or ref.member not in LAYOUT_MEMBERS:
            continue
        if isinstance(value, int):
            found[f"{ref.other(2)}#{_LAYOUT[ref.member]}"] = str(value)
        elif isinstance(value, list):
            with suppress(DecodeError):
                columns = to_capture_objects(value)
                if not any(each.data_index for each in columns):
                    refs = (CosemRef(each.class_id, each.logical_name, each.attribute_id) for each in columns)
                    found[f"{ref.other(2)}#{_LAYOUT[ref.member]}"] = " ".join(map(str, refs))
    return found


def _params(sighting: Sighting, seen: Seen) -> dict[str, str]:
    """The least with which the meter is read: without a password where that shows what it measures."""
    if seen.deep:
        return dict(sighting.params)
    addressing, chosen = seen.addressing, _chosen(seen)
    found = {name: value for name, value in sighting.params.items() if name in _KEPT}
    found |= {"client": str(addressing.client), "server": str(addressing.server)}
    if chosen is not None:
        found |= {"client": str(chosen.client), "server": str(chosen.server)}
        if chosen.referencing != "ln":
            found["ref"] = chosen.referencing
        if chosen.mechanism != "none":
            found["auth"] = chosen.mechanism
    if addressing.bare:
        found["bare"] = "yes"
    if not seen.lists:
        found["lists"] = "no"
    if addressing.physical:
        found["physical"] = str(addressing.physical)
    if octets_of(addressing) != octets_of(replace(addressing, address_size=0)):
        found["address_size"] = str(addressing.address_size)
    return found


def _chosen(seen: Seen) -> Offer | Trial | None:
    """The association to read by: the one that showed registers, else one that wants a secret, else whichever was accepted."""
    if seen.told_by is not None and any(each.class_id in _MEASURES for each in seen.told.objects):
        return seen.told_by
    wanting = [each for each in seen.trials if each.outcome is TrialOutcome.WANTS_SECRET]
    accepted = [each for each in seen.trials if each.outcome is TrialOutcome.ACCEPTED]
    wanting.sort(key=lambda each: each.client != _MANAGEMENT)
    return next(iter((*wanting, *accepted)), None)
