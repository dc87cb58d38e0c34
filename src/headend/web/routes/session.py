"""Logging in and out: who may is asked of the store, slowly enough for guessing to be hopeless."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from fastapi import Request
from fastapi.responses import Response

from headend.model.access import User
from headend.web.access import PUBLIC, SIGNED_IN, VIEWER, Authority, Principal
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import access as schemas
from headend.web.throttle import Throttle

api = router("access")


class Gate:
    """Checks passwords, few at a time and ever slower for whoever fails."""

    AT_ONCE = 2
    """a check takes tens of milliseconds and megabytes on purpose"""

    def __init__(self, parts: WebParts) -> None:
        self._access = parts.store.access
        self._pairs = Throttle(parts.clock, allowed=5, fade_seconds=30)
        self._peers = Throttle(parts.clock, allowed=20, fade_seconds=30)
        self._users = Throttle(parts.clock, allowed=100, fade_seconds=10)
        self._slots = asyncio.Semaphore(self.AT_ONCE)

    async def check(self, request: Request, name: str, password: str) -> User:
        """The user, or Refused. A failure counts for the name at that peer, for the peer, and for the name."""
        peer = _network(request.client.host if request.client else "")
        counted = ((self._pairs, f"{peer} {name}"), (self._peers, peer), (self._users, name))
        for throttle, key in counted:
            throttle.check(key)
            throttle.failed(key)  # counted before the check, so that guesses sent at once count too
        async with self._slots:
            user = await asyncio.to_thread(self._access.check_password, name, password)
        if user is None:
            raise Refused("login-failed", "the user name or the password is wrong")
        for throttle, key in counted:
            throttle.succeeded(key)
        return user


def _network(peer: str) -> str:
    """What one guesser has at least: an IPv4 address, or 64 bits of IPv6 addresses."""
    return ":".join(ip_address(peer).exploded.split(":")[:4]) if ":" in peer and "%" not in peer else peer


@api.post("/session", operation_id="login", openapi_extra=PUBLIC)
async def login(body: schemas.LoginIn, request: Request, response: Response, parts: Parts) -> schemas.Whoami:
    """Log in; the session travels in a cookie that scripts cannot read."""
    gate: Gate = request.app.state.gate
    user = await gate.check(request, body.user, body.password)
    principal = Principal(kind="user", name=user.name, role=user.role)
    authority: Authority = request.app.state.authority
    await authority.close(request.scope)
    response.set_cookie(
        authority.cookie,
        await authority.open(principal),
        max_age=parts.settings.session_seconds,
        secure=parts.settings.secure_cookie,
        httponly=True,
        samesite="strict",
    )
    return _whoami(principal)


@api.get("/session", operation_id="whoAmI", openapi_extra=VIEWER)
async def who_am_i(asking: Asking) -> schemas.Whoami:
    """Who asks: a user, a key, or nobody."""
    return _whoami(asking)


@api.delete("/session", operation_id="logout", status_code=204, openapi_extra=SIGNED_IN)
async def logout(request: Request, response: Response) -> None:
    """End the session."""
    authority: Authority = request.app.state.authority
    await authority.close(request.scope)
    response.delete_cookie(authority.cookie, secure=authority.secure, httponly=True, samesite="strict")


@api.put("/session/password", operation_id="changePassword", status_code=204, openapi_extra=SIGNED_IN)
async def change_password(body: schemas.PasswordChange, request: Request, asking: Asking, parts: Parts) -> None:
    """Change one's own password; all sessions of the user end."""
    if asking.kind != "user":
        raise Refused("permission-denied", "only a user has a password")
    gate: Gate = request.app.state.gate
    user = await gate.check(request, asking.name, body.old)
    await asyncio.to_thread(parts.store.access.put_user, user.name, user.role, body.new)
    authority: Authority = request.app.state.authority
    authority.forget("user", user.name)


def _whoami(principal: Principal) -> schemas.Whoami:
    return schemas.Whoami.model_validate({"kind": principal.kind, "name": principal.name, "role": principal.role})
