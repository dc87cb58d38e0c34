from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headend.errors import Conflict, NotFound
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.reading import ReadingBatch, Source
from headend.storage.store import Store

from .conftest import again

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
METERS = st.builds(
    Meter,
    id=TEXT.filter(bool),
    protocol=TEXT,
    framing=TEXT,
    endpoint=st.builds(
        Endpoint,
        kind=st.sampled_from(EndpointKind),
        host=TEXT,
        port=st.integers(0, 65535),
        path=TEXT,
        baud=st.integers(0),
    ),
    name=TEXT,
    params=st.dictionaries(TEXT, TEXT, max_size=3),
    profile_id=TEXT,
    identity=st.builds(MeterIdentity, **{field.name: TEXT for field in dataclasses.fields(MeterIdentity)}),
    poll_seconds=st.floats(0, 1e6),
    enabled=st.booleans(),
    tags=st.lists(TEXT, max_size=3).map(tuple),
)


def meter(number: int, **fields: object) -> Meter:
    endpoint = Endpoint(kind=EndpointKind.TCP, host=f"192.0.2.{number}", port=4059)
    return Meter(id=f"m{number:03}", protocol="dlms", framing="wrapper", endpoint=endpoint, **fields)  # type: ignore[arg-type]


@given(METERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_a_meter_comes_back_as_it_was(store: Store, given_meter: Meter) -> None:
    revision = store.meters.put(given_meter)
    stored = store.meters.get(given_meter.id)
    assert (stored.meter, stored.revision) == (given_meter, revision)


def test_a_change_needs_the_revision_that_was_seen(store: Store) -> None:
    assert store.meters.put(meter(1), revision=0) == 1
    with pytest.raises(Conflict, match="exists already"):
        store.meters.put(meter(1), revision=0)
    assert store.meters.put(meter(1, name="hall"), revision=1) == 2
    with pytest.raises(Conflict, match="at revision 2, not 1"):
        store.meters.put(meter(1, name="attic"), revision=1)
    with pytest.raises(Conflict):
        store.meters.put(meter(2), revision=4)
    with pytest.raises(Conflict):
        store.meters.delete("m001", keep_history=True, revision=1)
    assert store.meters.get("m001").meter.name == "hall"
    assert store.meters.put(meter(1)) == 3


def test_meters_are_listed_in_pages_and_searched(store: Store) -> None:
    for number in range(10):
        serial = MeterIdentity(serial=f"SN-{number}")
        tags = ("north", 'a"b') if number % 2 else ("south",)
        store.meters.put(meter(number, name=f"Flat 50%_{number}", identity=serial, tags=tags, enabled=number < 5))
    ids = [stored.meter.id for stored in store.meters.list(limit=4)]
    assert ids == ["m000", "m001", "m002", "m003"]
    assert [stored.meter.id for stored in store.meters.list(after=ids[-1], limit=2)] == ["m004", "m005"]
    assert [stored.meter.id for stored in store.meters.list(search="sn-7")] == ["m007"]
    assert [stored.meter.id for stored in store.meters.list(search="0%_8")] == ["m008"]
    assert [stored.meter.id for stored in store.meters.list(search="192.0.2.3")] == ["m003"]
    assert store.meters.count(tag="north", enabled=True) == 2
    assert store.meters.count(tag='a"b') == 5
    assert store.meters.count(tag="b") == store.meters.count(tag="nort") == 0
    assert store.meters.count(search="FLAT", enabled=False) == 5
    assert store.meters.count() == 10


@pytest.mark.parametrize("keep", [True, False])
def test_a_removed_meter_leaves_its_history_or_nothing(store: Store, *, keep: bool) -> None:
    for number in (1, 2):
        store.meters.put(meter(number))
        store.secrets.put(f"m00{number}", "ek", Secret(b"k"))
        store.readings.write([reading(f"m00{number}")])
    store.meters.delete("m001", keep_history=keep)
    with pytest.raises(NotFound):
        store.meters.get("m001")
    assert store.secrets.names("m001") == []
    assert store.secrets.names("m002") == ["ek"]
    assert store.readings.count("m001") == (4 if keep else 0)
    assert store.readings.count() == (8 if keep else 4)
    assert len(store.readings.latest(["m001"])) == (2 if keep else 0)
    store.readings.write([reading("m001")])
    assert store.readings.count() == 8


def test_a_meter_that_another_process_removed_and_added_again_keeps_its_readings(store: Store) -> None:
    store.meters.put(meter(1))
    store.readings.write([reading("m001")])
    with again(store) as other:
        other.meters.delete("m001", keep_history=False)
        other.meters.put(meter(1))
    store.readings.write([reading("m001")])
    assert store.readings.count("m001") == 4
    assert len(store.readings.latest(["m001"])) == 2


def reading(meter_id: str) -> ReadingBatch:
    return ReadingBatch(
        meter_id=meter_id,
        source=Source.POLL,
        received_at=0,
        quantities=["e", "u"] * 2,
        values=[1, 2, 3, 4],
        measured_at=[0, 0, 86_400_000, 86_400_000],
        quality=[0] * 4,
    )


def test_an_unknown_meter_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.meters.get("m1")
    with pytest.raises(NotFound):
        store.meters.delete("m1", keep_history=False)
