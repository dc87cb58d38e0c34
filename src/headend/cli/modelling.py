"""The commands `model`: what they take. `headend.cli.model` does the work, and is imported when it is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from headend.cli.options import Json, run_lazily

model_app = typer.Typer(no_args_is_help=True, help="The statistical model that tells makers by object lists.")

Views = Annotated[str, typer.Option("--views", help="Folder of labelled object lists (JSON).", metavar="DIR")]


@model_app.command("train")
def model_train(
    views: Views,
    output: Annotated[str, typer.Option("--output", "-o", help="Model file to write.", metavar="FILE")] = "model.json",
    *,
    carried: Annotated[
        bool, typer.Option("--carried", help="Learn only from lists whose licence lets facts of them be handed on.")
    ] = False,
) -> None:
    """Train the model on labelled object lists."""
    run_lazily("model", "train", views, output, carried=carried)


@model_app.command("evaluate")
def model_evaluate(
    views: Annotated[
        str,
        typer.Option(
            "--views",
            help="Folder of labelled object lists (JSON); without one, only emulated meters are told.",
            metavar="DIR",
        ),
    ] = "",
    pushes: Annotated[
        str, typer.Option("--pushes", help="Features of real pushes (JSON), to be told by identifiers.", metavar="FILE")
    ] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="File for the figures (JSON).", metavar="FILE")] = "",
    *,
    json: Json = False,
) -> None:
    """Measure how well makers and models are told: lists, models and makers left out, meters changed, identifiers readable."""
    run_lazily("model", "evaluate", views, pushes, output, as_json=json)
