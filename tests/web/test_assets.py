from __future__ import annotations

from pathlib import Path

import pytest

from headend.web import assets

from .support import world


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Headend</title>")
    (folder / "app.js").write_text("export {};")
    (folder / "app.4f2a9c1e.js").write_text("export {};")
    monkeypatch.setattr(assets, "FOLDER", folder)
    return folder


@pytest.mark.usefixtures("console")
async def test_the_console_and_its_files(tmp_path: Path) -> None:
    async with world(tmp_path, host="192.0.2.1") as head_end, head_end.client(base="http://192.0.2.1") as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["content-security-policy"].startswith("default-src 'self'")
        script = await client.get("/static/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "no-cache"
        same = await client.get("/static/app.js", headers={"If-None-Match": script.headers["etag"]})
        assert same.status_code == 304
        hashed = await client.get("/static/app.4f2a9c1e.js")
        assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize(
    "path", ["/static/../headend.db", "/static/%2e%2e/headend.db", "/static/nothing.js", "/static/"]
)
async def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"


async def test_without_a_console_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "nowhere")
    async with world(tmp_path) as head_end, head_end.client() as client:
        answer = await client.get("/")
        assert answer.status_code == 404
        assert answer.json()["hint"] == "the API is under /api/v1"
