"""Emulated meters of the models that a trained model knows, and how they are told when they change. Deterministic.

It needs no collection of lists and says nothing about meters that the model has not learned from: it shows what missing objects,
other firmware and blanked identity do to those that it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from headend.services.discovery.classification.evaluation import Verdict, judge, share
from headend.services.discovery.classification.features import features
from headend.services.discovery.classification.model import Prototype, TrainedModel
from headend.services.discovery.classification.trials import identifiers, variations
from headend.services.discovery.classification.views import Sample

HALF = 0.5


def samples_of(model: TrainedModel) -> Iterator[Sample]:
    """A list for each model: the objects that half of its lists have."""
    for prototype in model.prototypes:
        objects = _objects(prototype)
        yield Sample(
            vendor=prototype.vendor,
            models=(prototype.model,),
            firmwares=(),
            objects=objects,
            features=features(objects),
            files=(f"{prototype.vendor} {prototype.model}",),
        )


def _objects(prototype: Prototype) -> tuple[tuple[int, int, str], ...]:
    versions: dict[int, int] = {}
    for name in prototype.shares:
        class_id, told, version = name.partition(" version ")
        if told:
            versions[int(class_id)] = int(version)
    return tuple(
        sorted(
            (int(class_id), versions.get(int(class_id), 0), f"{code}.255")
            for class_id, slash, code in (
                name.partition("/") for name, part in prototype.shares.items() if part >= HALF
            )
            if slash
        )
    )


def evaluate_emulated(model: TrainedModel) -> dict[str, Any]:
    """Maker and model of emulated meters, whole and changed, and with identifiers in the forms of real ones."""
    samples = list(samples_of(model))
    found: dict[str, list[Verdict]] = defaultdict(list)
    for sample in samples:
        found["as it is"].append(judge(sample, samples, model))
        for name, objects in variations(sample, samples):
            found[name].append(judge(replace(sample, objects=objects, features=features(objects)), samples, model))
        for name, facts in identifiers(sample):
            found[name].append(judge(sample, samples, model, facts))
    return {
        name: {
            "maker": share(each.right for each in verdicts),
            "model_among_three": share(bool(set(each.models_said[:3]) & set(each.models)) for each in verdicts),
        }
        for name, verdicts in found.items()
    }
