"""A statistical model of object lists: features with weights, models with shares of them, and what a likeness is worth. Pure.

A feature weighs the more, the fewer makers have it. A meter is like a model by the weights that both have, divided by them
plus what only the meter has plus a part of what only the model has, for most lists that one sees are not whole. How
probably the likest maker is the right one follows from the likeness, its lead over the next maker, and how much is in common.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, TypeAlias

from headend.model.fingerprint import Fingerprint
from headend.services.discovery.classification.calibration import probability
from headend.services.discovery.classification.features import behaviour, features
from headend.services.discovery.classification.witness import Witness

MISSING_PART: Final = 0.3
"""Of what only the model has, this part counts against a likeness."""
BEHAVIOUR_WEIGHT: Final = 2.0
LEAST_FEATURES: Final = 6
"""A list with fewer features tells nothing."""
SLIGHT: Final = 0.02
"""A likeness that is less than this is none."""
MAKERS_TOLD: Final = 3
MODELS_TOLD: Final = 4
_NO_BLOCK: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """A model as the lists show it that were learned from: the share of them that has each feature, and each behaviour."""

    vendor: str
    model: str
    lists: int
    shares: Mapping[str, float]
    behaviour: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a model was trained on."""

    sha256: str
    lists: int
    makers: int
    files: int
    sources: tuple[tuple[str, str, int], ...]
    """(where from, licence, lists)"""


UNTOLD: Final = Training(sha256="", lists=0, makers=0, files=0, sources=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like a model something is, from 0 to 1."""

    vendor: str
    model: str
    likeness: float
    common: float
    """weight of what both have"""


class TrainedModel:
    """Weights and prototypes, ready to be asked."""

    def __init__(
        self,
        *,
        weights: Mapping[str, float],
        unseen: float,
        prototypes: Sequence[Prototype],
        coefficients: Sequence[float],
        training: Training,
    ) -> None:
        """`unseen` is the weight of a feature that no prototype has."""
        self.weights = weights
        self.unseen = unseen
        self.prototypes = tuple(prototypes)
        self.coefficients = tuple(coefficients)
        self.training = training
        self._totals = [sum(weights[name] * share for name, share in each.shares.items()) for each in self.prototypes]
        self._block_of, self._blocks = _blocks(weights, self.prototypes)

    def rank(self, names: frozenset[str], behaves: Mapping[str, str]) -> list[Likeness]:
        """All prototypes, the likest first."""
        counts = Counter(map(self._block_of.get, names, repeat(_NO_BLOCK)))
        own = self.unseen * counts.pop(_NO_BLOCK, 0)
        common = [0.0] * len(self.prototypes)
        for block, count in counts.items():
            weight, shares = self._blocks[block]
            own += count * weight
            for index, part in shares:
                common[index] += count * part
        found = [
            Likeness(
                vendor=each.vendor, model=each.model, likeness=_likeness(each, both, own, total, behaves), common=both
            )
            for each, both, total in zip(self.prototypes, common, self._totals, strict=True)
        ]
        return sorted(found, key=lambda each: (-each.likeness, each.vendor, each.model))

    def measures(self, ranked: Sequence[Likeness]) -> tuple[float, ...]:
        """What the probability follows from: the likeness, how far the next maker is behind, and how much is in common."""
        best = ranked[0]
        following = next((each.likeness for each in ranked if each.vendor != best.vendor), 0.0)
        lead = 1.0 - following / best.likeness if best.likeness > 0 else 0.0
        return math.log(max(SLIGHT, best.likeness)), lead, math.log(1.0 + best.common) / 5

    def witnesses(self, fingerprint: Fingerprint) -> Sequence[Witness]:
        """The likest maker with its models, and the next ones; none for a list that is too short to tell anything."""
        names = features(each for each in fingerprint.objects if each[0] > 0)
        if len(names) < LEAST_FEATURES or not self.prototypes:
            return ()
        ranked = self.rank(names, behaviour(fingerprint.facts))
        sure = probability(self.coefficients, self.measures(ranked))
        return [*_models(ranked, sure, len(fingerprint.objects)), *_others(ranked, sure)]


_Block: TypeAlias = tuple[float, tuple[tuple[int, float], ...]]
"""The weight of a feature, and by prototype its weight times its share."""


def _blocks(weights: Mapping[str, float], prototypes: Sequence[Prototype]) -> tuple[dict[str, int], list[_Block]]:
    """Features that weigh the same everywhere are one block: there are many features and few blocks."""
    having: dict[str, list[tuple[int, float]]] = {name: [] for name in weights}
    for index, each in enumerate(prototypes):
        for name, share in each.shares.items():
            having[name].append((index, weights[name] * share))
    numbers: dict[_Block, int] = {}
    block_of = {
        name: numbers.setdefault((weights[name], tuple(shares)), len(numbers)) for name, shares in having.items()
    }
    return block_of, list(numbers)


def _likeness(prototype: Prototype, common: float, own: float, total: float, behaves: Mapping[str, str]) -> float:
    for name, value in behaves.items():
        known = prototype.behaviour.get(name)
        if known is not None:
            own += BEHAVIOUR_WEIGHT
            common += BEHAVIOUR_WEIGHT * known.get(value, 0.0)
            total += BEHAVIOUR_WEIGHT
    return common / (own + MISSING_PART * (total - common)) if own > 0 else 0.0


def _models(ranked: Sequence[Likeness], sure: float, objects: int) -> list[Witness]:
    """The models of the likest maker. The sureness of the maker is shared among its models by how far they are behind."""
    best = ranked[0]
    mine = [each for each in ranked if each.vendor == best.vendor][:MODELS_TOLD]
    shares = [math.exp(20 * (each.likeness - best.likeness)) for each in mine]
    return [
        Witness(
            vendor=each.vendor,
            reliability=sure * (1.0 if index == 0 else share / sum(shares)),
            text=f"{objects} objects are like those of {_named(each)} ({each.likeness:.2f})",
            fact="objects",
            method="model",
            model=each.model,
            model_share=share / sum(shares),
        )
        for index, (each, share) in enumerate(zip(mine, shares, strict=True))
    ]


def _others(ranked: Sequence[Likeness], sure: float) -> list[Witness]:
    """The next makers: a little of what is left to doubt."""
    seen = {ranked[0].vendor}
    found: list[Witness] = []
    for each in ranked:
        if each.vendor in seen or len(found) + 1 == MAKERS_TOLD:
            continue
        seen.add(each.vendor)
        found.append(
            Witness(
                vendor=each.vendor,
                reliability=(1.0 - sure) * 0.5 * each.likeness,
                text=f"its objects are somewhat like those of {_named(each)} ({each.likeness:.2f})",
                fact="objects",
                method="model",
                model=each.model,
            )
        )
    return found


def _named(likeness: Likeness) -> str:
    return f"{likeness.vendor} {likeness.model}".strip()
