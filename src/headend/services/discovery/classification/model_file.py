"""A trained model as a file: JSON that people can read, a feature in each line, with what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from headend.errors import ConfigError
from headend.services.discovery.classification.model import Prototype, TrainedModel, Training

FORMAT: Final = "headend-model"
VERSION: Final = 1
_MEASURES: Final = 3


def dump(model: TrainedModel) -> str:
    """The text of a model file; the same model gives the same text."""
    trained = model.training
    head = {
        "format": FORMAT,
        "version": VERSION,
        "trained_on": {
            "sha256": trained.sha256,
            "files": trained.files,
            "lists": trained.lists,
            "makers": trained.makers,
            "sources": [
                {"source": source, "licence": licence, "lists": lists} for source, licence, lists in trained.sources
            ],
        },
        "coefficients": list(model.coefficients),
        "unseen": model.unseen,
    }
    prototypes = [
        {"vendor": each.vendor, "model": each.model, "lists": each.lists, "behaviour": each.behaviour}
        for each in model.prototypes
    ]
    having: dict[str, dict[str, float]] = {name: {} for name in sorted(model.weights)}
    for index, each in enumerate(model.prototypes):
        for name, share in each.shares.items():
            having[name][str(index)] = share
    features = {name: [model.weights[name], shares] for name, shares in having.items()}
    lines = [json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ","]
    lines += [' "prototypes": [', _lines(json.dumps(each, ensure_ascii=False) for each in prototypes), " ],"]
    lines += [
        ' "features": {',
        _lines(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in features.items()),
        " }",
    ]
    return "\n".join([*lines, "}\n"])


def _lines(parts: Any) -> str:  # noqa: ANN401 - any iterable of texts
    return ",\n".join(f"  {part}" for part in parts)


def load(text: str, origin: str) -> TrainedModel:
    """The model in the text of a file; raises ConfigError that names the file and what is wrong in it."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ConfigError(f"{origin}: no model file: expected format {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ConfigError(
            f"{origin}: version {document.get('version')!r} of the format, expected {VERSION}",
            hint="train it anew with headend model train",
        )
    try:
        return _model(document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ConfigError(f"{origin}: broken model file: {type(error).__name__}: {error}") from None


def _model(document: Mapping[str, Any]) -> TrainedModel:
    trained = document["trained_on"]
    features: Mapping[str, Sequence[Any]] = document["features"]
    shares: list[dict[str, float]] = [{} for _ in document["prototypes"]]
    for name, (_, having) in features.items():
        for index, share in having.items():
            if int(index) < 0:
                raise ValueError(f"prototype {index} of feature {name!r}")
            shares[int(index)][name] = float(share)
    coefficients = [float(each) for each in document["coefficients"]]
    if len(coefficients) != _MEASURES + 1:
        raise ValueError(f"expected {_MEASURES + 1} coefficients, got {len(coefficients)}")
    return TrainedModel(
        weights={name: float(weight) for name, (weight, _) in features.items()},
        unseen=float(document["unseen"]),
        prototypes=[
            Prototype(
                vendor=str(each["vendor"]),
                model=str(each["model"]),
                lists=int(each["lists"]),
                shares=own,
                behaviour={name: dict(values) for name, values in each["behaviour"].items()},
            )
            for each, own in zip(document["prototypes"], shares, strict=True)
        ],
        coefficients=coefficients,
        training=Training(
            sha256=str(trained["sha256"]),
            files=int(trained["files"]),
            lists=int(trained["lists"]),
            makers=int(trained["makers"]),
            sources=tuple((str(s["source"]), str(s["licence"]), int(s["lists"])) for s in trained["sources"]),
        ),
    )


@cache
def shipped() -> TrainedModel:
    """The model that comes with the package: weights of features of lists whose licences let facts be handed on."""
    return load(files(__package__).joinpath("model.json").read_text(encoding="utf-8"), "model.json")
