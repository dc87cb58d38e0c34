"""How well makers and models are told, in figures with their number of cases and interval. Deterministic.

A list is judged by a model that has never seen it, nor any equal list: equal lists of a maker are one. What a likeness is worth
is learned without the cases about the list (or its maker) that is judged. The yardstick is the nearest neighbour by Jaccard over
(class, code), on the same lists, which always names somebody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from headend.model.fingerprint import Classification, Fingerprint
from headend.model.meter import NO_PARAMS
from headend.services.discovery.classification import trials
from headend.services.discovery.classification.calibration import expected_calibration_error, wilson
from headend.services.discovery.classification.features import features
from headend.services.discovery.classification.model import TrainedModel
from headend.services.discovery.classification.training import cases, learn, weigh
from headend.services.discovery.classification.views import Sample, Views
from headend.services.discovery.classify import Classifier

UNKNOWN: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One case: whose it is, whether that maker was known to the model, and what was said."""

    vendor: str
    known: bool
    said: str
    confidence: float
    likest: str
    """whom it names when it must name somebody"""
    nearest: str
    """whom the nearest neighbour names"""
    models: tuple[str, ...] = ()
    """that it has"""
    models_known: bool = False
    models_said: tuple[str, ...] = ()
    """best first"""

    @property
    def right(self) -> bool:
        """The maker, or unknown where nobody could know it."""
        return self.said == (self.vendor if self.known else UNKNOWN)


def evaluate(views: Views, signatures: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """All protocols over a collection; `signatures` are features of real pushes."""
    samples = views.samples
    known_cases = list(cases(samples, views.specifications))
    counts = Counter(sample.vendor for sample in samples)
    worth = {
        each.files: learn(case for sample, case in known_cases if sample is not each)
        for each in (*samples, *views.specifications)
    }
    without_makers = {
        vendor: weigh(
            [sample for sample in samples if sample.vendor != vendor],
            learn(case for sample, case in known_cases if sample.vendor != vendor),
        )
        for vendor in counts
    }
    listed, without_model, without_maker = list[Verdict](), list[Verdict](), list[Verdict]()
    changed: dict[str, list[Verdict]] = defaultdict(list)
    named: dict[str, list[Verdict]] = defaultdict(list)
    for sample in samples:
        rest = [other for other in samples if other is not sample]
        model = weigh(rest, worth[sample.files])
        listed.append(judge(sample, rest, model))
        changed["with the behaviour of the protocol"].append(judge(sample, rest, model, sample.facts))
        for name, objects in trials.variations(sample, rest):
            changed[name].append(judge(replace(sample, objects=objects, features=features(objects)), rest, model))
        for name, facts in trials.identifiers(sample):
            named[name].append(judge(sample, rest, model, facts, known=True))
        unlike = [each for each in samples if each.vendor != sample.vendor or not set(each.models) & set(sample.models)]
        model = model if unlike == rest else weigh(unlike, worth[sample.files])
        without_model.append(judge(sample, unlike, model))
        others = [other for other in samples if other.vendor != sample.vendor]
        without_maker.append(judge(sample, others, without_makers[sample.vendor]))
    specified = [judge(each, samples, weigh(samples, worth[each.files])) for each in views.specifications]
    return {
        "collection": {
            "files": views.files,
            "no_meters": views.nobody,
            "distinct_lists": len(samples),
            "makers": len(counts),
            "makers_with_several_lists": sum(count > 1 for count in counts.values()),
            "lists_of_makers": dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
            "sha256": views.digest,
        },
        "lists": {
            "one list left out": figures(listed),
            "one model left out": figures(without_model),
            "one maker left out": figures(without_maker),
            **({"lists of specifications": figures(specified)} if specified else {}),
            **{name: figures(verdicts) for name, verdicts in changed.items()},
        },
        "calibration": {"ece": round(_ece([*listed, *without_maker]), 4), "n": len(listed) + len(without_maker)},
        "identifiers": {
            name: share(verdict.said == verdict.vendor for verdict in found) for name, found in named.items()
        },
        "identifiers_of_all_forms": share(v.said == v.vendor for found in named.values() for v in found),
        **({"pushes": _of_pushes(signatures)} if signatures else {}),
    }


def judge(
    sample: Sample,
    rest: Sequence[Sample],
    model: TrainedModel,
    facts: Mapping[str, str] = NO_PARAMS,
    *,
    known: bool | None = None,
) -> Verdict:
    """What is said of a list with some facts, by a model of the lists `rest`."""
    said = Classifier((), model).classify(sample.fingerprint(facts))
    ranked = model.rank(sample.features, {})
    of_vendor = {name for other in rest if other.vendor == sample.vendor for name in other.models}
    return Verdict(
        vendor=sample.vendor,
        known=any(other.vendor == sample.vendor for other in rest) if known is None else known,
        said=said.vendor,
        confidence=said.confidence,
        likest=ranked[0].vendor if ranked else UNKNOWN,
        nearest=_nearest(sample, rest),
        models=sample.models,
        models_known=bool(of_vendor & set(sample.models)),
        models_said=_models_said(said),
    )


def _models_said(said: Classification) -> tuple[str, ...]:
    return (said.model, *(each.model for each in said.runners_up if each.vendor == said.vendor)) if said.model else ()


def _nearest(sample: Sample, rest: Sequence[Sample]) -> str:
    own = _pairs(sample.objects)

    def likeness(other: Sample) -> tuple[float, str]:
        theirs = _pairs(other.objects)
        both = len(own & theirs)
        return both / max(1, len(own) + len(theirs) - both), other.vendor

    return max(map(likeness, rest), default=(0.0, UNKNOWN))[1]


@lru_cache(maxsize=4096)
def _pairs(objects: tuple[tuple[int, int, str], ...]) -> frozenset[tuple[int, str]]:
    return frozenset((class_id, name) for class_id, _, name in objects)


def figures(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Shares of the verdicts that were right, in the ways that matter."""
    known = [each for each in verdicts if each.known]
    unseen = [each for each in verdicts if not each.known]
    named = [each for each in verdicts if each.said]
    models = [each for each in known if each.models_known]
    found: dict[str, Any] = {"n": len(verdicts)}
    if known:
        found |= {
            "makers_known": {
                "right": share(each.right for each in known),
                "macro": _macro(known, lambda each: each.right),
                "said_unknown": share(not each.said for each in known),
                "likest": share(each.likest == each.vendor for each in known),
                "likest_macro": _macro(known, lambda each: each.likest == each.vendor),
            },
            "nearest_neighbour": {
                "right": share(each.nearest == each.vendor for each in known),
                "macro": _macro(known, lambda each: each.nearest == each.vendor),
            },
        }
    if unseen:
        found["makers_never_seen"] = {
            "said_unknown": share(not each.said for each in unseen),
            "macro": _macro(unseen, lambda each: not each.said),
        }
    found["of_those_named_right"] = share(each.right for each in named)
    found["all_decisions_right"] = share(each.right for each in verdicts)
    found["nearest_all_decisions_right"] = share(each.known and each.nearest == each.vendor for each in verdicts)
    if models:
        found["model_first"] = share(bool(set(each.models_said[:1]) & set(each.models)) for each in models)
        found["model_among_three"] = share(bool(set(each.models_said[:3]) & set(each.models)) for each in models)
    found["ece"] = round(_ece(verdicts), 4)
    found["confusion"] = _confusion(verdicts)
    return found


def share(outcomes: Iterable[bool]) -> dict[str, Any]:
    """How many of how many, with the interval of 95 %."""
    each = list(outcomes)
    low, high = wilson(sum(each), len(each))
    part = round(sum(each) / len(each), 4) if each else None
    return {"n": len(each), "right": sum(each), "share": part, "low": round(low, 4), "high": round(high, 4)}


def _macro(verdicts: Sequence[Verdict], right: Callable[[Verdict], bool]) -> float:
    """The mean over makers of their share."""
    by_maker: dict[str, list[bool]] = defaultdict(list)
    for each in verdicts:
        by_maker[each.vendor].append(right(each))
    return round(sum(sum(each) / len(each) for each in by_maker.values()) / len(by_maker), 4)


def _ece(verdicts: Iterable[Verdict]) -> float:
    return expected_calibration_error([(each.confidence, each.right) for each in verdicts])


def _confusion(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    wrong = Counter((each.vendor, each.said or "unknown") for each in verdicts if not each.right)
    return [{"is": is_, "said": said, "n": count} for (is_, said), count in sorted(wrong.items())]


def _of_pushes(signatures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classifier = Classifier(())
    judged = list(_pushes_judged(classifier, signatures))
    readable = [each for each in judged if each.known]
    return {
        "n": len(judged),
        "makers": len({each.vendor for each in judged}),
        "readable": share(each.said == each.vendor for each in readable),
        "readable_macro": _macro(readable, lambda each: each.right) if readable else None,
        "not_readable_said_unknown": share(not each.said for each in judged if not each.known),
        "ece_of_readable": round(_ece(readable), 4),
        "confusion": _confusion(readable),
    }


def _pushes_judged(classifier: Classifier, signatures: Sequence[Mapping[str, Any]]) -> Iterator[Verdict]:
    for vendor, readable, facts in trials.pushes(signatures):
        said = classifier.classify(Fingerprint(digest="", facts=facts))
        yield Verdict(
            vendor=vendor,
            known=readable,
            said=said.vendor,
            confidence=said.confidence,
            likest=said.vendor,
            nearest=UNKNOWN,
        )
