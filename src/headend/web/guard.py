"""The gate before the application: Host and Origin, size and pace of the request, headers of the response.

A page of another origin reaches a server on loopback through the browser of whoever sits there, and with a name that
its owner points to 127.0.0.1 it even has the same origin. So the Host must be one of ours, and a request that carries an
Origin must carry ours, or one that the settings name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headend.web import problems
from headend.web.problems import Refused
from headend.web.settings import WebSettings, is_address, is_loopback

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)

_log = structlog.get_logger(__name__)


class Guard:
    """ASGI middleware around the whole application. It also answers what nobody expected: a bug is logged, never shown."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, and finish the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def finish(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        try:
            headers = Headers(scope=scope)
            check_host(headers, self._settings)
            check_origin(scope, headers, self._settings.cors_origins)
            await self._app(scope, self._paced(headers, receive), finish)
        except Refused as refused:
            await problems.from_refusal(refused)(scope, receive, finish)
        except Exception:
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            await problems.from_bug()(scope, receive, finish)

    def _paced(self, headers: Headers, receive: Receive) -> Receive:
        """`receive` that counts octets and watches the clock."""
        limit = self._settings.max_body_octets
        too_large = Refused("too-large", f"the body is larger than {limit} octets")
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")[:15]) > limit:
            raise too_large
        seconds = self._settings.request_seconds
        due = asyncio.get_running_loop().time() + seconds
        size, complete = 0, False

        async def paced() -> Message:
            nonlocal size, complete
            if complete:  # what comes now is the end of the connection, and may take as long as the answer does
                return await receive()
            try:
                async with asyncio.timeout_at(due):
                    message = await receive()
            except TimeoutError:
                raise Refused("request-timeout", f"the body did not arrive within {seconds:g} s") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > limit:
                raise too_large
            return message

        return paced


def check_host(headers: Headers, settings: WebSettings) -> None:
    """Raise Refused for a Host that is not ours."""
    host = host_name(headers.get("host", ""))
    named = any(host == name.lower() for name in settings.allowed_hosts)
    if is_loopback(host) or named or (is_address(host) and not settings.on_loopback):
        return
    raise Refused(
        "host-not-allowed",
        f"this server does not answer as {host[:100]!r}",
        hint="add the name to the setting web.allowed_hosts",
    )


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def same_origin(scope: Scope, headers: Headers) -> bool:
    """True when a browser says that the request comes from one of our own pages, or when no page is behind it."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    parts = urlsplit(origin)
    return parts.netloc.lower() == headers.get("host", "").lower() and (
        scope["scheme"] != "https" or parts.scheme == "https"
    )


def check_origin(scope: Scope, headers: Headers, allowed: tuple[str, ...]) -> None:
    """Raise Refused for what a page of another origin may not do.

    Without an Origin header only reading passes from elsewhere: links to the console do, and what they bring stays with
    the browser (Cross-Origin-Resource-Policy).
    """
    origin = headers.get("origin")
    if origin in allowed or same_origin(scope, headers):
        return
    if origin is None and scope["method"] in SAFE_METHODS:
        return
    raise Refused(
        "origin-not-allowed",
        f"pages of {(origin or 'another origin')[:100]} may not call this server",
        hint="add the origin to the setting web.cors_origins",
    )
