"""What only a database server does: it goes away, comes back, is full, is somebody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from headend.errors import ConfigError, StorageError
from headend.model.audit import Action
from headend.model.event import Event, EventType, Severity
from headend.model.reading import ReadingBatch, Source
from headend.services import writer as writing
from headend.services.bus import Bus
from headend.services.writer import Writer
from headend.storage import postgres as module
from headend.storage.postgres_url import parse_postgres_url
from headend.storage.store import Store
from tests.postgres_server import Server, server

from .conftest import again, settle

DAY = 86_400_000
NOON = 1_772_366_400_000


def batch(first: int, rows: int = 100, meter: str = "m1") -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter,
        source=Source.POLL,
        received_at=NOON + (first + rows) * 1000,
        quantities=["e"] * rows,
        values=[float(first + n) for n in range(rows)],
        measured_at=[NOON + (first + n) * 1000 for n in range(rows)],
        quality=[0] * rows,
    )


def name_of(store: Store) -> str:
    return store.name.partition("@/")[2].partition("?")[0]


# --- the URL ---


@pytest.mark.parametrize(
    ("text", "parameters", "name"),
    [
        (
            "postgresql://ada@db.example:5433/head%20end?sslmode=verify-full",
            {"user": "ada", "host": "db.example", "port": "5433", "dbname": "head end", "sslmode": "verify-full"},
            "postgresql://ada@db.example:5433/head%20end?sslmode=verify-full",
        ),
        ("postgres://[2001:db8::1]/h", {"host": "2001:db8::1", "dbname": "h"}, "postgresql://[2001:db8::1]/h"),
        (
            "postgresql:///h?host=/run/postgresql",
            {"host": "/run/postgresql", "dbname": "h"},
            "postgresql:///h?host=/run/postgresql",
        ),
        ("postgresql:///?service=meters", {"service": "meters"}, "postgresql:///?service=meters"),
    ],
)
def test_a_url_says_where_the_database_is(text: str, parameters: dict[str, str], name: str) -> None:
    url = parse_postgres_url(text)
    assert (dict(url.parameters), url.name) == (parameters, name)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:pw@host/db",
        "postgresql://host/db?password=pw",
        "postgresql://u@p:pw@host/db",
        "postgresql://u:p/pw@host/db",
        "postgresql://host:pw/db",
        "postgresql://host/db?options=-c%20pw",
        "postgresql://host",
        "postgresql://host/",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_postgres_url(text)
    assert caught.value.hint
    assert "pw" not in str(caught.value) + caught.value.hint


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Store.open(f"postgresql:///h?host={tmp_path}", vault_key=None, folder=tmp_path, password="pw-secret")
    assert caught.value.reason == "away"
    assert "pw-secret" not in f"{caught.value!r} {caught.value} {caught.value.hint}"


def test_a_database_in_another_encoding_is_refused(postgres: Server, tmp_path: Path) -> None:
    postgres.tell("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="LATIN1"):
        Store.open(postgres.url("latin"), vault_key=None, folder=tmp_path)
    postgres.drop("latin")


# --- one head-end at a time, and one writer at a time ---


def test_two_head_ends_do_not_share_a_database(postgres_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLAIM_SECONDS", 0.05)
    postgres_store.claim()
    with again(postgres_store) as other:
        with pytest.raises(ConfigError, match="another head-end"):
            other.claim()
        assert other.readings.count() == 0  # a command beside it reads and writes all the same
        other.events.append([Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=0)])
    postgres_store.readings.write([batch(0)])
    postgres_store.close()
    with again(postgres_store) as other:
        other.claim()


def test_who_lost_the_database_to_another_head_end_writes_no_more(
    postgres: Server, postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLAIM_SECONDS", 0.05)
    postgres_store.claim()
    owner = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 2"
    ((pid,),) = postgres.tell(owner, name_of(postgres_store))
    with psycopg.connect(postgres_store.name, autocommit=True) as other:
        waiting = threading.Thread(target=other.execute, args=("SELECT pg_advisory_lock(%s, 2)", [module._OWNING[0]]))
        waiting.start()
        postgres.tell(f"SELECT pg_terminate_backend({pid})")
        waiting.join()
        with pytest.raises(StorageError, match="another head-end") as caught:
            postgres_store.readings.write([batch(0)])
        assert caught.value.reason == "locked"
    assert postgres_store.readings.write([batch(0)]) == 100


def test_a_database_held_by_another_process_is_called_locked(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._WRITER, "lock_timeout", "50ms")
    with Store.open(postgres_url, vault_key=None, folder=tmp_path) as store, psycopg.connect(store.name) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", module._WRITING)
        with pytest.raises(StorageError) as caught:
            store.readings.write([batch(0)])
        assert caught.value.reason == "locked"
        other.rollback()
        store.readings.write([batch(0)])


def test_what_several_processes_write_is_one_chain_and_one_series(postgres_store: Store) -> None:
    with again(postgres_store) as other:
        stores = [postgres_store, other]

        def work(store: Store, thread: int) -> None:
            for n in range(10):
                store.readings.write([batch(n * 100, meter=f"m{n % 3}")])
                store.events.append([Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=thread)])

        threads = [threading.Thread(target=work, args=(store, n)) for n, store in enumerate(stores * 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for n in range(20):  # each of them has seen the rows of the other
            stores[n % 2].audit.append("ada", Action.USER_CHANGED, "user:x")
        assert postgres_store.audit.verify() == []
    assert postgres_store.readings.count() == 1000
    assert len(postgres_store.readings.latest()) == 3
    assert len(postgres_store.events.list(limit=100)) == 40


# --- it goes away and comes back ---


@pytest.fixture
def fragile() -> Iterator[Server]:
    """A server of its own, with the durability of a real one, that a test may stop."""
    with server("-c max_connections=40 -c shared_buffers=32MB") as running:
        yield running


async def test_nothing_acknowledged_is_lost_when_the_server_crashes_under_load(
    fragile: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(writing, "RETRY_CAP_SECONDS", 0.1)
    name = fragile.make()
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    bus = Bus()
    seen = bus.subscribe("test", Event, maxsize=1000)
    acknowledged: list[ReadingBatch] = []
    with Store.open(fragile.url(name), vault_key=None, folder=tmp_path) as store:
        store.claim()

        def write(batches: Sequence[ReadingBatch]) -> int:
            count = store.readings.write(batches)
            acknowledged.extend(batches)
            loop.call_soon_threadsafe(changed.set)
            return count

        writer = Writer(bus, write, clock=lambda: NOON, queue_readings=2000)
        running = asyncio.create_task(writer.run())

        async def publish(numbers: range) -> None:
            for n in numbers:
                bus.publish(batch(n * 50, 50, meter=f"m{n % 7}"))
                await asyncio.sleep(0)

        async def stored(count: int) -> None:
            while sum(map(len, acknowledged)) < count:
                changed.clear()
                await changed.wait()

        total = 0
        for _ in range(3):
            await publish(range(total, total + 20))
            total += 20
            await asyncio.to_thread(fragile.stop, "immediate")
            await publish(range(total, total + 10))
            total += 10
            assert [event.type for event in await seen.take(1, 0)] == [EventType.STORAGE_FULL]
            await asyncio.to_thread(fragile.start)
            await asyncio.wait_for(stored(total * 50), 60)
            assert [event.type for event in await seen.take(1, 0)] == [EventType.STORAGE_RECOVERED]
            assert store.readings.latest(["m0"]).values  # who reads goes on, too
        writer.close()
        await running
        assert store.readings.count() == total * 50 == sum(map(len, acknowledged))
        expected = sorted(at for each in acknowledged if each.meter_id == "m3" for at in each.measured_at)
        assert list(store.readings.series("m3", "e", NOON, NOON + 9 * DAY).measured_at) == expected


def test_connections_that_a_restart_broke_are_replaced(fragile: Server, tmp_path: Path) -> None:
    name = fragile.make()
    with Store.open(fragile.url(name), vault_key=None, folder=tmp_path) as store:
        store.readings.write([batch(0)])
        assert store.readings.count() == 100
        fragile.stop("fast")
        for call in (store.readings.count, lambda: store.readings.write([batch(100)])):
            with pytest.raises(StorageError) as caught:
                call()
            assert caught.value.reason == "away"
            assert caught.value.hint
        fragile.start()
        assert store.readings.count() == 100
        assert store.readings.write([batch(100, meter="m2")]) == 100
        assert store.readings.count() == 200


def test_a_connection_that_breaks_in_a_transaction_undoes_it_and_forgets_what_it_knew(
    postgres: Server, postgres_store: Store
) -> None:

    def broken() -> None:
        with postgres_store.readings.transaction() as connection:
            postgres_store.readings.add(connection, [batch(0)])
            ((pid,),) = connection.exec_driver_sql("SELECT pg_backend_pid()").all()
            postgres.tell(f"SELECT pg_terminate_backend({pid})")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(StorageError) as caught:
        broken()
    assert caught.value.reason == "away"
    assert postgres_store.readings.count() == 0
    assert postgres_store.readings.write([batch(0)]) == 100
    assert postgres_store.readings.count() == 100


def test_a_full_disk_stops_a_write_whole_and_passes(postgres_store: Store) -> None:
    """The error of a server that cannot extend a file, raised where it would be; a real one would need a disk of its own."""
    with postgres_store._database.write() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE INSERT ON readings FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
        )
    with pytest.raises(StorageError, match="No space left") as caught:
        postgres_store.readings.write([batch(0, meter="new"), batch(0)])
    assert (caught.value.reason, bool(caught.value.hint)) == ("full", True)
    assert len(postgres_store.readings.latest()) == 0
    with postgres_store._database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER full_disk ON readings")
    assert postgres_store.readings.write([batch(0, meter="new"), batch(0)]) == 200
    assert postgres_store.readings.count() == 200


# --- how readings lie ---


def test_each_day_is_a_table_that_goes_as_a_whole(postgres: Server, postgres_store: Store) -> None:
    tables = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'readings'::regclass ORDER BY 1"
    readings = postgres_store.readings
    for day in (0, 1, 3, -20_000, 40_000):
        readings.write([batch(day * 86_400)])
    name = name_of(postgres_store)
    days = [("readings_20260301",), ("readings_20260302",), ("readings_20260304",)]
    outer = [("readings_future",), ("readings_past",)]
    assert postgres.tell(tables, name) == [*days, *outer]
    settle(postgres_store)
    assert readings.purge(NOON // DAY + 1) == 200
    assert postgres.tell(tables, name) == [*days[1:], *outer]
    with again(postgres_store) as other:  # another process removes a day that this one knows
        assert other.readings.purge(NOON // DAY + 2) == 100
    readings.write([batch(86_400)])
    assert readings.count() == 300


def test_a_span_is_read_from_the_index_of_its_days_only(postgres: Server, postgres_store: Store) -> None:
    postgres_store.readings.write([batch(day * 86_400, meter=f"m{m}") for day in range(30) for m in range(20)])
    name = name_of(postgres_store)
    postgres.tell("VACUUM ANALYZE readings", name)
    with psycopg.connect(postgres_store.name) as connection:
        query = f"EXPLAIN {module_sql()}"
        plan = "\n".join(
            row[0] for row in connection.execute(query.encode(), ["m1", "e", NOON + DAY, NOON + 2 * DAY, 1000])
        )
    assert plan.count("Index Only Scan") == 2
    assert "readings_20260302" in plan
    assert "readings_20260303" in plan
    assert "Sort" not in plan


def module_sql() -> str:
    from headend.storage import readings_postgres  # noqa: PLC0415 # its constant is what is looked at

    return readings_postgres._SPAN


def test_writing_the_same_again_changes_no_row(postgres: Server, postgres_store: Store) -> None:
    versions = (
        "SELECT ctid::text, xmin::text FROM readings UNION ALL SELECT ctid::text, xmin::text FROM latest ORDER BY 1, 2"
    )
    name = name_of(postgres_store)
    given = [batch(0), batch(0, meter="m2")]
    postgres_store.readings.write(given)
    before = postgres.tell(versions, name)
    postgres_store.readings.write(given)
    assert postgres.tell(versions, name) == before


def test_what_no_table_can_hold_is_the_callers_error(postgres_store: Store) -> None:
    for at in (2**63, -(2**63) - 1):
        wrong = ReadingBatch(
            meter_id="m", source=Source.POLL, received_at=0, quantities=["e"], values=[1], measured_at=[at], quality=[0]
        )
        with pytest.raises(OverflowError):
            postgres_store.readings.write([wrong])
    assert postgres_store.readings.count() == 0


def test_what_json_cannot_say_does_not_stop_events(postgres_store: Store) -> None:
    data = {"inf": float("inf"), "nul": "a\0b", "half": "\ud800", "smile": "\U0001f600"}
    event = Event(type=EventType.METER_ONLINE, severity=Severity.INFO, occurred_at=0, data=data)
    postgres_store.events.append([event])
    (stored,) = postgres_store.events.list()
    assert stored.event.data == {"inf": "inf", "nul": "a\ufffdb", "half": "?", "smile": "\U0001f600"}
