"""The files of the console: `index.html` at `/`, everything else under `/static/`.

A file whose name holds a hash of its content (`app.4f2a9c1e.js`) never changes and is kept for a year; others are asked for
again each time, which costs a 304 when they are the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from headend.errors import NotFound

FOLDER = Path(__file__).parent / "static"
_HASHED = re.compile(r"\.[0-9a-f]{8,64}\.[a-z0-9]+$")


class Assets(StaticFiles):
    """Static files with the right life in caches."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or a 304."""
        response = await super().get_response(path, scope)
        kept = "public, max-age=31536000, immutable" if _HASHED.search(path) else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


def index(folder: Path) -> Response:
    """The page of the console; raises NotFound when the console is not part of this installation."""
    page = folder / "index.html"
    if not page.is_file():
        raise NotFound("this installation has no console", hint="the API is under /api/v1")
    return FileResponse(page, headers={"Cache-Control": "no-cache"})
