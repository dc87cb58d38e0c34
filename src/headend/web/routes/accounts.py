"""Who may use the head-end: users with passwords, and keys for machines. For administrators."""

from __future__ import annotations

import asyncio

from fastapi import Request

from headend.errors import Conflict, NotFound
from headend.model.access import ApiKey, Role, User
from headend.model.audit import Action
from headend.storage.access import Access
from headend.web.access import ADMIN, Authority, Principal
from headend.web.routes import Asking, Parts, router
from headend.web.schemas import access as schemas
from headend.web.times import parse_time

api = router("access")


def _user(access: Access, name: str) -> User | None:
    return next((user for user in access.users() if user.name == name), None)


def _keep_an_admin(access: Access, name: str) -> None:
    """Raise Conflict when `name` is the last administrator: nobody could undo it."""
    admins = [user.name for user in access.users() if user.role is Role.ADMIN]
    if admins == [name]:
        raise Conflict(f"{name} is the last administrator", hint="make another user an administrator first")


@api.get("/users", operation_id="listUsers", openapi_extra=ADMIN)
def list_users(parts: Parts) -> schemas.Users:
    """All users."""
    return schemas.Users(items=[_user_out(user) for user in parts.store.access.users()])


@api.post("/users", operation_id="createUser", status_code=201, openapi_extra=ADMIN)
def create_user(body: schemas.UserIn, parts: Parts, asking: Asking) -> schemas.UserOut:
    """Make a user."""
    access = parts.store.access
    if _user(access, body.name) is not None:
        raise Conflict(f"there is a user {body.name} already")
    made = access.put_user(body.name, body.role, body.password)
    _keep(parts, asking, Action.USER_CHANGED, f"user:{body.name}", made.role)
    return _user_out(made)


@api.patch("/users/{name}", operation_id="changeUser", openapi_extra=ADMIN)
async def change_user(
    name: str, body: schemas.UserChange, request: Request, parts: Parts, asking: Asking
) -> schemas.UserOut:
    """Give a user another role or password; the user's sessions end."""

    def change() -> User:
        access = parts.store.access
        user = _user(access, name)
        if user is None:
            raise NotFound(f"no user {name[:64]!r}")
        role = body.role or user.role
        if role is not Role.ADMIN:
            _keep_an_admin(access, name)
        made = access.put_user(name, role, body.password)
        _keep(parts, asking, Action.USER_CHANGED, f"user:{name}", role)
        return made

    changed = await asyncio.to_thread(change)
    authority: Authority = request.app.state.authority
    authority.forget("user", name)
    return _user_out(changed)


@api.delete("/users/{name}", operation_id="removeUser", status_code=204, openapi_extra=ADMIN)
async def remove_user(name: str, request: Request, parts: Parts, asking: Asking) -> None:
    """Remove a user; the user's sessions end."""

    def remove() -> None:
        _keep_an_admin(parts.store.access, name)
        parts.store.access.remove_user(name)
        _keep(parts, asking, Action.USER_REMOVED, f"user:{name}")

    await asyncio.to_thread(remove)
    authority: Authority = request.app.state.authority
    authority.forget("user", name)


@api.get("/keys", operation_id="listKeys", openapi_extra=ADMIN)
def list_keys(parts: Parts) -> schemas.Keys:
    """All keys, without their text."""
    found = parts.store.access.keys()
    return schemas.Keys(items=[_key_out(key) for key in found])


@api.post("/keys", operation_id="createKey", status_code=201, openapi_extra=ADMIN)
def create_key(body: schemas.KeyIn, parts: Parts, asking: Asking) -> schemas.KeyMade:
    """Make a key for a machine. The answer holds its text, once."""
    expires_at = None if body.expires_at is None else parse_time(str(body.expires_at), "body.expires_at")
    key = parts.store.access.create_key(body.name, body.role, expires_at=expires_at)
    _keep(parts, asking, Action.KEY_CREATED, f"key:{body.name}", body.role)
    return schemas.KeyMade(name=body.name, role=body.role, expires_at=expires_at, key=key)


@api.delete("/keys/{name}", operation_id="removeKey", status_code=204, openapi_extra=ADMIN)
async def remove_key(name: str, request: Request, parts: Parts, asking: Asking) -> None:
    """Remove a key: who uses it is refused from now on."""
    await asyncio.to_thread(parts.store.access.remove_key, name)
    await asyncio.to_thread(_keep, parts, asking, Action.KEY_REMOVED, f"key:{name}")
    authority: Authority = request.app.state.authority
    authority.forget("key", name)


def _keep(parts: Parts, asking: Principal, action: Action, subject: str, role: Role | None = None) -> None:
    """Keep a change of who may use the head-end in the audit trail."""
    data = {"role": role.value} if role is not None else {}
    parts.store.audit.append(f"{asking.kind}:{asking.name}", action, subject, data)


def _user_out(user: User) -> schemas.UserOut:
    return schemas.UserOut(name=user.name, role=user.role, created_at=user.created_at)


def _key_out(key: ApiKey) -> schemas.KeyOut:
    return schemas.KeyOut(
        name=key.name,
        role=key.role,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
    )
