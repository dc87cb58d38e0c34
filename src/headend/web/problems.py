"""Errors on their way out: RFC 9457 problem details, from one table of codes.

```json
{"type": "/problems/not-found", "title": "Not found", "status": 404, "detail": "no meter 'x'", "code": "not-found",
 "hint": "", "errors": [{"field": "body.name", "expected": "a text"}]}
```

`code` is `HeadendError.code`, or one of the web's own. `GET /problems/CODE` says in a sentence what it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from headend import errors
from headend.errors import HeadendError

MEDIA_TYPE = "application/problem+json"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its HTTP status and what it means."""

    status: int
    meaning: str


def _doc(error: type[HeadendError]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]


def _own(error: type[HeadendError], status: int) -> tuple[str, Kind]:
    return error.code, Kind(status, _doc(error))


KINDS: Mapping[str, Kind] = MappingProxyType(
    dict(
        (
            _own(HeadendError, 500),
            _own(errors.ConfigError, 422),
            _own(errors.CapabilityError, 409),
            _own(errors.NotFound, 404),
            _own(errors.Conflict, 409),
            _own(errors.PermissionDenied, 403),
            _own(errors.ProbeEnded, 503),
            _own(errors.LinkError, 502),
            _own(errors.ConnectRefused, 502),
            _own(errors.LinkTimeout, 504),
            _own(errors.LinkClosed, 502),
            _own(errors.NotConnected, 503),
            _own(errors.ProtocolError, 502),
            _own(errors.LocalProtocolError, 500),
            _own(errors.RemoteProtocolError, 502),
            _own(errors.DecodeError, 502),
            _own(errors.MeterError, 502),
            _own(errors.AssociationRejected, 502),
            _own(errors.AccessDenied, 502),
            _own(errors.ObjectUndefined, 502),
            _own(errors.ServiceRefused, 502),
            _own(errors.Busy, 503),
            _own(errors.SecurityError, 502),
            _own(errors.AuthenticationFailed, 502),
            _own(errors.DecipherFailed, 502),
            _own(errors.ReplayDetected, 502),
            _own(errors.KeyMissing, 409),
            _own(errors.StorageError, 503),
            _own(errors.SinkError, 503),
            _own(errors.SinkRefused, 502),
            ("invalid-request", Kind(422, "A field of the request is missing or wrong; `errors` names it.")),
            ("malformed-request", Kind(400, "The request cannot be read as HTTP or JSON.")),
            ("unauthenticated", Kind(401, "This needs an API key or a login.")),
            ("login-failed", Kind(401, "The user name or the password is wrong.")),
            ("method-not-allowed", Kind(405, "The resource does not do this method.")),
            ("request-timeout", Kind(408, "The request took too long to arrive.")),
            ("precondition-failed", Kind(412, "The resource was changed since the revision named in If-Match.")),
            ("too-large", Kind(413, "The request is larger than the server takes.")),
            ("unsupported-media-type", Kind(415, "The body is not of a type that the server reads.")),
            ("host-not-allowed", Kind(421, "The server does not answer under this Host name.")),
            ("precondition-required", Kind(428, "A change needs If-Match with the revision that was read.")),
            ("too-many-requests", Kind(429, "Too many attempts; wait as long as Retry-After says.")),
            ("origin-not-allowed", Kind(403, "A web page of another origin may not do this.")),
            ("http", Kind(400, "The HTTP request cannot be served.")),
        )
    )
)
"""code -> status and meaning: the only place where errors become statuses"""

# statuses that the framework raises by itself -> our codes
_FRAMEWORK = {
    400: "malformed-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


class Refused(Exception):
    """The web layer's own refusals; `code` is a key of KINDS."""

    def __init__(
        self, code: str, detail: str, *, hint: str = "", field: str = "", headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.hint, self.headers = code, detail, hint, headers
        self.errors = [{"field": field, "expected": detail}] if field else []


def problem(
    code: str,
    detail: str,
    *,
    hint: str = "",
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] = NO_HEADERS,
    status: int | None = None,
) -> Response:
    """A problem+json response."""
    status = status or KINDS[code].status
    title = HTTPStatus(status).phrase if code == "http" else code.replace("-", " ").capitalize()
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if hint:
        body["hint"] = hint
    if errors:
        body["errors"] = list(errors)
    return Response(orjson.dumps(body), status, headers=dict(headers), media_type=MEDIA_TYPE)


def from_error(error: HeadendError) -> Response:
    """The response to an error of the tree."""
    code = error.code if error.code in KINDS else HeadendError.code
    headers = {"Retry-After": "5"} if KINDS[code].status == HTTPStatus.SERVICE_UNAVAILABLE else NO_HEADERS
    return problem(code, error.message, hint=error.hint, headers=headers)


def from_refusal(refused: Refused) -> Response:
    """The response to a refusal."""
    return problem(refused.code, refused.detail, hint=refused.hint, errors=refused.errors, headers=refused.headers)


def from_bug() -> Response:
    """The response to an exception that nobody expected; what it was stands in the log."""
    return problem("error", "the head-end failed to answer this request", hint="see the log of the head-end")


def _from_http(error: HTTPException) -> Response:
    code = _FRAMEWORK.get(error.status_code, "http")
    return problem(code, str(error.detail), headers=error.headers or NO_HEADERS, status=error.status_code)


def _from_validation(error: RequestValidationError) -> Response:
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        return problem("malformed-request", "the body is not JSON")
    fields = [
        {"field": ".".join(str(part) for part in item["loc"]), "expected": _expected(item["msg"])} for item in found
    ]
    return problem("invalid-request", f"{fields[0]['field']}: {fields[0]['expected']}", errors=fields)


def _expected(message: str) -> str:
    """The message of pydantic without its prefix; it tells what is expected and never repeats the input."""
    return message.removeprefix("Value error, ")


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""

    async def handle(_request: Request, error: Exception) -> Response:
        match error:
            case HeadendError():
                return from_error(error)
            case Refused():
                return from_refusal(error)
            case RequestValidationError():
                return _from_validation(error)
            case _:
                return _from_http(cast("HTTPException", error))

    for kind in (HeadendError, Refused, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
