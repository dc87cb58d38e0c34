from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from headend.drivers.base import Session
from headend.drivers.library import Library
from headend.drivers.registry import driver
from headend.emulator.faults import Fault, FaultKind, Layer
from headend.emulator.fleet import Fleet, FleetMeter, Group
from headend.emulator.fleet_file import load_fleet
from headend.errors import AssociationRejected, AuthenticationFailed, ConfigError, HeadendError, LinkError
from headend.model.job import Command, CommandKind, Verdict
from headend.model.meter import Secret
from headend.model.objects import HistoryRequest, ReadPlan, ReadResult
from headend.model.url import parse_url
from headend.transport.tcp import connect_tcp

LIBRARY = Library()


@contextlib.asynccontextmanager
async def running(groups: Sequence[Group], **options: Any) -> AsyncIterator[Fleet]:
    """A fleet that leaves no link and no task behind."""
    tasks = asyncio.all_tasks()
    fleet = Fleet(groups, **options)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.aclose()
    assert fleet.links == 0
    assert asyncio.all_tasks() == tasks


@contextlib.asynccontextmanager
async def session_with(line: FleetMeter, timeout: float = 5.0, **secrets: Secret) -> AsyncIterator[Session]:
    """The head-end's own driver, attached to a meter of the roster."""
    url = parse_url(line.url)
    meter = url.meter(line.name)
    link = await connect_tcp(url.endpoint.host, url.endpoint.port, 5)
    session = await driver(meter.protocol).attach(
        link, meter, LIBRARY.get(line.profile), {**line.secrets, **secrets}, timeout=timeout
    )
    try:
        yield session
    finally:
        await session.aclose()


async def read_all(line: FleetMeter, timeout: float = 5.0) -> ReadResult:
    async with session_with(line, timeout) as session:
        return await session.read(ReadPlan(entries=LIBRARY.get(line.profile).objects))


@pytest.mark.parametrize("profile_id", LIBRARY.ids())
async def test_every_profile_of_the_library_is_emulated_and_read_back(profile_id: str) -> None:
    profile = LIBRARY.get(profile_id)
    secrets = {"secret": Secret(b"12345678")} if "auth" in profile.association else {}
    async with running([Group(profile=profile, count=2, secrets=secrets)]) as fleet:
        first, second = [await read_all(line) for line in fleet.roster()]
        assert not first.errors
        assert not second.errors
        assert list(first.values) != list(second.values)
        at = fleet.meter(1).now()
        for entry, raw, index in zip(profile.objects, first.values, range(len(profile.objects)), strict=True):
            expected = fleet.meter(1).value(index, at)
            if (
                entry.quantity.endswith("_energy_import_total")
                and isinstance(expected, float)
                and isinstance(raw, int | float)
            ):
                assert raw * 10.0**entry.exponent == pytest.approx(expected, rel=1e-3), entry.ref


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_a_dlms_meter_with_a_password_tells_its_history_and_switches(framing: str) -> None:
    profile = LIBRARY.get("generic-dlms-3p")
    group = Group(
        profile=profile,
        framing=framing,
        params={"auth": "lls", "client": "2"},
        secrets={"secret": Secret(b"12345678")},
        kind={"history_days": 2.0},
    )
    async with running([group]) as fleet:
        (line,) = fleet.roster()
        assert "auth=lls" in line.url
        assert "12345678" not in repr(line)
        meter = fleet.meter(1)
        async with session_with(line) as session:
            assert (await session.identify()).logical_device_name == "HED3000000000001"
            (table,) = profile.load_profiles
            end = meter.now()
            request = HistoryRequest(ref=table.ref, start=end - 86_400_000, end=end)
            rows = [
                (time, row)
                async for block in session.read_history(request)
                for time, row in zip(block.times, block.rows, strict=True)
            ]
            assert len(rows) == 96
            index = [entry.ref for entry in profile.objects].index(table.columns[1])
            for time, row in rows:
                assert time is not None
                assert row[0] == round(float(meter.value(index, time)))
            outcome = await session.execute(Command(kind=CommandKind.DISCONNECT))
            assert outcome.verdict is Verdict.CONFIRMED
        assert not meter.relay_closed()
        with pytest.raises(HeadendError):
            async with session_with(line, secret=Secret(b"87654321")):
                pass


async def test_a_meter_that_rejects_wants_a_password_nobody_knows() -> None:
    group = Group(profile=LIBRARY.get("generic-dlms-1p"), faults=[Fault(kind=FaultKind.REJECT)])
    async with running([group]) as fleet:
        (line,) = fleet.roster()
        with pytest.raises((AssociationRejected, AuthenticationFailed)):
            await read_all(line)


async def test_units_share_an_address_and_keep_their_identity() -> None:
    group = Group(profile=LIBRARY.get("eastron-sdm630"), count=5, units=(1, 2, 9), first_address="127.3.0.1")
    async with running([group]) as fleet:
        roster = list(fleet.roster())
        assert [parse_url(line.url).params["unit"] for line in roster] == ["1", "2", "9", "1", "2"]
        assert [parse_url(line.url).endpoint.host for line in roster] == ["127.3.0.1"] * 3 + ["127.3.0.2"] * 2
        assert roster[0].name == "eastron-sdm630-00001"
        serials = {fleet.meter(number).identity.serial for number in range(1, 6)}
        assert len(serials) == 5
        for line in roster:
            assert not (await read_all(line)).errors
        assert fleet.meter(3) is fleet.meter(3)


async def test_groups_may_share_a_port_and_foreign_addresses_are_dropped() -> None:
    async with running([Group(profile=LIBRARY.get("eastron-sdm630"))]) as probe:
        port = probe._listeners[0].port
    groups = [
        Group(profile=LIBRARY.get("eastron-sdm630"), count=3, first_address="127.4.0.1", port=port),
        Group(profile=LIBRARY.get("abb-b23"), count=2, first_address="127.4.1.1", port=port, name="b23 {number}"),
    ]
    async with running(groups) as fleet:
        assert len(fleet._listeners) == 1
        roster = list(fleet.roster())
        assert roster[-1].name == "b23 5"
        for line in roster:
            assert not (await read_all(line)).errors
        link = await connect_tcp("127.4.0.9", port, 5)
        lost: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()

        class Waiting:
            def data_received(self, data: bytes) -> None: ...

            def link_lost(self, error: LinkError) -> None:
                lost.set_result(error)

        link.set_receiver(Waiting())
        await asyncio.wait_for(lost, 5)


async def goes_wrong(line: FleetMeter) -> bool:
    try:
        result = await read_all(line, timeout=0.3)
    except HeadendError:
        return True
    return bool(result.errors)


SURVIVABLE = (
    *(FaultKind.SLOW, FaultKind.TRICKLE, FaultKind.LATENCY, FaultKind.JITTER, FaultKind.LATE),  # it waits
    *(FaultKind.STALE, FaultKind.DUPLICATE, FaultKind.FLOOD),  # asks once, finds the frame in the noise
    *(FaultKind.ONE_SESSION, FaultKind.ZOMBIE),  # connects once
    FaultKind.HCS,  # Modbus has no check of a header
    *(kind for kind in FaultKind if kind.layer is Layer.METER and kind is not FaultKind.REBOOT),  # see test_troubles
)
"""what a client may get over"""


@pytest.mark.parametrize(("profile_id", "framing"), [("eastron-sdm120", "rtu"), ("generic-dlms-1p", "hdlc")])
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.REJECT])
async def test_every_fault_is_noticed_and_the_healthy_are_not_touched(
    kind: FaultKind, profile_id: str, framing: str
) -> None:
    fault = Fault(kind=kind, meters=0.5, seconds=0.2)
    group = Group(profile=LIBRARY.get(profile_id), count=6, faults=[fault], framing=framing)
    async with running([group], seed=4) as fleet:
        struck = [fault.strikes(4, number) for number in range(1, 7)]
        assert len(set(struck)) == 2
        for line, faulty in zip(fleet.roster(), struck, strict=True):
            if faulty and kind not in SURVIVABLE:
                assert await goes_wrong(line)
            elif not faulty:
                assert not (await read_all(line)).errors


async def test_a_fleet_can_be_stopped_and_started_and_remembers() -> None:
    fleet = Fleet([Group(profile=LIBRARY.get("eastron-sdm630"), count=2)])
    await fleet.start()
    fleet.meter(1).switch_relay(closed=False)
    await fleet.aclose()
    await fleet.aclose()
    await fleet.start()
    assert not fleet.meter(1).relay_closed()
    assert fleet.meter(2).relay_closed()
    await fleet.aclose()


async def test_a_port_that_is_taken_is_told_and_nothing_stays_open() -> None:
    async with running([Group(profile=LIBRARY.get("abb-b23"))]) as fleet:
        port = fleet._listeners[0].port
        twin = Fleet([Group(profile=LIBRARY.get("abb-b23")), Group(profile=LIBRARY.get("abb-b23"), port=port)])
        with pytest.raises(ConfigError, match=str(port)):
            await twin.start()
        assert twin._listeners == []


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([{"first_address": "192.0.2.1"}], "127.0.0.0/8"),
        ([{"first_address": "127.255.255.254", "count": 3}], "127.0.0.0/8"),
        ([{"first_address": "localhost"}], "no address"),
        ([{"count": 0}], "127.0.0.0/8"),
        ([{"framing": "wrapper"}], "no framing 'wrapper'"),
        ([{"params": {"warp": "9"}}], "warp"),
        ([{"faults": [Fault(kind=FaultKind.REJECT)]}], "auth"),
        ([{"kind": {"load": "factory"}}], "factory"),
        ([{"port": 5020, "count": 9}, {"port": 5020, "first_address": "127.0.0.5"}], r"127\.0\.0\.5:5020"),
    ],
)
def test_fleets_that_cannot_be_are_refused(groups: list[dict[str, Any]], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Fleet([Group(profile=LIBRARY.get("eastron-sdm630"), **group) for group in groups])


def test_a_meter_that_is_not_there() -> None:
    fleet = Fleet([Group(profile=LIBRARY.get("eastron-sdm630"), count=2)])
    assert len(fleet) == 2
    with pytest.raises(ConfigError, match="no meter 3"):
        fleet.meter(3)


def test_identities_and_values_are_the_same_in_every_process() -> None:
    code = (
        "from headend.drivers.library import Library\n"
        "from headend.emulator.fleet import Fleet, Group\n"
        "fleet = Fleet([Group(profile=Library().get('eastron-sdm630'), count=20)], seed=5, clock=lambda: 1763726400000)\n"
        "print([fleet.meter(n).identity for n in (1, 20)], [fleet.meter(9).value(i, 1763726400000) for i in range(30)])"
    )
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**env, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


# --- fleet files ---

FLEET = """
[fleet]
seed = 3

[[group]]
profile = "eastron-sdm630"
count = 30
first_address = "127.5.0.1"
port = 5020
units = [1, 2, 3]
name = "flat {number}"
load = "solar"
mean_watts = 800
faults = [{ kind = "silent", meters = 0.1 }, { kind = "slow", meters = 0.1, chance = 0.5, seconds = 1 }]

[[group]]
profile = "abb-b23"
port = 5021
params = { timeout_ms = 500 }
"""


def resolve(place: str, name: str) -> Secret:
    assert name
    return Secret(place.removeprefix("text:").encode())


def load(text: str) -> Fleet:
    return load_fleet(text, LIBRARY, resolve, "FLEET.toml")


def test_a_fleet_file_makes_a_fleet_whose_roster_can_be_printed() -> None:
    fleet = load(FLEET.replace("params = { timeout_ms = 500 }", ""))
    assert len(fleet) == 31
    lines = [{"url": line.url, "profile": line.profile, "name": line.name} for line in fleet.roster()]
    assert json.loads(json.dumps(lines))[3] == {
        "url": "modbus://127.5.0.2:5020/1?profile=eastron-sdm630",
        "profile": "eastron-sdm630",
        "name": "flat 4",
    }
    assert fleet.meter(1).kind.load == "solar"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[fleet]", "[flet]", "flet"),
        ("seed = 3", "sed = 3", r"FLEET\.toml:3: \[fleet\] sed: expected one of seed"),
        ("[fleet]", "fleet = [", r"FLEET\.toml: "),
        ('"eastron-sdm630"', '"eastron-sdm999"', r"FLEET\.toml:6: \[group\] profile"),
        ("count = 30", 'count = "30"', r"FLEET\.toml:7: \[group\] count: expected a number, got '30'"),
        ("port = 5020", "port = 70000", r"FLEET\.toml:9: \[group\] port"),
        ("units = [1, 2, 3]", "units = [1, 1]", r"FLEET\.toml:10: \[group\] units"),
        ('load = "solar"', 'load = "factory"', r"FLEET\.toml:12: \[group\] load: expected one of household"),
        ('kind = "silent"', 'kind = "tired"', r"FLEET\.toml:14: \[group\] faults: expected kind = one of silent"),
        ("meters = 0.1 }, {", 'meters = "some" }, {', r"FLEET\.toml:14"),
        ("meters = 0.1 }, {", "metres = 0.1 }, {", r"FLEET\.toml:14"),
        (
            "params = { timeout_ms = 500 }",
            "secret = 'text:12345678'",
            r"FLEET\.toml:19: \[group\] secret: expected one of",
        ),
        (
            "params = { timeout_ms = 500 }",
            "secrets = { secret = 12345678 }",
            r"FLEET\.toml:19: \[group\] secrets: expected",
        ),
        ("params = { timeout_ms = 500 }", "params = { warp = 9 }", "warp"),
    ],
)
def test_what_is_wrong_in_a_fleet_file_is_told_by_line(old: str, new: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load(FLEET.replace(old, new))
    assert "12345678" not in str(caught.value)


def test_a_fleet_needs_a_group() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        load("[fleet]\nseed = 1\n")


def test_a_fleet_file_says_when_its_clock_begins_and_how_fast_it_runs() -> None:
    text = '[clock]\nstart = 2025-01-01T00:00:00Z\nspeed = 0\n[[group]]\nprofile = "eastron-sdm120"\nlabel = "flats"\n'
    fleet = load_fleet(text, LIBRARY, no_secret)
    assert fleet.meter(1).now() == 1_735_689_600_000
    assert [group.group for group in fleet.control.groups()] == ["flats"]
    for wrong in ("start = 2025-01-01", "speed = -1", 'speed = "fast"', "pace = 2"):
        with pytest.raises(ConfigError, match=r"fleet:2: \[clock\]"):
            load_fleet(f'[clock]\n{wrong}\n[[group]]\nprofile = "eastron-sdm120"\n', LIBRARY, no_secret)
    assert len(load_fleet("[fleet]\nseed = 1\n", LIBRARY, no_secret, empty=True)) == 0


def no_secret(place: str, name: str) -> Secret:
    raise AssertionError((place, name))
