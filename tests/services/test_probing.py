"""Probes of meters in memory: what they ask, how fast, and when they stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headend.drivers.base import Session
from headend.drivers.library import load_profile
from headend.drivers.registry import driver
from headend.errors import (
    AccessDenied,
    AssociationRejected,
    AuthenticationFailed,
    HeadendError,
    LinkTimeout,
    ObjectUndefined,
)
from headend.model.meter import MeterIdentity
from headend.model.objects import ObjectEntry, ReadPlan, ReadResult
from headend.services.discovery.drafting import draft
from headend.services.discovery.probing import Answer, Probe, ProbeLimits

from .support import virtual

LIMITS = ProbeLimits(rate=10, per_session=4, pause=5, lost_sessions=3)


class Meter:
    """Answers what `values` hold; an error is raised (`losing`) or is the answer."""

    def __init__(self, values: dict[str, Any], losing: dict[str, HeadendError] | None = None) -> None:
        self.values = values
        self.losing = losing or {}
        self.asked: list[tuple[float, str]] = []
        self.open = self.opened = 0
        self.refuses: HeadendError | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        if self.refuses is not None:
            raise self.refuses
        self.opened += 1
        self.open += 1
        yield _Session(self)  # type: ignore[misc] # of a session a probe uses `read` and `sound`
        self.open -= 1


class _Session:
    sound = True

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def read(self, plan: ReadPlan) -> ReadResult:
        (entry,) = plan.entries
        name = entry.ref.address
        self._meter.asked.append((asyncio.get_running_loop().time(), name))
        if name in self._meter.losing:
            self.sound = False
            raise self._meter.losing[name]
        value = self._meter.values.get(name, ObjectUndefined("no such object"))
        if isinstance(value, HeadendError):
            return ReadResult(values=[None], errors={0: value})
        return ReadResult(values=[value], exponents=[-1], units=["V"])


def candidates(*names: str) -> list[ObjectEntry]:
    return [ObjectEntry(ref=driver("dlms").parse_ref(f"3/1-0:{name}.7.0.255")) for name in names]


def named(name: str) -> str:
    return f"3/1-0:{name}.7.0.255/2"


def probe(meter: Meter, notes: list[Answer], **known: Any) -> Probe:
    return Probe(meter.session, sleep=asyncio.sleep, note=notes.append, limits=LIMITS, **known)


@virtual
async def test_every_candidate_is_asked_once_at_the_rate_and_in_short_sessions() -> None:
    meter = Meter({named("32"): 2301, named("33"): AccessDenied("no")})
    notes: list[Answer] = []
    report = await probe(meter, notes).run(candidates("31", "32", "33", "34", "35", "36"))
    assert [name for _, name in meter.asked] == [named(str(number)) for number in range(31, 37)]
    assert report.found == [Answer(ref=f"dlms:{named('32')}", value=230.1, unit="V")]
    assert [note.error for note in notes] == [
        "object-undefined", "", "access-denied", "object-undefined", "object-undefined", "object-undefined",
    ]  # fmt: skip
    times = [at for at, _ in meter.asked]
    assert times == pytest.approx([0.1, 0.2, 0.3, 0.4, 5.5, 5.6])
    assert (report.sessions, meter.opened, meter.open, report.stopped) == (2, 2, 0, "")


@virtual
async def test_what_is_known_is_not_asked_again() -> None:
    meter = Meter({named("32"): 2301})
    notes: list[Answer] = []
    known = {f"dlms:{named('31')}": Answer(ref=f"dlms:{named('31')}", value=1)}
    report = await probe(meter, notes, known=known).run(candidates("31", "32"))
    assert [name for _, name in meter.asked] == [named("32")]
    assert len(report.found) == 2


@pytest.mark.parametrize("error", [AuthenticationFailed("wrong"), AssociationRejected("no", result=1, diagnostic=1)])
def test_a_meter_that_defends_itself_is_left_alone(error: HeadendError) -> None:
    @virtual
    async def scenario() -> None:
        meter = Meter({}, {named("32"): error})
        report = await probe(meter, []).run(candidates("31", "32", "33"))
        assert [name for _, name in meter.asked] == [named("31"), named("32")]
        assert "defends itself" in report.stopped
        assert meter.open == 0
        refusing = Meter({})
        refusing.refuses = error
        report = await probe(refusing, []).run(candidates("31"))
        assert "no session could be opened" in report.stopped
        assert not report.answers

    scenario()


@virtual
async def test_an_object_that_costs_the_session_is_noted_and_several_in_a_row_end_the_probe() -> None:
    late = LinkTimeout("no answer")
    meter = Meter({}, {named(str(number)): late for number in (31, 33, 34, 35, 36)})
    notes: list[Answer] = []
    report = await probe(meter, notes).run(candidates(*map(str, range(31, 40))))
    assert [name for _, name in meter.asked] == [named(str(number)) for number in range(31, 36)]
    assert [note.error for note in notes] == ["link-timeout", "object-undefined", "link-timeout", "link-timeout"]
    assert "3 objects in a row" in report.stopped
    assert meter.open == 0


def test_the_draft_is_a_meter_file() -> None:
    entries = [
        *driver("dlms").candidates("3/1-0:[32,52].7.0.255"),
        ObjectEntry(
            ref=driver("dlms").parse_ref("3/1-1:32.7.0.255"), quantity="voltage_l1", scaler=None, name='a "name"'
        ),
    ]
    answers = [Answer(ref=str(entry.ref), value=230.1, unit="V") for entry in entries]
    text = draft(
        "dlms", MeterIdentity(manufacturer="YTL"), {"client": "16"}, entries, answers, source="probe of dlms://h:1"
    )
    profile = load_profile(text, "draft")
    assert [entry.quantity for entry in profile.objects] == ["voltage_l1", "voltage_l2", ""]
    assert [entry.scaler for entry in profile.objects] == [None] * 3
    assert (profile.vendor, profile.model, profile.link) == ("YTL", "unknown", {"client": "16"})


def test_curated_candidates_are_values_of_published_codes() -> None:
    refs = {str(entry.ref): entry for entry in driver("dlms").candidates("")}
    assert refs["dlms:3/1-0:1.8.0.255/2"].quantity == "active_energy_import_total"
    assert not any(ref.startswith(("dlms:7/", "dlms:15/")) for ref in refs)
    assert len(refs) > 700


def test_ranges_of_registers() -> None:
    refs = [entry.ref.address for entry in driver("modbus").candidates("input/0x0000-0x0005/f32")]
    assert refs == ["input/0x0000/f32", "input/0x0002/f32", "input/0x0004/f32"]
    assert [entry.ref.address for entry in driver("modbus").candidates("coil/0-1")] == ["coil/0x0000", "coil/0x0001"]
    for wrong in ("input/5-2/u16", "input/1/u16", "1-0:1.8.0"):
        with pytest.raises(HeadendError):
            list(driver("modbus").candidates(wrong))
    with pytest.raises(HeadendError):
        list(driver("dlms").candidates("3"))
