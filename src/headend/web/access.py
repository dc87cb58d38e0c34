"""Who asks, and what they may do: roles, API keys, logins, and the rule that every route carries.

| Who | How | May |
| --- | --- | --- |
| nobody | no credential, on this machine only, unless `public_read` is off | what a viewer may |
| viewer | user or key | read what is stored, follow live values |
| operator | user or key | also talk to meters, submit readings, acknowledge |
| admin | user or key | also change meters, users and keys |

Beyond loopback nobody is nobody: every route but the public ones (health, login, the console's files) needs a credential.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
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

from headend.model.access import Role
from headend.web.guard import host_name, same_origin
from headend.web.parts import AccessStore
from headend.web.problems import Refused
from headend.web.settings import WebSettings, is_loopback

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

        async def guarded(request: Request) -> Response:
            if needed is not None:
                principal = await request.app.state.authority.who(request.scope)
                _permit(principal, needed, signed_in=rule != "viewer")
                request.state.principal = principal
            await request.body()
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
class _Login:
    principal: Principal
    ends: float


class Authority:
    """Knows who is who: API keys from the store (remembered for seconds), logins of this process."""

    KEY_SECONDS = 5.0
    """how long a checked key is remembered, so that a revoked one dies within it"""
    MAX_REMEMBERED = 4096

    def __init__(self, access: AccessStore, settings: WebSettings, clock: Callable[[], float]) -> None:
        self._access = access
        self._settings = settings
        self._clock = clock
        self._logins: OrderedDict[bytes, _Login] = OrderedDict()
        self._keys: OrderedDict[bytes, _Login] = OrderedDict()
        self.secure = settings.secure_cookie
        self.cookie = "__Host-headend" if self.secure else "headend"

    async def who(self, scope: Scope) -> Principal | None:
        """Who sent a request; None when they should say so and did not. Raises Refused for a wrong credential."""
        headers = Headers(scope=scope)
        authorization = headers.get("authorization")
        if authorization is not None:
            return await self._by_key(authorization)
        if same_origin(scope, headers):
            login = self._login_of(scope)
            if login is not None:
                if scope["method"] not in ("GET", "HEAD") and "origin" not in headers:
                    raise Refused("origin-not-allowed", "a change under a login needs the header Origin")
                return login
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
        digest = _digest(key.strip())
        if scheme.lower() == "bearer":
            known = self._keys.get(digest)
            if known is not None and self._clock() < known.ends:
                return known.principal
            found = await asyncio.to_thread(self._access.check_key, key.strip())
            if found is not None:
                principal = Principal(kind="key", name=found.name, role=found.role)
                _remember(self._keys, digest, _Login(principal, self._clock() + self.KEY_SECONDS), self.MAX_REMEMBERED)
                return principal
        raise Refused(
            "unauthenticated",
            "the API key is not valid",
            headers={"WWW-Authenticate": 'Bearer realm="headend", error="invalid_token"'},
        )

    def _login_of(self, scope: Scope) -> Principal | None:
        token = Request(scope).cookies.get(self.cookie)
        if token is None:
            return None
        digest = _digest(token)
        login = self._logins.get(digest)
        if login is None:
            return None
        if self._clock() >= login.ends:
            del self._logins[digest]
            return None
        return login.principal

    def open(self, principal: Principal) -> str:
        """Start a login; returns the token for the cookie."""
        token = secrets.token_urlsafe(32)
        ends = self._clock() + self._settings.session_seconds
        _remember(self._logins, _digest(token), _Login(principal, ends), self.MAX_REMEMBERED)
        return token

    def close(self, scope: Scope) -> None:
        """End the login of a request."""
        token = Request(scope).cookies.get(self.cookie)
        if token is not None:
            self._logins.pop(_digest(token), None)

    def forget(self, kind: str, name: str) -> None:
        """End all logins of a user, or stop remembering a key, because it was changed."""
        for known in (self._logins, self._keys):
            for digest, login in list(known.items()):
                if (login.principal.kind, login.principal.name) == (kind, name):
                    del known[digest]


def _digest(token: str) -> bytes:
    """What is kept of a token: enough to know it again, and nothing that the clock could tell about it."""
    return hashlib.sha256(token.encode()).digest()


def _remember(known: OrderedDict[bytes, _Login], digest: bytes, login: _Login, limit: int) -> None:
    known[digest] = login
    known.move_to_end(digest)
    while len(known) > limit:
        known.popitem(last=False)
