"""All that a page about the identity of a meter shows, as JSON's own types: facts, association matrix, objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headend.errors import ConfigError
from headend.model.discovery import Examination
from headend.model.fingerprint import FACTS, Fingerprint
from headend.model.profile import MeterProfile
from headend.services.discovery.fingerprint import Comparison, build, stability
from headend.services.discovery.normalise import listed, normalise
from headend.services.discovery.report import matrix

SCHEMA: Final = "headend-meter-identity/1"


def identity_page(
    examination: Examination,
    *,
    fingerprint: Fingerprint | None = None,
    profile: MeterProfile | None = None,
    country: str = "",
) -> dict[str, Any]:
    """The page of an examined meter. `profile` is the meter file that fits: it lists the objects of a meter that has no list."""
    fingerprint = fingerprint or build(examination)
    objects = examination.objects or (listed(profile) if profile is not None else ())
    flag = fingerprint.facts.get("system_title_flag") or fingerprint.facts.get("logical_device_name_flag", "")
    normalised = normalise(examination.protocol, objects, vendor=flag, country=country)
    evidence = {fact.name.removeprefix(f"{examination.protocol}:"): list(fact.evidence) for fact in examination.facts}
    return {
        "schema": SCHEMA,
        "fingerprint": {
            "digest": fingerprint.digest,
            "objects": [list(each) for each in fingerprint.objects],
            "facts": [_fact(name, value, evidence=evidence.get(name, [])) for name, value in fingerprint.facts.items()],
            "unobserved": [
                _fact(name, None, note=why, evidence=evidence.get(name, []))
                for name, why in fingerprint.unobserved.items()
            ],
        },
        "associations": matrix(examination).to_json(),
        "objects": normalised.to_json(),
    }


def fingerprint_of(page: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint that a page shows; raises ConfigError for what is no page."""
    try:
        shown = page["fingerprint"]
        return Fingerprint(
            digest=str(shown["digest"]),
            facts={str(each["name"]): str(each["value"]) for each in shown["facts"]},
            unobserved={str(each["name"]): str(each["note"]) for each in shown["unobserved"]},
            objects=tuple((int(class_id), int(version), str(name)) for class_id, version, name in shown["objects"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no page of a meter's identity: {error}") from error


def comparison_page(comparison: Comparison) -> dict[str, Any]:
    """What two fingerprints are to each other."""
    return {
        "verdict": comparison.verdict.value,
        "text": comparison.text,
        "updated": comparison.updated,
        "similarity": round(comparison.similarity, 4),
        "changes": [
            {
                "kind": each.kind.value,
                "name": each.name,
                "before": each.before or None,
                "after": each.after or None,
                "stability": each.stability.value,
                "note": each.note,
            }
            for each in comparison.changes
        ],
    }


def _fact(name: str, value: str | None, *, evidence: list[int], note: str = "") -> dict[str, Any]:
    about = FACTS[name][1] if name in FACTS else "what an object of this reference held"
    return {
        "name": name,
        "value": value,
        "stability": stability(name).value,
        "about": about,
        "note": note,
        "evidence": evidence,
    }
