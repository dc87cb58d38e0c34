"""Logins, users and keys."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from headend.model.access import Role
from headend.web.schemas.base import In, Name


class LoginIn(In):
    """A login."""

    user: str = Field(min_length=1, max_length=64, examples=["ada"])
    password: str = Field(min_length=1, max_length=256)


class Whoami(BaseModel):
    """Who asks: a user, a key, or nobody (who may read on this machine)."""

    kind: Literal["user", "key", "nobody"]
    name: str
    role: Role


class UserOut(BaseModel):
    """Somebody who logs in."""

    name: str
    role: Role
    created_at: int


class Users(BaseModel):
    """All users."""

    items: list[UserOut]


class UserIn(In):
    """A new user."""

    name: Name = Field(examples=["ada"])
    role: Role
    password: str = Field(min_length=10, max_length=256)


class UserChange(In):
    """A new role or password; what is absent stays."""

    role: Role | None = None
    password: str | None = Field(None, min_length=10, max_length=256)


class PasswordChange(In):
    """The user's own new password."""

    old: str = Field(min_length=1, max_length=256)
    new: str = Field(min_length=10, max_length=256)


class KeyOut(BaseModel):
    """The key of a machine; the key itself is shown once, when it is made."""

    name: str
    role: Role
    created_at: int
    expires_at: int | None
    last_used_at: int | None = Field(description="to the minute")


class Keys(BaseModel):
    """All keys."""

    items: list[KeyOut]


class KeyIn(In):
    """A new key."""

    name: Name = Field(examples=["poller-1"])
    role: Role
    expires_at: int | str | None = Field(None, examples=["2027-01-01T00:00:00Z"])


class KeyMade(BaseModel):
    """A key that was made, with its text."""

    name: str
    role: Role
    expires_at: int | None
    key: str
