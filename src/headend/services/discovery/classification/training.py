"""Training: from labelled object lists to a model. Deterministic, in plain Python.

What a likeness is worth is learned from lists that the model has not seen: each is judged by models without its part of the
lists (the maker may be known from others), and by models without any list of its maker (then every answer is wrong, as every
answer about the list of a specification is). So "unknown" is learned too, and how lists of which a part is missing look.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from headend.errors import ConfigError
from headend.services.discovery.classification.calibration import Case, fit
from headend.services.discovery.classification.features import features
from headend.services.discovery.classification.model import UNTOLD, Prototype, TrainedModel, Training
from headend.services.discovery.classification.views import Sample, digest

PARTS: Final = 5
"""Parts into which the lists are divided to learn what likeness is worth."""
KEPT: Final = (1.0, 0.7, 0.5, 0.2)
"""Shares of a list that such a case keeps."""
SOBER: Final = (1.0, 2.0, 1.0, 0.0)
"""Coefficients where there are too few makers to learn any."""


def train(samples: Sequence[Sample], specifications: Sequence[Sample] = ()) -> TrainedModel:
    """A model of these lists, which takes those of specifications for nobody's; raises ConfigError without any list."""
    if not samples:
        raise ConfigError("no labelled object list to train on")
    training = Training(
        sha256=digest(samples),
        lists=len(samples),
        makers=len({sample.vendor for sample in samples}),
        files=sum(len(sample.files) for sample in samples),
        sources=_sources(samples),
    )
    return weigh(samples, learn(case for _, case in cases(samples, specifications)), training)


def learn(known: Iterable[Case]) -> tuple[float, ...]:
    """Coefficients from cases; those of a sober guess where they cannot tell."""
    found = list(known)
    return (
        fit(found, growing=(0, 1, 2))
        if any(case.right for case in found) and not all(case.right for case in found)
        else SOBER
    )


def weigh(samples: Sequence[Sample], coefficients: Sequence[float], training: Training = UNTOLD) -> TrainedModel:
    """Weights and prototypes of these lists."""
    of_makers: dict[str, set[str]] = defaultdict(set)
    of_models: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        of_makers[sample.vendor] |= sample.features
        for model in sample.models:
            of_models[sample.vendor, model].append(sample)
    makers = len(of_makers)
    having = Counter(name for names in of_makers.values() for name in names)
    return TrainedModel(
        weights={name: round(math.log((makers + 1) / (count + 0.5)), 4) for name, count in sorted(having.items())},
        unseen=round(math.log((makers + 1) / 0.5), 4),
        prototypes=[_prototype(vendor, model, lists) for (vendor, model), lists in sorted(of_models.items())],
        coefficients=[round(each, 4) for each in coefficients],
        training=training,
    )


def _prototype(vendor: str, model: str, lists: Sequence[Sample]) -> Prototype:
    count = Counter(name for sample in lists for name in sample.features)
    behaves: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in lists:
        for name, value in sample.facts.items():
            behaves[name][value] += 1
    return Prototype(
        vendor=vendor,
        model=model,
        lists=len(lists),
        shares={name: round(each / len(lists), 3) for name, each in sorted(count.items())},
        behaviour={
            name: {value: round(each / values.total(), 3) for value, each in sorted(values.items())}
            for name, values in sorted(behaves.items())
        },
    )


def _sources(samples: Sequence[Sample]) -> tuple[tuple[str, str, int], ...]:
    count = Counter(
        (_repository(source), licence)
        for sample in samples
        for source in sample.sources[:1]
        for licence in sample.licences[:1]
    )
    return tuple((source, licence, lists) for (source, licence), lists in sorted(count.items()))


def _repository(source: str) -> str:
    """The repository of a source like `GitHub OWNER/NAME path in it`."""
    return next((word for word in source.split() if "/" in word), source)


def cases(samples: Sequence[Sample], specifications: Sequence[Sample] = ()) -> Iterator[tuple[Sample, Case]]:
    """Answers about lists that the model in question does not know; each maker counts as much as any other."""
    lists = Counter(sample.vendor for sample in samples)
    for part in range(PARTS):
        asked = [sample for index, sample in enumerate(samples) if index % PARTS == part and lists[sample.vendor] > 1]
        rest = [sample for index, sample in enumerate(samples) if index % PARTS != part or lists[sample.vendor] == 1]
        yield from _answers(rest, asked, lists)
    for vendor in sorted(lists):
        rest = [sample for sample in samples if sample.vendor != vendor]
        if rest:
            yield from _answers(rest, [sample for sample in samples if sample.vendor == vendor], lists)
    yield from _answers(samples, specifications, lists)


def _answers(
    rest: Sequence[Sample], asked: Sequence[Sample], lists: Mapping[str, int]
) -> Iterator[tuple[Sample, Case]]:
    if not rest or not asked:
        return
    model = weigh(rest, SOBER)
    for sample in asked:
        for kept in KEPT:
            names = sample.features if kept == 1.0 else features(thinned(sample, kept))
            if not names:
                continue
            ranked = model.rank(names, {})
            case = Case(
                measures=model.measures(ranked),
                right=ranked[0].vendor == sample.vendor,
                weight=1.0 / math.sqrt(max(1, lists[sample.vendor])),
            )
            yield sample, case


def thinned(sample: Sample, kept: float) -> tuple[tuple[int, int, str], ...]:
    """A list of which only a share is there: the same one every time."""
    seed = hashlib.sha256(f"{sample.files[0]} {kept}".encode()).digest()
    chosen = random.Random(seed).sample(sample.objects, max(1, round(kept * len(sample.objects))))  # noqa: S311 - no secret
    return tuple(sorted(chosen))
