"""`model`: the statistical model that tells makers by object lists: train it, and measure how well meters are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from headend.cli.output import print_json
from headend.errors import ConfigError
from headend.services.discovery.classification.emulated import evaluate_emulated
from headend.services.discovery.classification.evaluation import evaluate as measure
from headend.services.discovery.classification.model_file import dump, shipped
from headend.services.discovery.classification.report import markdown
from headend.services.discovery.classification.training import train as train_on
from headend.services.discovery.classification.views import read_views


def train(views: str, output: str, *, carried: bool) -> None:
    """Write a model file."""
    found = read_views(Path(views))
    samples, specifications = (
        [sample for sample in lists if sample.may_be_carried or not carried]
        for lists in (found.samples, found.specifications)
    )
    model = train_on(samples, specifications)
    Path(output).write_text(dump(model), encoding="utf-8")
    trained = model.training
    typer.echo(
        f"{output}: {trained.lists} distinct lists of {trained.makers} makers, {len(model.prototypes)} models, "
        f"{len(model.weights)} features; training set {trained.sha256[:16]}"
    )


def evaluate(views: str, pushes: str, output: str, *, as_json: bool) -> None:
    """Figures as JSON, or as tables in Markdown."""
    results: dict[str, Any] = {"emulated": evaluate_emulated(shipped())}
    if views:
        results |= measure(read_views(Path(views)), _signatures(pushes))
    if output:
        Path(output).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        print_json(results)
    else:
        typer.echo(markdown(results))


def _signatures(path: str) -> list[dict[str, Any]]:
    if not path:
        return []
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, list):
        raise ConfigError(f"{path}: expected a list of signatures")
    return found
