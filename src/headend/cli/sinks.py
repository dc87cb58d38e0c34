"""`sinks`: the systems that a running head-end delivers to, over its REST."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import typer

from headend.cli.jobs import Place, ask
from headend.cli.output import print_json, print_table
from headend.model.reading import from_millis


def list_sinks(place: Place, *, as_json: bool) -> None:
    """All sinks."""
    found = ask(place, "GET", "sinks")["items"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["name"],
            each["kind"],
            _connected(each),
            str(each["delivered"]),
            str(each["refused"]),
            _lost(each),
            str(each["backlog"]),
            f"{each['lag_seconds']:.0f} s",
        )
        for each in found
    ]
    print_table(("sink", "kind", "connected", "delivered", "refused", "lost", "backlog", "lag"), rows)


def show(place: Place, name: str, *, as_json: bool) -> None:
    """One sink."""
    found = ask(place, "GET", _path(name))
    if as_json:
        print_json(found)
    else:
        times = ("connected_since", "last_error_at", "oldest", "lost_from", "lost_until")
        rows = [(key, _time(value) if key in times else str(value)) for key, value in found.items()]
        print_table(("what", "value"), rows)


def refused(place: Place, name: str, *, as_json: bool) -> None:
    """What a sink will never take."""
    found = ask(place, "GET", f"{_path(name)}/refused")["items"]
    if as_json:
        print_json(found)
    else:
        rows = [(each["id"], _time(each["at"]), each["what"], each["meter_id"], each["reason"]) for each in found]
        print_table(("id", "at", "what", "meter", "reason"), rows)


def retry(place: Place, name: str, entry: str) -> None:
    """Try an entry once more."""
    ask(place, "POST", f"{_path(name)}/refused/{quote(entry, safe='')}/retry", {})
    typer.echo("tried again; `headend sinks refused` lists it until it is taken")


def replay(place: Place, name: str, since: str, until: str) -> None:
    """Deliver again."""
    found = ask(place, "POST", f"{_path(name)}/replay", {"since": since, "until": until})
    typer.echo(f"{found['entries']} entries are delivered again")


def _connected(sink: dict[str, Any]) -> str:
    if not sink["enabled"]:
        return "switched off"
    since = sink["connected_since"]
    return f"since {_time(since)}" if since else f"away: {sink['last_error']}"


def _lost(sink: dict[str, Any]) -> str:
    if not sink["lost"]:
        return "0"
    return f"{sink['lost']}, stored from {_time(sink['lost_from'])} to {_time(sink['lost_until'])}"


def _path(name: str) -> str:
    return f"sinks/{quote(name, safe='')}"


def _time(millis: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return from_millis(millis).isoformat(timespec="seconds") if millis else ""
