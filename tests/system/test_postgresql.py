"""The served head-end on a PostgreSQL server that crashes under it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres_server import Server, binaries, server

from .served import HeadEnd, Meters, configured, enter

FLEET = """
[[group]]
profile = "generic-dlms-1p"
count = 6
first_address = "127.38.0.1"
name = "meter-{number}"
"""
CRASHES = int(os.environ.get("HEADEND_DATABASE_CRASHES", "2"))
DURABLE = "-c max_connections=40 -c shared_buffers=32MB"


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server with the durability of a real one, which the test may stop."""
    if binaries() is None:
        pytest.skip("no PostgreSQL server is installed: make test installs it")
    with server(DURABLE) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * CRASHES)
def test_a_head_end_outlives_crashes_of_its_database(
    tmp_path: Path, own_server: Server, record_property: Callable[[str, object], None]
) -> None:
    name = own_server.make()
    settings = f'[storage]\nurl = "{own_server.url(name)}"\n'
    configured(tmp_path, settings)
    with Meters(tmp_path, FLEET) as meters:
        enter(tmp_path, meters.roster, 0.5)
        with HeadEnd(tmp_path, settings) as head_end:
            stored = head_end.wait_stored(100)
            for _ in range(CRASHES):
                own_server.stop("immediate")
                head_end.until("database does not take readings")
                own_server.start()
                head_end.until("database takes readings again")
                stored = head_end.wait_stored(stored + 100)
            assert len(head_end.get("api/v1/meters")["items"]) == 6
            assert head_end.stop() == 0, head_end.said
    ((count,),) = own_server.tell("SELECT count(*) FROM readings", name)
    assert isinstance(count, int)
    assert count >= stored
    record_property("crashes of the database", CRASHES)
    record_property("readings acknowledged", stored)
    record_property("readings in the database", count)
