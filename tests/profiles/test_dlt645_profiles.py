"""What every meter file of DL/T 645 must hold, and the annotated exchanges in it."""

from __future__ import annotations

import pytest

from headend.drivers.dlt645 import driver
from headend.drivers.dlt645.plan import Ask, plan_asks
from headend.drivers.dlt645.refs import data_ref
from headend.drivers.dlt645.values import entry_exponent, entry_meaning, quantity_of
from headend.drivers.library import Library
from headend.drivers.mapping import to_batch
from headend.model.objects import ObjectEntry, RawValue, ReadPlan, ReadResult
from headend.model.profile import MeterProfile, ProfileTest
from headend.model.quantity import find_quantity
from headend.model.reading import Source, Value
from headend.protocols.base import Role
from headend.protocols.dlt645.connection import Dlt645Connection
from headend.protocols.dlt645.events import AnswerFrom, RequestTo
from headend.protocols.dlt645.requests import Read
from headend.protocols.dlt645.responses import Data
from headend.standards.dlt645 import find_register

LIBRARY = Library()
PROFILES = [profile for profile in LIBRARY if profile.protocol == "dlt645"]
EXCHANGES = [(profile, test) for profile in PROFILES for test in profile.tests]
ENTRIES = [(profile, entry) for profile in PROFILES for entry in profile.objects]


def test_the_files_are_there() -> None:
    assert {profile.id.removeprefix("generic-dlt645-") for profile in PROFILES} >= {"1p", "3p", "prepaid", "1997"}


@pytest.mark.parametrize(
    ("profile", "exchange"), EXCHANGES, ids=[f"{profile.id}: {test.name}" for profile, test in EXCHANGES]
)
def test_annotated_exchanges_give_their_readings(profile: MeterProfile, exchange: ProfileTest) -> None:
    server = Dlt645Connection(Role.SERVER)
    server.receive_data(exchange.request)
    asked = server.next_event()
    assert isinstance(asked, RequestTo)
    assert isinstance(asked.request, Read)
    client = Dlt645Connection(Role.CLIENT, leader=0)
    client.send(asked)
    assert client.data_to_send() == exchange.request
    client.receive_data(exchange.response)
    answer = client.next_event()
    assert isinstance(answer, AnswerFrom)
    assert isinstance(answer.response, Data)
    assert _readings(profile, asked, answer.response.data) == exchange.readings


def _readings(profile: MeterProfile, asked: RequestTo, octets: bytes) -> dict[str, Value]:
    """What the objects of a meter file make of an answer."""
    assert isinstance(asked.request, Read)
    chosen = [
        entry
        for entry in profile.objects
        if entry.quantity and _is_served(asked.request.di, data_ref(entry.ref.address).di)
    ]
    plan = ReadPlan(entries=tuple(chosen))
    (ask,) = plan_asks(plan, blocks=True, version=asked.version) if len(chosen) > 1 else [_alone(chosen[0])]
    assert ask.di == asked.request.di
    values: list[RawValue] = [None] * len(chosen)
    for wanted in ask.wanted:
        values[wanted.index] = ask.value(wanted, octets)
    batch = to_batch("m", plan, ReadResult(values=values), 0, Source.POLL)
    return dict(zip(batch.quantities, batch.values, strict=True))


def _is_served(asked: int, di: int) -> bool:
    return di == asked or di | 0xFF00 == asked


def _alone(entry: ObjectEntry) -> Ask:
    (ask,) = plan_asks(ReadPlan(entries=(entry,)), blocks=False, version=data_ref(entry.ref.address).version)
    return ask


@pytest.mark.parametrize("entry", [entry for _, entry in ENTRIES], ids=[f"{p.id}: {e.ref.address}" for p, e in ENTRIES])
def test_objects_agree_with_the_tables(entry: ObjectEntry) -> None:
    ref = data_ref(entry.ref.address)
    register = find_register(ref.di, ref.version)
    assert register is not None
    known = entry_meaning(entry, ref)
    if not ref.part and entry.unit:
        assert entry_exponent(entry, ref) == known.exponent
    quantity = find_quantity(entry.quantity)
    if quantity is not None and not ref.part:
        assert quantity.unit == known.unit or quantity.unit in ("1", "")
        usual = quantity_of(register)
        assert usual is None or usual.key == entry.quantity, "the tables call it otherwise"
    assert not entry.writable or register.access == "rw"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_virtual_meters_can_be_made(profile: MeterProfile) -> None:
    driver.check_file(profile)
    assert any(entry.quantity == "active_energy_import_total" for entry in profile.objects)
    assert any(entry.quantity == "serial_number" for entry in profile.objects)
