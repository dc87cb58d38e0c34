"""Which meter it is: maker, model, firmware, meter file, with a confidence and the reasons for it and against. Pure.

Evidence counts in this order: manufacturer ids in name, title and sign-on, and texts that the meter holds; the detect rules of
meter files; a statistical model over the object list and the behaviour of the protocol. Each is a witness with a reliability;
`classification.witness` says how they come to one probability for each maker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from headend.model.fingerprint import Candidate, Classification, Fingerprint, Reason
from headend.model.profile import MeterProfile
from headend.services.discovery.classification.identifiers import identify
from headend.services.discovery.classification.rules import Fit, RuleBook
from headend.services.discovery.classification.witness import Witness, probabilities
from headend.standards.vendors import flag_of_vendor

ENOUGH: Final = 0.5
"""A maker that is less probable than this is not named: unknown."""
FITS: Final = 0.4
"""A meter file whose rules say less than this is not the one."""
GUESS: Final = 0.1
"""A model that its objects look like is not named when it is less probable than this."""
SERVES: Final = 0.15
"""The same for one that claims no maker: it only has to serve."""
NOBODY: Final = frozenset({"", "Generic"})
"""Makers of meter files that are no maker."""
UNNAMED: Final = "unknown"
"""Model of meter files that were drafted of a meter which did not say it."""
RUNNERS_UP: Final = 4
WORTH_TELLING: Final = 0.01


class StatisticalModel(Protocol):
    """What tells makers by object lists and behaviour alone."""

    def witnesses(self, fingerprint: Fingerprint) -> Sequence[Witness]:
        """For the makers (and models) that it looks like, the likeliest first; none for something unlike all it knows."""


class Classifier:
    """Tells meters by the meter files at hand and, where there is one, a statistical model."""

    def __init__(self, library: Iterable[MeterProfile], model: StatisticalModel | None = None) -> None:
        """Raises ConfigError for a meter file whose rules cannot be read."""
        self._rules = RuleBook(library)
        self._model = model

    def classify(self, fingerprint: Fingerprint) -> Classification:
        """The same fingerprint gives the same answer, always."""
        facts = fingerprint.facts
        fits = self._rules.fits(facts)
        witnesses = [*identify(facts), *_best_of_each_vendor(fits)]
        learned = self._model.witnesses(fingerprint) if self._model is not None else ()
        probable = probabilities([*witnesses, *learned])
        ranked = sorted(probable.items(), key=lambda each: (-each[1], each[0]))
        vendor, confidence = ranked[0] if ranked and ranked[0][1] >= ENOUGH else ("", 1.0 - sum(probable.values()))
        everybody = [*witnesses, *learned]
        supporting = sorted((each for each in everybody if vendor and each.vendor == vendor), key=_strength)
        model, model_confidence, profile_id = _model_of(vendor, facts.get("model_text", ""), fits, learned)
        if not model and vendor:
            model, model_confidence = facts.get("device_id_product", ""), 0.8 if facts.get("device_id_product") else 0.0
        return Classification(
            vendor=vendor,
            flag=next((each.flag for each in supporting if each.flag), flag_of_vendor(vendor) if vendor else ""),
            model=model,
            firmware=facts.get("firmware", "") or facts.get("device_id_revision", ""),
            profile_id=profile_id,
            confidence=round(confidence, 4),
            model_confidence=round(min(model_confidence, confidence) if vendor else 0.0, 4),
            method=supporting[0].method if supporting else "none",
            reasons=tuple(each.reason() for each in supporting),
            against=_against(vendor, everybody, fits, profile_id),
            runners_up=_runners_up(vendor, model, ranked, learned),
        )


def _strength(witness: Witness) -> tuple[float, str, str]:
    return -witness.reliability, witness.fact, witness.text


def _best_of_each_vendor(fits: Sequence[Fit]) -> list[Witness]:
    best: dict[str, Witness] = {}
    for fit in fits:
        best.setdefault(fit.witness.vendor, fit.witness)
    return list(best.values())


def _model_of(vendor: str, said: str, fits: Sequence[Fit], learned: Sequence[Witness]) -> tuple[str, float, str]:
    """Model, confidence in it, and meter file: by its rules, else as the meter says it, else as its objects look.

    Where the rules of several models say the same, the file of the first one fits, and no model is named.
    """
    if not vendor:
        return "", 0.0, _nobodys(fits)
    ours = [fit for fit in fits if fit.witness.vendor == vendor and fit.witness.reliability >= FITS]
    if ours:
        best = ours[0].witness
        tied = {
            fit.witness.model
            for fit in ours
            if fit.witness.reliability == best.reliability and len(fit.missed) == len(ours[0].missed)
        }
        if len(tied) == 1 and best.model != UNNAMED:
            return best.model, best.reliability, best.profile_id
        return said, 0.9 if said else 0.0, best.profile_id
    if said:
        return said, 0.9, ""
    look = next((each for each in learned if each.vendor == vendor and each.model), None)
    if look is None or (probable := look.reliability * look.model_share) < GUESS:
        return "", 0.0, ""
    return look.model, probable, ""


def _nobodys(fits: Sequence[Fit]) -> str:
    """The meter file that serves a meter of an unknown maker: a generic one, or one that was drafted of such a meter."""
    fit = next((fit.witness for fit in fits if fit.witness.vendor in NOBODY), None)
    return fit.profile_id if fit is not None and fit.reliability >= SERVES else ""


def _against(vendor: str, witnesses: Sequence[Witness], fits: Sequence[Fit], profile_id: str) -> tuple[Reason, ...]:
    """What speaks for somebody else, ids that nobody has, and rules of the chosen meter file that were not met."""
    others = sorted((each for each in witnesses if each.vendor != vendor), key=_strength)
    missed = [text for fit in fits if fit.witness.profile_id == profile_id for text in fit.missed]
    return (
        *(each.reason(-1) for each in others if each.reliability >= WORTH_TELLING or not each.vendor),
        *(Reason(text=f"meter file {profile_id}: {text}", weight=-0.1) for text in missed),
    )


def _runners_up(
    vendor: str, model: str, ranked: Sequence[tuple[str, float]], learned: Sequence[Witness]
) -> tuple[Candidate, ...]:
    """The next makers, and other models of the one that was chosen."""
    named = [
        Candidate(vendor=each.vendor, model=each.model, confidence=round(each.reliability, 4))
        for each in learned
        if each.vendor == vendor and each.model and each.model != model
    ]
    makers = [
        Candidate(
            vendor=name,
            model=next((each.model for each in learned if each.vendor == name), ""),
            confidence=round(probability, 4),
        )
        for name, probability in ranked
        if name != vendor and probability >= WORTH_TELLING
    ]
    return tuple(sorted([*makers, *named], key=lambda each: (-each.confidence, each.vendor, each.model))[:RUNNERS_UP])
