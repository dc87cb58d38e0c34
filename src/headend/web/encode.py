"""JSON made once, as octets: what is large never passes through a model."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from headend.drivers.mapping import octets_to_text
from headend.model.jsontext import dumps
from headend.model.objects import RawValue


def ready(content: Any, status: int = 200) -> Response:  # noqa: ANN401 # ditto
    """A response of ready octets."""
    return Response(dumps(content), status, media_type="application/json")


def plain(raw: RawValue) -> Any:  # noqa: ANN401 # ditto
    """A raw value of a protocol as JSON: octets as text or hexadecimal, structures as lists."""
    if isinstance(raw, bytes | bytearray):
        return octets_to_text(bytes(raw))
    return [plain(item) for item in raw] if isinstance(raw, list) else raw
