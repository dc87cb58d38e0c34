"""Reference pages that are made from the code: what they say is what there is. `make docs` writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from prometheus_client.metrics import MetricWrapperBase

from headend import errors, telemetry
from headend.cli.main import EXIT_CODES, app
from headend.drivers.library import Library
from headend.model.event import EventType
from headend.model.quantity import quantities
from headend.runtime.settings import describe

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
UPDATE = os.environ.get("UPDATE_DOCS") == "1"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    rows = [(f"`{name}`", f"`{default}`", text) for name, default, text in describe()]
    return (
        "# Settings\n\nOne TOML file, named with `--config FILE`. Every setting can also be given as an environment variable, in\n"
        "capitals with `__` between section and field: `HEADEND_WEB__PORT=9000`; the variable wins. Passwords are never\n"
        "written into the file: it says where they are (`env:NAME` or `file:PATH`).\n\n"
        + table(("setting", "default", "meaning"), rows)
    )


def errors_page() -> str:
    def tree(kind: type[errors.HeadendError], depth: int) -> Iterator[tuple[str, ...]]:
        text = re.sub(r"\s+", " ", kind.__doc__ or "").split(". ")[0].rstrip(".")
        exits = next((str(code) for family, code in EXIT_CODES if issubclass(kind, family)), "1")
        yield (
            "&nbsp;&nbsp;" * depth + f"`{kind.__name__}`",
            f"`{kind.code}`",
            "yes" if kind.retryable else "",
            exits,
            text,
        )
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from tree(child, depth + 1)

    return (
        "# Errors\n\n`code` is what REST problems, MQTT responses and metrics carry; it does not change. A retryable error may pass\n"
        "by itself; all others want somebody to do something. The last number is the exit code of the command line.\n\n"
        + table(("error", "code", "retryable", "exit", "meaning"), list(tree(errors.HeadendError, 0)))
    )


def metrics_page() -> str:
    rows = []
    for value in vars(telemetry).values():
        if isinstance(value, MetricWrapperBase):
            family = next(iter(value.describe()))
            rows.append((f"`{family.name}`", family.type, ", ".join(value._labelnames), family.documentation))
    return (
        "# Metrics\n\nServed in the Prometheus text format at `/metrics`. There is never a label per meter.\n\n"
        + table(("metric", "kind", "labels", "meaning"), rows)
    )


def events_page() -> str:
    source = (ROOT / "src/headend/model/event.py").read_text()
    said = dict(re.findall(r'    (\w+) = "\w+"\n    """(.+?)"""', source))
    rows = [(f"`{kind.value}`", said.get(kind.name, "")) for kind in EventType]
    return (
        "# Events\n\nEvents are kept in the database, published on MQTT (`…/events`) and listed at `/api/v1/events`.\n\n"
        + table(("event", "meaning"), rows)
    )


def cli_page() -> str:
    def pages(command: Any, path: str) -> Iterator[str]:
        for name, child in getattr(command, "commands", {}).items():
            yield from pages(child, f"{path} {name}")
        if hasattr(command, "commands"):
            return
        usage = command.get_usage(command.context_class(command, info_name=path)).removeprefix("Usage: ")
        options = [
            (f"`{', '.join(parameter.opts)}`", getattr(parameter, "help", "") or "")
            for parameter in command.params
            if parameter.param_type_name == "option"
        ]
        yield f"## {path}\n\n{command.help}\n\n```text\n{usage}\n```\n" + (
            "\n" + table(("option", "meaning"), options) if options else ""
        )

    return (
        "# Command line\n\nMeter URLs are described in [meter-urls.md](meter-urls.md), exit codes in [errors.md](errors.md).\n\n"
        + "\n".join(pages(typer.main.get_command(app), "headend"))
    )


def meters_page() -> str:
    rows = [
        (
            profile.vendor,
            profile.model,
            profile.protocol,
            profile.state.value,
            str(len(profile.objects)),
            f"`{profile.id}`",
        )
        for profile in sorted(Library(), key=lambda one: (one.protocol, one.vendor, one.model))
    ]
    return (
        "# Supported meters\n\nOne meter file each, in `src/headend/profiles`. DRAFT: from documents, never run. EMULATED: round-trips against\n"
        "its own virtual meter. FIELD_VERIFIED: has a transcript of the real meter. Meters without a file are read by their\n"
        "own object list (DLMS).\n\n" + table(("vendor", "model", "protocol", "state", "objects", "file"), rows)
    )


def quantities_page() -> str:
    rows = [(f"`{q.key}`", q.unit, q.kind.value, q.obis, q.label) for q in quantities().values()]
    return (
        "# Quantities\n\nReadings are kept in the unit given here. `headend profile quantities` prints the same list.\n\n"
        + table(("key", "unit", "kind", "OBIS", "meaning"), rows)
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
    "events.md": events_page,
    "command-line.md": cli_page,
    "meters.md": meters_page,
    "quantities.md": quantities_page,
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_there_is(name: str) -> None:
    page = PAGES[name]()
    if UPDATE:
        (REFERENCE / name).write_text(page, encoding="utf-8")
    assert (REFERENCE / name).read_text(encoding="utf-8") == page, "run: make docs"


def test_every_row_has_a_meaning() -> None:
    for name in ("settings.md", "errors.md", "metrics.md", "events.md"):
        for line in PAGES[name]().splitlines():
            if line.startswith(("| `", "| &nbsp;")):
                assert line.rstrip().removesuffix("|").rstrip().rpartition("|")[2].strip(), f"{name}: {line}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
