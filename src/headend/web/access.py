"""Who asks, and what they may do: roles, API keys, logins, and the rule that every route carries.

| Who | How | May |
| --- | --- | --- |
| nobody | no credential, on this machine only, unless `public_read` is off | what a viewer may |
| viewer | user or key | read what is stored, follow live values |
| operator | user or key | also read meters now, set clocks, freeze registers, submit readings, acknowledge |
| dispatcher | user or key | also switch supply, reset demand, write, invoke; confirm what others propose |
| admin | user or key | also change meters and their secrets, clear them, change users and keys |

Beyond loopback nobody is nobody: every route but the public ones (health, login, the console's files) needs a credential.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.types import Scope

from headend import tracing
from headend.model.access import Role
from headend.web.guard import SAFE_METHODS, host_name, same_origin
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.settings import is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""headers of a proxy: who comes through one is not on this machine"""

_SECURITY: list[dict[str, list[str]]] = [{"apiKey": []}, {"session": []}]


def _rule(name: str) -> dict[str, Any]:
    return {"x-access": name, "security": [] if name == "public" else _SECURITY}


PUBLIC = _rule("public")
VIEWER = _rule("viewer")
OPERATOR = _rule("operator")
ADMIN = _rule("admin")
SIGNED_IN = _rule("signed-in")
"""any role, but somebody: also on this machine"""

_NEEDED: Mapping[str, Role | None] = MappingProxyType(
    {"public": None, "viewer": Role.VIEWER, "signed-in": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `kind` is user, key or nobody."""

    kind: str
    name: str
    role: Role


NOBODY = Principal(kind="nobody", name="", role=Role.VIEWER)


class GuardedRoute(APIRoute):
    """A route that checks its own access rule before it reads the body. A route without a rule cannot be made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the check."""
        rule = (self.openapi_extra or {})["x-access"]
        needed = _NEEDED[rule]
        handler = super().get_route_handler()
        name = f"{' '.join(sorted(self.methods or ()))} {self.path_format}"

        async def guarded(request: Request) -> Response:
            if needed is not None:
                principal = await request.app.state.authority.who(request.scope)
                _permit(principal, needed, signed_in=rule != "viewer")
                request.state.principal = principal
            await request.body()
            with tracing.span(name, request.headers):
                return await handler(request)

        return guarded


def _permit(principal: Principal | None, needed: Role, *, signed_in: bool) -> None:
    if principal is None or (signed_in and principal is NOBODY):
        raise Refused(
            "unauthenticated",
            "this needs an API key or a login",
            hint="send Authorization: Bearer KEY, or log in by POST /api/v1/session",
            headers={"WWW-Authenticate": 'Bearer realm="headend"'},
        )
    if not principal.role.includes(needed):
        raise Refused(
            "permission-denied", f"this needs the role {needed.value}, {principal.name} is {principal.role.value}"
        )


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    until: float


class Authority:
    """Knows who is who, by API keys and logins. The store decides; what it said is remembered for seconds."""

    REMEMBERED_SECONDS = 5.0
    """how long a revoked key or ended login may still work, where it was ended by another process"""
    MAX_REMEMBERED = 4096

    def __init__(self, parts: WebParts) -> None:
        self._access = parts.store.access
        self._logins = parts.store.logins
        self._settings = parts.settings
        self._clock = parts.clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self.secure = parts.settings.secure_cookie
        self.cookie = "__Host-headend" if self.secure else "headend"

    async def who(self, scope: Scope) -> Principal | None:
        """Who sent a request; None when they should say so and did not. Raises Refused for a wrong credential."""
        headers = Headers(scope=scope)
        authorization = headers.get("authorization")
        if authorization is not None:
            return await self._by_key(authorization)
        token = Request(scope).cookies.get(self.cookie)
        if token is not None and same_origin(scope, headers):
            principal = await self._recognise(token, self._find_login)
            if principal is not None:
                if scope["method"] not in SAFE_METHODS and "origin" not in headers:
                    raise Refused("origin-not-allowed", "a change under a login needs the header Origin")
                return principal
        return NOBODY if self._is_local(scope, headers) else None

    def _is_local(self, scope: Scope, headers: Headers) -> bool:
        """True for this machine itself, not for what a proxy on it passes on."""
        settings, peer = self._settings, scope.get("client")
        return (
            settings.public_read
            and settings.on_loopback
            and peer is not None
            and is_loopback(peer[0])
            and is_loopback(host_name(headers.get("host", "")))
            and not any(name in headers for name in _FORWARDED)
        )

    async def _by_key(self, authorization: str) -> Principal:
        scheme, _, key = authorization.partition(" ")
        principal = await self._recognise(key.strip(), self._find_key) if scheme.lower() == "bearer" else None
        if principal is None:
            raise Refused(
                "unauthenticated",
                "the API key is not valid",
                headers={"WWW-Authenticate": 'Bearer realm="headend", error="invalid_token"'},
            )
        return principal

    async def _recognise(self, token: str, find: Callable[[str], Principal | None]) -> Principal | None:
        """Whose token it is, from memory or from the store. Only a digest is kept, and only of tokens that are good."""
        digest = hashlib.sha256(f"{find.__name__} {token}".encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known.until:
            return known.principal
        self._known.pop(digest, None)
        principal = await asyncio.to_thread(find, token)
        if principal is not None:
            self._known[digest] = _Known(principal, self._clock() + self.REMEMBERED_SECONDS)
            if len(self._known) > self.MAX_REMEMBERED:
                self._known.popitem(last=False)
        return principal

    def _find_key(self, key: str) -> Principal | None:
        found = self._access.check_key(key)
        return None if found is None else Principal(kind="key", name=found.name, role=found.role)

    def _find_login(self, token: str) -> Principal | None:
        found = self._logins.user(token)
        return None if found is None else Principal(kind="user", name=found.name, role=found.role)

    async def open(self, principal: Principal) -> str:
        """Start a login; returns the token for the cookie."""
        settings = self._settings
        return await asyncio.to_thread(
            self._logins.open,
            principal.name,
            lifetime_ms=settings.session_seconds * 1000,
            idle_ms=settings.session_idle_seconds * 1000,
        )

    async def close(self, scope: Scope) -> None:
        """End the login of a request."""
        token = Request(scope).cookies.get(self.cookie)
        if token is not None:
            await asyncio.to_thread(self._logins.close, token)
            self._known.clear()

    def forget(self, kind: str, name: str) -> None:
        """A user or a key was changed: ask the store again."""
        for digest, known in list(self._known.items()):
            if (known.principal.kind, known.principal.name) == (kind, name):
                del self._known[digest]
