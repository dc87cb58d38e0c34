"""Reference pages that are made from the code: what they say is what there is. `make docs` writes them."""

from __future__ import annotations

import inspect
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer.main
from prometheus_client.metrics import MetricWrapperBase

from headend import errors, telemetry
from headend.cli.main import EXIT_CODES, app
from headend.drivers.library import Library
from headend.model.event import EventType
from headend.model.fingerprint import FACTS, Stability
from headend.model.quantity import quantities
from headend.runtime.settings import describe
from headend.runtime.sinks import describe_common, describe_options
from headend.services.discovery import fingerprint
from headend.services.discovery.classification.report import markdown
from headend.standards.tables import read_table
from headend.standards.variants import variants

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
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append((f"`{name}`", family.type, ", ".join(value._labelnames), family.documentation))
        elif isinstance(value, telemetry.Timings):
            family = next(iter(value.describe()))
            rows.append((f"`{family.name}`", family.type, value._label, family.documentation))
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


def fingerprints_page() -> str:
    rows = [(f"`{name}`", stability.value, text) for name, (stability, text) in FACTS.items()]
    form = inspect.cleandoc(fingerprint.__doc__ or "").partition("\n\n")[2]
    stabilities = [(f"`{each.value}`", text) for each, text in _members(Stability, "model/fingerprint.py")]
    verdicts = [(f"`{each.value}`", text) for each, text in _members(fingerprint.Verdict, fingerprint.__file__)]
    return (
        "# Fingerprints\n\nA fingerprint is what an examined meter is, in facts that do not change from one day to the next. Every fact points\n"
        "to the octets that prove it; what the wire does not show is kept as not observable, with the reason, and is neither\n"
        "equal nor different to anything. `headend fingerprint show FILE` prints one, `headend fingerprint diff FILE FILE` compares\n"
        "two: of two meters, two firmwares, or two days.\n\n## The digest\n\n"
        + form
        + "\n\nTwo fingerprints that were made with the same credentials can be compared by their digests; who may see more objects has\n"
        "another list.\n\n## Stability\n\n"
        + table(("stability", "meaning"), stabilities)
        + "\n## Facts\n\n"
        + table(("fact", "stability", "meaning"), rows)
        + "\nBeside them, a reference of an object may be the name of a fact, as `holding/0xFC02/u16`: what that object held, of\n"
        "stability `model`.\n\n## What two fingerprints are to each other\n\n"
        + table(("verdict", "meaning"), verdicts)
        + "\nA text of the maker (manufacturer, model, FLAG identifier) that differs means another model, and so do object lists of which\n"
        "less than half is common. Any other fact of stability `model` that both sides know and that differs means another\n"
        "firmware, save those of the way to the meter (framing, parameters of HDLC). The similarity of two lists is the share\n"
        "of class and logical name that both have (Jaccard).\n\n## JSON\n\n`headend fingerprint show FILE --json` prints `headend-meter-identity/1`: `fingerprint` (digest, facts with stability\n"
        "and the places of their proof, what is not observable), `associations` (`headend-association-report/1`, whose JSON Schema is\n"
        "`association-report-1.schema.json` in `src/headend/services/discovery`; evidence holds the octets in hexadecimal) and\n"
        "`objects` (`headend-normalised-objects/1`: what each object stands for, and the coverage; see [OBIS codes](obis.md)).\n"
        "A form that is not compatible with these has another number.\n"
    )


def _members(kind: Any, path: str) -> list[tuple[Any, str]]:
    """The members of an enumeration with what stands below them."""
    source = (ROOT / "src/headend" / path).read_text()
    body = source[source.index(f"class {kind.__name__}(") :]
    said = dict(re.findall(r'    (\w+) = "[\w-]+"\n    """(.+?)"""', body))
    return [(each, said.get(each.name, each.value.replace("-", " "))) for each in kind]


def obis_page() -> str:
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in read_table("obis_groups"):
        meaning = row["meaning"].replace("{word}", "power or energy")
        groups.setdefault(row["group"], []).append((row["value"], meaning, row["unit"].replace("+h", "hours of it")))
    own: dict[str, list[tuple[str, ...]]] = {}
    for row in read_table("obis_meanings"):
        if row["variant"]:
            own.setdefault(row["variant"], []).append((f"`{row['pattern']}`", row["kind"], row["meaning"], row["unit"]))
    text = (
        "# OBIS codes\n\nHow a logical name is understood: first by the variant of a country, companion standard or maker that the meter follows,\n"
        "then by the codes of the standard (IEC 62056-6-1), then by its value groups, then by the class of its object. What is left\n"
        "is *unmapped*, with the nearest meaning; most of that lies in the ranges that the standard leaves to manufacturers.\n"
        "`headend obis CODE` explains any code. Facts and their sources: `obis.csv`, `obis_groups.csv`, `obis_meanings.csv` and\n"
        "`obis_variants.csv` in `src/headend/standards/data`.\n\n"
        "The key of a quantity follows from groups C, D and E: `active_demand_max_import_l1_t3` is C 21, D 6, E 3. Keys that are not\n"
        "in the catalogue ([quantities](quantities.md)) are shown, but no readings are kept under them. Group F other than 255 is\n"
        "a value of a billing period: it is not a reading of the present.\n\n"
        "Over the 70 distinct object lists of the public collection that the tests read, 96 % of the objects that are not the\n"
        "manufacturer's own are understood (86 % of all), 95 % of the measurements have a key, and of 4,858 registers that tell\n"
        "their unit 93 % tell the one of their key; the others tell units that fit no quantity of their code.\n\n"
    )
    for name, head in (
        ("C", "Group C of electricity"),
        ("D", "Group D of electricity"),
        ("abstract", "Group C where A is 0"),
    ):
        more = " (L1 to L3: 20, 40 and 60 more than 1 to 20)" if name == "C" else ""
        text += f"## {head}{more}\n\n" + table(("value", "meaning", "unit"), groups[name]) + "\n"
    for each in variants().values():
        hints = ", ".join(f"`{hint}`" for hint in each.hints)
        rows = own.get(each.name, [])
        text += f"## {each.title}\n\n`{each.name}`: shown by {each.least} objects of {hints}"
        if each.countries:
            text += f"; countries {', '.join(sorted(each.countries))}"
        if each.vendors:
            text += f"; makers {', '.join(sorted(each.vendors))}"
        if each.base:
            text += f"; with all of `{each.base}`"
        text += ".\n\n" + (table(("code", "kind", "meaning", "unit"), rows) + "\n" if rows else "")
    return text.rstrip("\n") + "\n"


def classification_page() -> str:
    """What is written by hand, with the tables of the figures that were kept last."""
    head, mark, rest = (REFERENCE / "classification.md").read_text(encoding="utf-8").partition("<!-- figures -->\n")
    _, end, tail = rest.partition("<!-- end of figures -->")
    results = json.loads((ROOT / "evaluation/results/classification.json").read_text(encoding="utf-8"))
    return f"{head}{mark}\n{markdown(results)}\n\n{end}{tail}"


def sinks_page() -> str:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    text = (
        "# Sinks\n\nSystems that are delivered to, beside the broker of `[mqtt]`: each is a table `[sinks.NAME]` of the settings file, with the\n"
        "fields below and those of its kind. Sinks are added, changed and removed by a restart. What is promised of delivery, and how to\n"
        "watch it, is told in [deliver](../how-to/deliver.md). Passwords are named by their place, `env:NAME` or `file:PATH`.\n\n"
        '```toml\n[sinks.cloud]\nkind = "KIND"\nmeters = ["lab-*", "tag:solar"]\n```\n\n## All kinds\n\n'
        + table(
            ("field", "default", "meaning"), [(f"`{n}`", f"`{d}`" if d else "", t) for n, d, t in describe_common()]
        )
    )
    for name, place in sorted(points["headend.sinks"].items()):
        kind = EntryPoint(name, place, "headend.sinks").load()
        assert kind.name == name
        rows = list(describe_options(kind))
        assert all(meaning for _, _, meaning in rows), f"{name}: an option without a description"
        text += f"\n## {name}\n\n" + table(
            ("field", "default", "meaning"), [(f"`{n}`", f"`{d}`" if d else "", t) for n, d, t in rows]
        )
    return text


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
    "events.md": events_page,
    "sinks.md": sinks_page,
    "command-line.md": cli_page,
    "meters.md": meters_page,
    "quantities.md": quantities_page,
    "fingerprints.md": fingerprints_page,
    "obis.md": obis_page,
    "classification.md": classification_page,
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


def test_every_metric_that_a_page_names_is_real() -> None:
    known = set(re.findall(r"`(headend_\w+)`", metrics_page()))
    for page in (ROOT / "docs").rglob("*.md"):
        named = set(re.findall(r"\bheadend_[a-z_]*[a-z]\b", page.read_text()))
        assert not named - known, page
