"""JSON of whatever a meter may have said: the one way in which values leave as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson


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
