"""Requests over MQTT: what is read by which name, who may command, what is confirmed, and what a repeated request does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.registry import driver
from headend.errors import ConfigError, Conflict, HeadendError, LinkTimeout, NotFound, PermissionDenied
from headend.model.job import CommandKind
from headend.model.objects import ObjectEntry, ObjectRef
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import ReadingBatch
from headend.northbound.ivy import IvyLayout, error_text
from headend.northbound.topics import Request, Topics, UnknownMethod, UnknownRegister
from headend.runtime.mqtt import actor_of
from headend.runtime.registers import entry_of
from headend.runtime.requests import Requests
from headend.runtime.settings_delivery import MqttSettings
from headend.services.commanding.reads import Reads
from headend.services.commands import Commands
from headend.storage.store import Store
from tests.new_database import laid
from tests.services.support import EPOCH, Site, World, clock, meter, virtual

FILE = MeterProfile(
    id="text",
    vendor="Text",
    model="T1",
    protocol="text",
    state=ProfileState.EMULATED,
    source="tests",
    objects=(
        ObjectEntry(ref=ObjectRef("text", "u"), quantity="voltage_l1", unit="V", name="Spannung"),
        ObjectEntry(ref=ObjectRef("text", "e"), quantity="active_energy_import_total", unit="kWh", exponent=3),
    ),
)


class Desk:
    """Requests, and the world that they work on."""

    def __init__(self, world: World, requests: Requests) -> None:
        self.world = world
        self.requests = requests

    async def ask(self, method: str, params: Mapping[str, Any] | None = None, *, id: str = "", user: str = "") -> Any:  # noqa: A002 - as in the request
        return await self.requests.answer(Request(meter_id="one", id=id, method=method, params=params or {}, user=user))


@asynccontextmanager
async def desk(folder: Path, *, allow: bool = True) -> AsyncIterator[Desk]:
    world = World({"one": Site()}, request_timeout=1.0)
    world.roster.load([meter("one", "one")])
    loop = asyncio.get_running_loop()
    with Store.open(
        laid(folder / "h.db"), vault_key=bytes(32), millis=lambda: round((EPOCH + loop.time()) * 1000)
    ) as store:
        reads = Reads(world.bus, clock, driver=lambda _name: world.driver, profile=lambda _meter: FILE)  # type: ignore[arg-type, return-value] # the driver of the tests
        commands = Commands(world.lanes, world.roster, world.bus, clock, store=store, reads=reads)
        running = asyncio.create_task(commands.run())
        requests = Requests(
            world.roster,
            world.lanes,
            world.poller(),
            commands,
            world.bus,
            clock,
            driver=lambda _name: world.driver,  # type: ignore[arg-type, return-value] # ditto
            profile=lambda _meter: FILE,
            actor=partial(actor_of, MqttSettings(roles={"otto": "operator", "ada": "dispatcher"}, commands=allow)),
            allow_commands=allow,
        )
        try:
            yield Desk(world, requests)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@virtual
async def test_registers_are_read_by_every_name_that_they_have(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        for params in (
            {"register": "VOLTAGE_A"},
            {"register": "voltage_l1"},
            {"register": "spannung"},
            {"dataId": "0x02010100"},
            {"dataId": 0x02010100},
            {"obis": "1-0:32.7.0"},
            {"ref": "text:u"},
            {"ref": "u"},
        ):
            found = await one.ask("read_register", params)
            assert (found["quantity"], found["value"], found["unit"]) == ("voltage_l1", 230, "V"), params
        batches = [item for item in one.world.published() if isinstance(item, ReadingBatch)]
        assert batches[0].values == [230], "what is a reading goes to everybody"
        for params in ({"register": "NONSENSE"}, {"obis": "9-9:9.9.9"}, {"obis": "x"}, {"dataId": "xyz"}):
            with pytest.raises(UnknownRegister):
                await one.ask("read_register", params)
        for params in ({}, {"register": "VOLTAGE_A", "ref": "u"}):
            with pytest.raises(ConfigError, match="expected one of"):
                await one.ask("read_register", params)


@virtual
async def test_all_registers_and_the_address_are_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        found = await one.ask("read_all", {"registers": ["VOLTAGE_A", "TOTAL_ACTIVE_POSITIVE", "NONSENSE"]})
        assert found["readings"]["VOLTAGE_A"]["value"] == 230
        assert found["readings"]["TOTAL_ACTIVE_POSITIVE"]["value"] == 230_000
        assert found["readings"]["NONSENSE"]["error"] == "config"
        ivy = IvyLayout(Topics("ivy/v1"))
        asked = Request(meter_id="one", id="1", method="read_all", params={})
        readings = json.loads(ivy.response(asked, 5, found))["result"]["readings"]
        assert readings["VOLTAGE_A"] == {"value": 230, "unit": "V"}
        assert readings["TOTAL_ACTIVE_POSITIVE"] == {"value": 230.0, "unit": "kWh"}
        assert "NONSENSE" in readings["NONSENSE"]["error"]
        polled = await one.ask("read_all")
        assert polled["readings"]["voltage_l1"]["value"] == 230
        assert "VOLTAGE_A" in json.loads(ivy.response(asked, 5, polled))["result"]["readings"]
        assert (await one.ask("read_address"))["address"] == "1"
        assert (await one.ask("read", {"refs": ["u"]}))["text:u"]["value"] == 230
        assert (await one.ask("read"))["values"]["voltage_l1"] == 230


@virtual
async def test_errors_are_said_as_consumers_know_them(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:

        async def text(method: str, params: Mapping[str, Any] | None = None) -> str:
            with pytest.raises(HeadendError) as caught:
                await one.ask(method, params)
            return error_text(caught.value)

        assert await text("dance") == "Invalid command"
        assert await text("relay_control", {"state": "half"}) == (
            'Invalid command: relay_control: expected the state "open" or "close", got \'half\''
        )
        assert await text("read_register", {"register": "NONSENSE"}) == "Invalid register"
        one.world.sites["one"].moods["1"] = "refuses"
        assert (await text("read_register", {"register": "VOLTAGE_A"})).startswith("Protocol error: ")
        one.world.sites["one"].moods["1"] = "silent"
        with pytest.raises(LinkTimeout):
            await one.ask("read_register", {"register": "VOLTAGE_A"})
        one.world.sites["one"].absent = True
        assert await text("read_address") == "Meter not connected"
        with pytest.raises(NotFound):
            await one.requests.answer(Request(meter_id="nobody", id="", method="read", params={}))


@virtual
async def test_supply_is_switched_in_two_steps_and_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        asked = await one.ask("relay_control", {"state": "open"}, id="42", user="ada")
        assert (asked["state"], asked["confirmation"], asked["relay_state"]) == ("proposed", "required", "open")
        assert one.world.sites["one"].log == []
        again = await one.ask("relay_control", {"state": "open"}, id="42", user="ada")
        assert (again["job"], again["code"]) == (asked["job"], asked["code"])
        with pytest.raises(PermissionDenied):
            await one.ask("confirm", {"job": asked["job"], "code": "no"}, user="ada")
        done = await one.ask("confirm", {"job": asked["job"], "code": asked["code"]}, user="ada")
        assert (done["state"], done["verdict"]) == ("succeeded", "confirmed")
        assert one.world.sites["one"].log == ["SWITCH 1 disconnect"]
        late = await one.ask("relay_control", {"state": "open"}, id="42", user="ada")
        assert (late["job"], late["state"]) == (asked["job"], "succeeded")
        assert one.world.sites["one"].log == ["SWITCH 1 disconnect"]
        with pytest.raises(Conflict):
            await one.ask("relay_control", {"state": "close"}, id="42", user="ada")
        assert (await one.ask("job", {"job": asked["job"]}))["verdict"] == "confirmed"
        with pytest.raises(NotFound):
            await one.ask("job", {"job": "nonsense"})
        with pytest.raises(ConfigError):
            await one.ask("job")


@virtual
async def test_roles_and_the_switch_decide_who_may_command(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        with pytest.raises(PermissionDenied, match="mqtt:otto"):
            await one.ask("disconnect", user="otto")
        assert (await one.ask("set_clock", user="otto"))["verdict"] == "confirmed"
        assert (await one.ask("reconnect"))["confirmation"] == "required"
        with pytest.raises(PermissionDenied):
            await one.ask("clear-meter", user="ada")
    async with desk(tmp_path / "off", allow=False) as one:
        for method, params in (("disconnect", {}), ("relay_control", {"state": "open"}), ("confirm", {"job": "x"})):
            with pytest.raises(PermissionDenied, match="commands over MQTT are off"):
                await one.ask(method, params, user="ada")
        assert (await one.ask("read"))["values"]


@virtual
async def test_parameters_that_make_no_sense_are_named(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        for method, params in (
            ("write", {"ref": "u", "value": {"a": 1}}),
            ("change-secret", {"name": "secret", "secret": 5}),
            ("change-secret", {"name": "secret", "secret": "open"}),
            ("read", {"refs": "u"}),
            ("read", {"refs": ["u"] * 201}),
            ("read_all", {"registers": [1]}),
            ("confirm", {}),
        ):
            with pytest.raises(ConfigError):
                await one.ask(method, params)
        with pytest.raises(UnknownMethod, match="relay_control"):
            await one.ask("dance")


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"state": "proposed", "confirmation": "required", "code": "1"}, "Confirmation required"),
        ({"state": "queued"}, "Meter not connected"),
        ({"state": "expired", "verdict": "not-sent"}, "Meter not connected"),
        ({"state": "unknown", "verdict": "unknown"}, "Command timeout"),
        ({"state": "running"}, "Command timeout"),
        ({"state": "failed", "verdict": "refused", "detail": "no"}, "Protocol error: no"),
        ({"state": "succeeded", "verdict": "confirmed"}, ""),
    ],
)
def test_a_command_is_no_success_for_consumers_before_it_is_done(result: dict[str, Any], error: str) -> None:
    asked = Request(meter_id="one", id="1", method="relay_control", params={})
    said = json.loads(IvyLayout(Topics("ivy/v1")).response(asked, 5, result))
    assert (said["success"], said.get("error", ""), said["result"]) == (not error, error, result)


def test_what_no_meter_file_knows_is_asked_by_its_address() -> None:
    entry = entry_of(driver("dlms"), None, {"ref": "dlms:3/1-0:1.8.0.255/2"})
    assert (str(entry.ref), entry.scaler) == ("dlms:3/1-0:1.8.0.255/2", None)
    with pytest.raises(UnknownRegister):
        entry_of(driver("dlms"), None, {"register": "VOLTAGE_A"})


def test_every_command_has_a_method() -> None:
    assert {kind.value for kind in CommandKind} >= {
        "disconnect",
        "reconnect",
        "set-clock",
        "write",
        "invoke",
        "read-history",
    }
