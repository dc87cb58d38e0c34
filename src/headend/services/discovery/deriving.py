"""What follows from an examination, without a network: it can be run again over whatever was stored, whenever rules change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from headend.model.device import Finding, Papers
from headend.model.discovery import Examination, Sighting
from headend.model.fingerprint import Classification, Fingerprint
from headend.services.discovery.classify import Classifier
from headend.services.discovery.drafting import draft_profile
from headend.services.discovery.fingerprint import build
from headend.services.discovery.normalise import normalise

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What follows: `draft` is a meter file, `coverage` the share of objects whose meaning is known (None without objects)."""

    fingerprint: Fingerprint
    classification: Classification
    draft: str = ""
    coverage: float | None = None


class Rules:
    """All that is known of meters, put to use: fingerprint, classification, meanings of objects, draft."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def __call__(self, examination: Examination) -> Derived:
        """What follows from an examination. Pure."""
        fingerprint = build(examination)
        classification = self._classifier.classify(fingerprint)
        meanings = normalise(examination.protocol, examination.objects, vendor=classification.flag)
        return Derived(
            fingerprint=fingerprint,
            classification=classification,
            draft=draft_profile(examination, fingerprint, classification, meanings),
            coverage=round(meanings.coverage.meaning_share, 4) if examination.objects else None,
        )


Derive: TypeAlias = Callable[[Examination], Derived]
"""Pure, from any thread."""


def finding(derive: Derive, sighting: Sighting, examination: Examination, at: int, meter_id: str = "") -> Finding:
    """An examination with what follows from it; where rules stumble over it, it is kept with its bare facts."""
    try:
        derived = derive(examination)
    except Exception:  # what a meter says must not keep others from being stored
        log.exception("rules stumbled", place=examination.endpoint.wire)
        derived = Derived(fingerprint=build(examination), classification=Classification(method="none"))
    return Finding(
        papers=Papers(
            sighting=sighting,
            examination=examination,
            fingerprint=derived.fingerprint,
            classification=derived.classification,
            draft=derived.draft,
        ),
        at=at,
        coverage=derived.coverage,
        meter_id=meter_id,
    )
