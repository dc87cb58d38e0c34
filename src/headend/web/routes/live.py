"""Live values as server-sent events."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from headend.web.access import VIEWER
from headend.web.live import TOPICS, EventStream, LiveFeed
from headend.web.problems import Refused
from headend.web.routes import router

api = router("live")


@api.get(
    "/live",
    operation_id="followLive",
    response_class=Response,
    responses={200: {"description": "A stream of events", "content": {"text/event-stream": {}}}},
    openapi_extra=VIEWER,
)
async def follow_live(
    request: Request,
    topics: Annotated[
        str, Query(description="`readings`, `status`, `connections`, `events`, with commas between")
    ] = ",".join(TOPICS),
    meters: Annotated[str, Query(description="only these meter ids, with commas between", max_length=20_000)] = "",
) -> Response:
    """Follow readings, states and events as they come, at most one frame of each a second.

    The latest value of every quantity that changed since the last frame is in it. There is no replay: read
    `/api/v1/readings/latest` after (re)connecting. A comment comes every 15 seconds when nothing else does.
    """
    wanted = [topic for topic in topics.split(",") if topic]
    unknown = [topic for topic in wanted if topic not in TOPICS]
    if unknown or not wanted:
        raise Refused("invalid-request", f"topics: expected some of {', '.join(TOPICS)}", field="query.topics")
    feed: LiveFeed = request.app.state.feed

    async def known() -> bool:
        try:
            return await request.app.state.authority.who(request.scope) is not None
        except Refused:
            return False

    return EventStream(feed, feed.join(wanted, [meter for meter in meters.split(",") if meter]), known)
