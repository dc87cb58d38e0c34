"""The routes, one module for each part of the API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from headend.web.access import GuardedRoute, Principal
from headend.web.parts import WebParts
from headend.web.schemas.base import Problem


def router(tag: str, prefix: str = "/api/v1") -> APIRouter:
    """A router whose routes check who asks."""
    problem: dict[str, Any] = {
        "description": "A problem",
        "content": {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
    }
    return APIRouter(prefix=prefix, tags=[tag], route_class=GuardedRoute, responses={"4XX": problem, "5XX": problem})


def _parts(request: Request) -> WebParts:
    parts: WebParts = request.app.state.parts
    return parts


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


Parts = Annotated[WebParts, Depends(_parts)]
Asking = Annotated[Principal, Depends(_principal)]
