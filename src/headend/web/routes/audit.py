"""The audit trail, for administrators."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from headend.model.audit import AuditRow
from headend.web.access import ADMIN
from headend.web.encode import ready
from headend.web.routes import Parts, router
from headend.web.schemas import jobs as schemas

api = router("audit")


@api.get("/audit", operation_id="listAudit", response_model=schemas.AuditPage, openapi_extra=ADMIN)
async def list_audit(
    parts: Parts,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    action: Annotated[str | None, Query(max_length=64)] = None,
    subject: Annotated[str | None, Query(max_length=200, examples=["meter:m1"])] = None,
    before: Annotated[int | None, Query(ge=0, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Rows of the audit trail, newest first."""
    found = await asyncio.to_thread(
        parts.store.audit.list, actor=actor, action=action, subject=subject, before=before, limit=limit
    )
    return ready(
        {"items": [audit_row(row) for row in found], "next": found[-1].number if len(found) == limit else None}
    )


@api.get("/audit/check", operation_id="checkAudit", response_model=schemas.AuditCheck, openapi_extra=ADMIN)
async def check_audit(parts: Parts) -> Response:
    """Check the chain of the whole trail."""
    flaws = await asyncio.to_thread(parts.store.audit.verify)
    listed = [{"number": flaw.number, "text": flaw.text} for flaw in flaws]
    return ready({"verdict": "broken" if flaws else "whole", "flaws": listed})


def audit_row(row: AuditRow) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        "number": row.number,
        "at": row.at,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "data": dict(row.data),
        "digest": row.digest.hex(),
    }
