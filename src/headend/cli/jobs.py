"""`job`: the jobs of a running head-end, over its REST."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

from headend.cli.output import print_json, print_table
from headend.errors import Conflict, ConnectRefused, HeadendError, NotFound, PermissionDenied
from headend.runtime.secrets import resolve_secret
from headend.runtime.settings import settings_of

Place: TypeAlias = tuple[str | None, str, str]
"""Settings file, address of the head-end (or none), where the API key is."""
SECONDS: Final = 70.0
"""for an answer, which may wait a minute for the end of a job"""
_ERRORS: Final = {401: PermissionDenied, 403: PermissionDenied, 404: NotFound, 409: Conflict}


def list_jobs(place: Place, *, meter: str, states: str, limit: int, as_json: bool) -> None:
    """Jobs, the newest first."""
    asked = {"meter_id": meter, "states": states, "limit": limit}
    found = ask(place, "GET", "jobs?" + urlencode({name: value for name, value in asked.items() if value}))
    if as_json:
        print_json(found["items"])
    else:
        rows = [
            (job["id"], job["meter_id"], job["kind"], job["actor"], job["state"], _said(job)) for job in found["items"]
        ]
        print_table(("job", "meter", "command", "actor", "state", "outcome"), rows)


def show(place: Place, job_id: str, *, as_json: bool) -> None:
    """One job."""
    _print(ask(place, "GET", f"jobs/{quote(job_id, safe='')}"), as_json=as_json)


def confirm(place: Place, job_id: str, code: str, *, as_json: bool) -> None:
    """Confirm a job."""
    path = f"jobs/{quote(job_id, safe='')}/confirm"
    _print(ask(place, "POST", path, {"code": code}), as_json=as_json)


def cancel(place: Place, job_id: str, *, as_json: bool) -> None:
    """Take a job back."""
    _print(ask(place, "DELETE", f"jobs/{quote(job_id, safe='')}"), as_json=as_json)


def _print(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        shown = {name: value for name, value in job.items() if value not in (None, "", [], {})}
        print_table(("what", "value"), list(shown.items()))


def _said(job: dict[str, Any]) -> str:
    return " ".join(filter(None, (job["verdict"], job["detail"] or job["note"])))


def ask(place: Place, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """An answer of REST; its problems are errors of the tree."""
    config, server, key = place
    web = settings_of(config, None).web
    base = server.rstrip("/") or f"{'https' if web.tls_certificate else 'http'}://{web.host}:{web.port}"
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
    if (
        method != "GET" or key != "env:HEADEND_KEY" or "HEADEND_KEY" in os.environ
    ):  # reading may need none on this machine
        headers["Authorization"] = f"Bearer {resolve_secret(key, 'the API key').reveal().decode()}"
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
        f"{base}/api/v1/{path}", None if body is None else json.dumps(body).encode(), headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - ditto
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            problem = _problem(error.read())
        kind = _ERRORS.get(error.code, HeadendError)
        raise kind(str(problem.get("detail", error)), hint=str(problem.get("hint", ""))) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConnectRefused(f"no head-end answers at {base}: {reason}", hint="start it with headend serve") from error


def _problem(octets: bytes) -> dict[str, Any]:
    try:
        found = json.loads(octets)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
