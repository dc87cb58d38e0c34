"""JSON made once, as octets: what is large never passes through a model."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
from fastapi.responses import Response

from headend.drivers.mapping import octets_to_text
from headend.model.objects import RawValue


def dumps(content: Any) -> bytes:  # noqa: ANN401 # whatever JSON can hold
    """JSON octets. What orjson refuses (integers beyond 64 bits, lone surrogates) takes the slow way."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        return json.dumps(_finite(content)).encode()


def _finite(content: Any) -> Any:  # noqa: ANN401 # ditto
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def ready(content: Any, status: int = 200) -> Response:  # noqa: ANN401 # ditto
    """A response of ready octets."""
    return Response(dumps(content), status, media_type="application/json")


def plain(raw: RawValue) -> Any:  # noqa: ANN401 # ditto
    """A raw value of a protocol as JSON: octets as text or hexadecimal, structures as lists."""
    if isinstance(raw, bytes | bytearray):
        return octets_to_text(bytes(raw))
    return [plain(item) for item in raw] if isinstance(raw, list) else raw
