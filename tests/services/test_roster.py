from __future__ import annotations

from typing import Any

import pytest

from headend.errors import AccessDenied, AuthenticationFailed, Conflict, LinkTimeout, NotFound
from headend.model.event import Event, EventType
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.services.bus import Bus
from headend.services.roster import MeterState, Roster

from .support import meter


class Heard:
    """A roster at noon, and what it said."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.roster = Roster(self.bus, lambda: 12)
        self.told: list[tuple[str, bool]] = []
        self._tape = self.bus.subscribe("tape", Event)

    def follow(self, meter_id: str, state: MeterState | None) -> None:
        self.told.append((meter_id, state is not None))

    def events(self) -> list[tuple[EventType, str]]:
        return [(item.type, item.meter_id) for item in self._tape._items]


def test_followers_and_the_bus_hear_of_every_change() -> None:
    heard = Heard()
    roster = heard.roster
    roster.load([meter("a", "host")])
    roster.follow(heard.follow)
    roster.add(meter("b", "host"))
    roster.update(meter("a", "other"))
    roster.remove("b")
    assert heard.told == [("a", True), ("b", True), ("a", True), ("b", False)]
    assert heard.events() == [
        (EventType.METER_ADDED, "b"),
        (EventType.METER_CHANGED, "a"),
        (EventType.METER_REMOVED, "b"),
    ]
    assert [state.meter.id for state in roster] == ["a"]
    assert roster.state("a").meter.endpoint.host == "other"
    assert len(roster) == 1
    assert "a" in roster
    assert "b" not in roster


def test_what_is_not_there_and_what_is_there_twice() -> None:
    roster = Heard().roster
    roster.add(meter("a", "host"))
    with pytest.raises(Conflict):
        roster.add(meter("a", "host"))
    for call in (roster.state, roster.remove):
        with pytest.raises(NotFound):
            call("x")
    with pytest.raises(NotFound):
        roster.update(meter("x", "host"))


def test_only_what_did_not_answer_is_offline() -> None:
    heard = Heard()
    heard.roster.load([meter("a", "host")])
    state = heard.roster.state("a")
    heard.roster.failed(state, AuthenticationFailed("no"))
    assert state.online is None
    heard.roster.failed(state, AccessDenied("denied"))
    assert (state.online, state.last_seen) == (True, 12)
    heard.roster.failed(state, LinkTimeout("silence"))
    assert (state.online, state.last_error_code, state.last_error_text) == (False, "link-timeout", "silence")
    assert heard.events() == [(EventType.METER_ONLINE, "a"), (EventType.METER_OFFLINE, "a")]


def identified(meter_id: str, **fields: Any) -> Meter:
    return meter(meter_id, "host", identity=MeterIdentity(**fields))


def test_a_meter_is_found_by_what_it_says_about_itself() -> None:
    roster = Heard().roster
    inbound = Endpoint(kind=EndpointKind.INBOUND, host="SN-9")
    roster.load(
        [
            identified("title", system_title="4142430000000001"),
            identified("device", logical_device_name="ABC0000000000002"),
            identified("serial", serial="77", manufacturer="ABC"),
            identified("address", meter_address="000000000012"),
            identified("twin 1", serial="1", manufacturer="TWN"),
            identified("twin 2", serial="1", manufacturer="TWN"),
            Meter(id="dials in", protocol="text", framing="", endpoint=inbound),
        ]
    )

    def found(**fields: Any) -> str | None:
        resolved = roster.resolve(MeterIdentity(**fields))
        return None if resolved is None else resolved.id

    assert found(system_title="4142430000000001", serial="other") == "title"
    assert found(logical_device_name="ABC0000000000002") == "device"
    assert found(serial="77", manufacturer="ABC") == "serial"
    assert found(serial="77", manufacturer="XYZ") is None
    assert found(meter_address="000000000012") == "address"
    assert found(serial="1", manufacturer="TWN") is None
    assert found(serial="SN-9") == "dials in"
    assert found() is None
    roster.remove("twin 2")
    assert found(serial="1", manufacturer="TWN") == "twin 1"
    roster.remove("dials in")
    assert found(serial="SN-9") is None
