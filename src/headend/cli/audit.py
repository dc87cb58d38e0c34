"""`audit`: the trail in the database of a head-end, running or not."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import typer

from headend.cli.output import print_json, print_table
from headend.model.audit import AuditRow
from headend.runtime.database import open_store
from headend.runtime.settings import settings_of


def verify(*, config: str | None, data: str | None, as_json: bool) -> None:
    """Check the chain; exit code 1 where it is broken."""
    with open_store(settings_of(config, data)) as store:
        flaws = store.audit.verify()
        last = store.audit.list(limit=1)
    if as_json:
        print_json([{"number": flaw.number, "text": flaw.text} for flaw in flaws])
    elif flaws:
        print_table(("row", "what is wrong"), [(flaw.number, flaw.text) for flaw in flaws])
    else:
        typer.echo(f"the audit trail is whole: {last[0].number if last else 0} rows")
    if flaws:
        raise typer.Exit(1)


def list_rows(*, actor: str, subject: str, limit: int, config: str | None, data: str | None, as_json: bool) -> None:
    """The newest rows."""
    with open_store(settings_of(config, data)) as store:
        rows = store.audit.list(actor=actor or None, subject=subject or None, limit=limit)
    if as_json:
        print_json([_document(row) for row in rows])
        return
    print_table(
        ("row", "time", "actor", "action", "subject", "data"),
        [(row.number, _time(row.at), row.actor, row.action, row.subject, _text(row)) for row in rows],
    )


def export(*, config: str | None, data: str | None) -> None:
    """All rows, a line each."""
    with open_store(settings_of(config, data)) as store:
        for row in store.audit.rows():
            typer.echo(orjson.dumps(_document(row)).decode())


def _document(row: AuditRow) -> dict[str, object]:
    return {
        "number": row.number,
        "at": row.at,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "data": dict(row.data),
        "digest": row.digest.hex(),
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(row: AuditRow) -> str:
    return " ".join(f"{name}={value}" for name, value in row.data.items())
