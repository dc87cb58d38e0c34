"""The web application: routes, guard and live feed put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.middleware.cors import CORSMiddleware

from headend.services.freshness import Watch
from headend.web import assets, problems
from headend.web.access import PUBLIC, VIEWER, Authority, GuardedRoute
from headend.web.guard import Guard
from headend.web.live import LiveFeed
from headend.web.parts import WebParts
from headend.web.pulse import Pulse
from headend.web.routes import (
    accounts,
    acquisition,
    alarms,
    audit,
    bridge,
    callers,
    captures,
    completeness,
    decode,
    devices,
    earlier,
    emulators,
    events,
    exports,
    imports,
    jobs,
    lanes,
    live,
    mbmd,
    meters,
    plain,
    profiles,
    readings,
    scans,
    session,
    sinks,
    statistics,
    system,
    talk,
)
from headend.web.schemas.base import Problem
from headend.web.shared import Shared

TICK_SECONDS = 1.0

DESCRIPTION = """
Meters, readings, live values and commands of a head-end system.

Times are milliseconds since 1970-01-01T00:00Z, or ISO 8601 with a zone where they are parameters; ranges are half-open.
Amounts are in the base unit of their quantity (Wh, W, V, A, Hz). Errors are `application/problem+json` (RFC 9457).
`x-access` of an operation names the role that it needs.
"""


def create_app(parts: WebParts) -> FastAPI:
    """The application. Its lifespan runs the live feed, so it must be entered: uvicorn does, tests do."""
    settings = parts.settings
    feed = LiveFeed(
        parts.clock,
        parts.millis,
        max_clients=settings.max_live_clients,
        watch=Watch(parts.roster, parts.millis, parts.freshness),
    )

    pulse = Pulse(parts.clock)

    async def tick() -> None:
        while True:
            pulse.beat(parts.writer.acknowledged)
            await asyncio.sleep(TICK_SECONDS)
            feed.tick()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = (
                tasks.create_task(feed.follow(parts.bus), name="live-feed"),
                tasks.create_task(tick(), name="web-tick"),
            )
            yield
            for task in running:
                task.cancel()

    app = FastAPI(
        title="Headend",
        version=parts.version,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        separate_input_output_schemas=False,
    )
    app.router.route_class = GuardedRoute
    app.state.parts = parts
    app.state.authority = Authority(parts)
    app.state.gate = session.Gate(parts)
    app.state.feed = feed
    app.state.pulse = pulse
    app.state.shared = Shared()
    for module in (
        statistics,
        system,
        session,
        accounts,
        acquisition,
        meters,
        imports,
        readings,
        exports,
        talk,
        jobs,
        events,
        alarms,
        audit,
        lanes,
        live,
        plain,
        decode,
        captures,
        completeness,
        callers,
        sinks,
        profiles,
        emulators,
        scans,
        devices,
        earlier,
        bridge,
    ):
        app.include_router(module.api)
    app.include_router(system.root)
    if settings.mbmd:
        app.include_router(mbmd.mbmd(parts.millis()))
    _describe(app)
    _serve_console(app)
    problems.install(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Last-Event-ID", "Prefer"],
            expose_headers=["ETag", "Link", "Location", "Retry-After"],
        )
    app.add_middleware(Guard, settings=settings)
    return app


def _describe(app: FastAPI) -> None:
    """Serve the description of the API, with how to authenticate."""

    @app.get("/api/v1/openapi.json", include_in_schema=False, openapi_extra=VIEWER)
    def openapi() -> dict[str, Any]:
        return describe(app)


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = app.openapi()
    # Named once, not by each route as its model: that would take a third of the time in which the routes are made.
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= {**problem.pop("$defs"), Problem.__name__: problem}
    document["components"]["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "The key of a machine"},
        "session": {"type": "apiKey", "in": "cookie", "name": app.state.authority.cookie, "description": "A login"},
    }
    return document


def _serve_console(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False, openapi_extra=PUBLIC)
    def index() -> Response:
        return assets.index(assets.FOLDER)

    if assets.FOLDER.is_dir():
        app.mount("/static", assets.Assets(directory=assets.FOLDER), name="static")
