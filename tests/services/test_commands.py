"""Commands: each is carried out once, whatever happens to wire, meter, head-end and those who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headend.errors import Busy, ConfigError, Conflict, NotFound, PermissionDenied
from headend.model.access import Actor, Role
from headend.model.event import Event, EventType
from headend.model.job import Command, CommandKind, Job, JobState, Verdict
from headend.model.meter import Secret
from headend.model.reading import Quality, Reading, ReadingBatch, Source
from headend.services.bus import BLOCK
from headend.services.commanding.reads import Reads
from headend.services.commanding.rules import Rules
from headend.services.commands import Commands
from headend.services.lockout import Lockout
from headend.services.submit import submit
from headend.storage.refusals import RefusalFile
from headend.storage.store import Store
from tests.new_database import laid

from .support import EPOCH, PROFILE, Site, World, clock, meter, virtual

DISCONNECT = Command(kind=CommandKind.DISCONNECT)
RECONNECT = Command(kind=CommandKind.RECONNECT)
FREEZE = Command(kind=CommandKind.FREEZE)
ANNA = Actor("user:anna", Role.DISPATCHER)
BERT = Actor("user:bert", Role.DISPATCHER)
OTTO = Actor("user:otto", Role.OPERATOR)


def a_world() -> World:
    world = World({"one": Site(), "two": Site()}, request_timeout=1.0)
    world.roster.load([meter("one", "one"), meter("two", "two")])
    return world


@asynccontextmanager
async def desk(world: World, folder: Path, **rules: Any) -> AsyncIterator[Commands]:
    """A head-end's commands, until it stops, or is killed."""
    loop = asyncio.get_running_loop()
    with Store.open(
        laid(folder / "h.db"), vault_key=bytes(32), millis=lambda: round((EPOCH + loop.time()) * 1000)
    ) as store:
        reads = Reads(world.bus, clock, driver=lambda _name: world.driver, profile=lambda _meter: PROFILE)  # type: ignore[arg-type, return-value]
        commands = Commands(world.lanes, world.roster, world.bus, clock, store=store, reads=reads, rules=Rules(**rules))
        await commands.recover()
        running = asyncio.create_task(commands.run())
        try:
            yield commands
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert store.audit.verify() == []


async def carried_out(commands: Commands, command: Command = DISCONNECT, meter_id: str = "one") -> Job:
    """Ask, confirm, and wait for the first outcome."""
    job = await commands.submit(meter_id, command, ANNA)
    if job.code:
        job = await commands.confirm(job.id, ANNA, job.code)
    return await told(await commands.wait(job.id, 1000))


async def told(job: Job) -> Job:
    """Events follow what is in the store."""
    await asyncio.sleep(0.01)
    return job


async def found_out(commands: Commands, job: Job) -> Job:
    for _ in range(5000):
        if (job := await commands.get(job.id)).ended:
            break
        await asyncio.sleep(1)
    return await told(job)


def outcomes(world: World) -> list[tuple[Any, Any, Any]]:
    return [
        (item.data["verdict"], item.data["code"], item.data["actor"])
        for item in world.published()
        if isinstance(item, Event) and item.type is EventType.COMMAND_FINISHED
    ]


def states(world: World, job: Job) -> list[Any]:
    return [
        item.data["state"]
        for item in world.published()
        if isinstance(item, Event) and item.type is EventType.JOB_CHANGED and item.data["job"] == job.id
    ]


@virtual
async def test_a_command_is_confirmed_and_carried_out_once(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        job = await commands.submit("one", DISCONNECT, ANNA)
        assert job.state is JobState.PROPOSED
        await asyncio.sleep(10)
        assert world.sites["one"].log == []
        await commands.confirm(job.id, ANNA, job.code)
        job = await told(await commands.wait(job.id, 10))
        assert (job.state, job.outcome and job.outcome.verdict) == (JobState.SUCCEEDED, Verdict.CONFIRMED)
        assert (job.confirmed_by, job.started_at is not None) == ("user:anna", True)
        assert world.sites["one"].log == ["SWITCH 1 disconnect"]
        seen = world.published()
        world.tape._items.extend(seen)
        assert outcomes(world) == [("confirmed", "", "user:anna")]
        world.tape._items.extend(seen)
        assert states(world, job) == ["proposed", "queued", "running", "succeeded"]
        assert (await commands.confirm(job.id, ANNA, "")).state is JobState.SUCCEEDED  # once more is no error
    await world.lanes.aclose()


@virtual
async def test_what_changes_little_begins_at_once(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        assert (await carried_out(commands, FREEZE)).state is JobState.SUCCEEDED
        read = await carried_out(commands, Command(kind=CommandKind.READ))
        assert [row["value"] for row in read.result] == [230]
        read = await carried_out(commands, Command(kind=CommandKind.READ, params={"refs": "f text:u"}))
        assert [row["value"] for row in read.result] == [1230, 230]
        assert [item for item in world.published() if isinstance(item, ReadingBatch)][-1].values == [1230, 230]
    await world.lanes.aclose()


@virtual
async def test_who_may_ask_and_confirm(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        with pytest.raises(PermissionDenied, match="dispatcher"):
            await commands.submit("one", DISCONNECT, OTTO)
        with pytest.raises(PermissionDenied, match="admin"):
            await commands.submit("one", Command(kind=CommandKind.CLEAR_METER), ANNA)
        with pytest.raises(PermissionDenied, match="operator"):
            await commands.submit("one", Command(kind=CommandKind.READ), Actor("key:x", Role.VIEWER))
        job = await commands.submit("one", DISCONNECT, ANNA)
        with pytest.raises(PermissionDenied, match="dispatcher"):
            await commands.confirm(job.id, OTTO, job.code)
        with pytest.raises(PermissionDenied, match="dispatcher"):
            await commands.cancel(job.id, OTTO)
        with pytest.raises(PermissionDenied, match="code"):
            await commands.confirm(job.id, ANNA, "000000" if job.code != "000000" else "1")
        await commands.confirm(job.id, BERT)  # who has the right needs no code of another's
        assert (await commands.wait(job.id, 10)).confirmed_by == "user:bert"
        actions = [row.action for row in commands._books._audit.list()]
        assert actions.count("right-refused") == 5
        assert actions.count("confirmation-refused") == 1
    await world.lanes.aclose()


@virtual
async def test_three_wrong_codes_end_a_proposal(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        job = await commands.submit("one", DISCONNECT, ANNA)
        other = await commands.submit("two", DISCONNECT, ANNA)
        for _ in range(3):
            with pytest.raises(PermissionDenied):
                await commands.confirm(job.id, ANNA, other.code)
        with pytest.raises(Conflict, match="cancelled"):
            await commands.confirm(job.id, ANNA, job.code)
        assert outcomes(world) == [("not-sent", "cancelled", "user:anna")]
    assert world.sites["one"].log == []
    await world.lanes.aclose()


@virtual
async def test_an_end_while_the_job_is_looked_up_is_not_missed(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        books = commands._books
        really = books.get

        async def late(job_id: str) -> Job:
            job = await really(job_id)
            await asyncio.sleep(5)  # the row was read; before the answer is here, the job ends
            return job

        job = await commands.submit("one", FREEZE, ANNA)
        books.get = late  # type: ignore[method-assign] # a slow thread
        began = asyncio.get_running_loop().time()
        assert (await commands.wait(job.id, 1000)).ended
        assert asyncio.get_running_loop().time() - began < 20
    await world.lanes.aclose()


@virtual
async def test_four_eyes(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path, four_eyes=True) as commands:
        job = await commands.submit("one", DISCONNECT, ANNA)
        with pytest.raises(PermissionDenied, match="another person"):
            await commands.confirm(job.id, ANNA, job.code)
        await commands.confirm(job.id, BERT)
        assert (await commands.wait(job.id, 10)).state is JobState.SUCCEEDED
    await world.lanes.aclose()


@virtual
async def test_a_proposal_that_nobody_confirms_and_one_that_is_taken_back(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path, confirm_seconds=30) as commands:
        job = await commands.submit("one", DISCONNECT, ANNA)
        back = await commands.submit("one", DISCONNECT, ANNA)
        assert (await commands.cancel(back.id, ANNA)).state is JobState.CANCELLED
        await asyncio.sleep(31)
        assert (await commands.get(job.id)).state is JobState.EXPIRED
        with pytest.raises(Conflict, match="expired"):
            await commands.confirm(job.id, ANNA, job.code)
        with pytest.raises(Conflict, match="expired"):
            await commands.cancel(job.id, ANNA)
    assert world.sites["one"].log == []
    await world.lanes.aclose()


@pytest.mark.parametrize(("mood", "code"), [("refuses", "access-denied"), ("busy", "busy")])
def test_a_meter_that_refuses(tmp_path: Path, mood: str, code: str) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world()
        await world.read("one")
        world.sites["one"].moods["1"] = mood
        async with desk(world, tmp_path) as commands:
            job = await carried_out(commands)
            assert (job.state, job.outcome and job.outcome.verdict) == (JobState.FAILED, Verdict.REFUSED)
            assert world.sites["one"].log == ["READ 1 u", "SWITCH 1 disconnect"]
            assert outcomes(world) == [("refused", code, "user:anna")]
        await world.lanes.aclose()

    scenario()


@pytest.mark.parametrize(
    ("mood", "code"), [("silent-once", "link-timeout"), ("closes-once", "link-closed"), ("garbage", "remote-protocol")]
)
@pytest.mark.parametrize("carried", [True, False], ids=["carried-out", "lost-on-the-way"])
def test_a_lost_answer_is_found_out_and_the_command_never_sent_again(
    tmp_path: Path, mood: str, code: str, *, carried: bool
) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world()
        site = world.sites["one"]
        await world.read("one")
        site.moods["1"] = mood
        async with desk(world, tmp_path) as commands:
            job = await carried_out(commands)
            assert (job.state, job.outcome and job.outcome.verdict) == (JobState.UNKNOWN, Verdict.UNKNOWN)
            if not carried:
                site.switched.clear()
            site.moods.clear()
            job = await found_out(commands, job)
            found = (JobState.SUCCEEDED, Verdict.CONFIRMED) if carried else (JobState.FAILED, Verdict.REFUSED)
            assert (job.state, job.outcome and job.outcome.verdict) == found
            assert [line for line in site.log if line.startswith("SWITCH ")] == ["SWITCH 1 disconnect"]
            assert outcomes(world) == [("unknown", code, "user:anna"), (found[1].value, "", "user:anna")]
        await world.lanes.aclose()

    scenario()


@virtual
async def test_what_cannot_be_found_out_stays_unknown(tmp_path: Path) -> None:
    world = a_world()
    world.sites["one"].moods["1"] = "silent"
    async with desk(world, tmp_path, verify_seconds=600) as commands:
        job = await carried_out(commands)
        assert job.verify_by is not None
        began = clock()
        job = await found_out(commands, job)
        assert 600_000 <= clock() - began < 1_000_000
        assert (job.state, job.verify_by) == (JobState.UNKNOWN, None)
    asked = world.sites["one"].log
    assert asked.count("SWITCH 1 disconnect") == 1
    assert 3 < asked.count("SWITCHED 1") < 12
    await world.lanes.aclose()


@virtual
async def test_a_contrary_command_waits_until_it_is_known_what_became_of_the_first(tmp_path: Path) -> None:
    world = a_world()
    site = world.sites["one"]
    site.moods["1"] = "silent"
    async with desk(world, tmp_path) as commands:
        first = await carried_out(commands)
        second = await commands.submit("one", RECONNECT, ANNA)
        await commands.confirm(second.id, ANNA, second.code)
        await asyncio.sleep(60)
        second = await commands.get(second.id)
        assert second.state is JobState.QUEUED
        assert first.id in second.note
        del site.moods["1"]
        assert (await commands.wait(second.id, 1000)).state is JobState.SUCCEEDED
        assert (await commands.get(first.id)).state is JobState.FAILED
        assert [line for line in site.log if line.startswith("SWITCH ")] == [
            "SWITCH 1 disconnect",
            "SWITCH 1 reconnect",
        ]
        assert site.log[-2:] == ["SWITCHED 1", "SWITCH 1 reconnect"]
    await world.lanes.aclose()


@virtual
async def test_commands_to_one_meter_run_one_after_the_other_in_order(tmp_path: Path) -> None:
    world = a_world()
    site = world.sites["one"]
    site.delay = 0.5
    async with desk(world, tmp_path) as commands:
        jobs = [await commands.submit("one", command, ANNA) for command in (DISCONNECT, RECONNECT) * 3]
        await asyncio.gather(*(commands.confirm(job.id, ANNA, job.code) for job in jobs))
        kinds = [(await commands.wait(job.id, 100)).command.kind.value for job in jobs]
        began = sorted(
            (job.started_at or 0, job.command.kind.value) for job in [await commands.get(j.id) for j in jobs]
        )
        assert [line.split()[2] for line in site.log] == [kind for _, kind in began]
        assert len({at for at, _ in began}) == len(kinds) == 6
    await world.lanes.aclose()


@virtual
async def test_a_command_waits_for_its_meter_until_its_deadline(tmp_path: Path) -> None:
    world = a_world()
    site = world.sites["one"]
    site.absent = True
    async with desk(world, tmp_path) as commands:
        late = await commands.submit("one", FREEZE, ANNA, seconds=50)
        patient = await commands.submit("one", FREEZE, ANNA, seconds=3000)
        gone = await commands.submit("one", FREEZE, ANNA, seconds=3000)
        await asyncio.sleep(49)
        assert "nobody listens" in (await commands.get(late.id)).note
        await commands.cancel(gone.id, ANNA)
        await asyncio.sleep(5)
        assert (await commands.get(late.id)).state is JobState.EXPIRED
        site.absent = False
        began = clock()
        await world.read("one")  # it is online again
        assert (await commands.wait(patient.id, 10)).state is JobState.SUCCEEDED
        assert clock() - began < 1000
        assert site.log.count("SWITCH 1 freeze") == 1
        with pytest.raises(NotFound):
            await commands.submit("nowhere", FREEZE, ANNA)
    await world.lanes.aclose()


@virtual
async def test_the_same_request_of_twenty_clients_is_one_command(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        jobs = await asyncio.gather(*(commands.submit("one", DISCONNECT, ANNA, key="k") for _ in range(20)))
        assert len({(job.id, job.code) for job in jobs}) == 1
        confirmed = await asyncio.gather(
            *(commands.confirm(job.id, ANNA, job.code) for job in jobs), return_exceptions=True
        )
        assert all(isinstance(each, Job | Conflict) for each in confirmed)
        assert (await commands.wait(jobs[0].id, 10)).state is JobState.SUCCEEDED
        again = await commands.submit("one", DISCONNECT, ANNA, key="k")
        assert (again.id, again.state, again.code) == (jobs[0].id, JobState.SUCCEEDED, "")
        assert (await commands.submit("one", DISCONNECT, BERT, key="k")).id != again.id
        with pytest.raises(Conflict):
            await commands.submit("one", RECONNECT, ANNA, key="k")
    assert world.sites["one"].log == ["SWITCH 1 disconnect"]
    await world.lanes.aclose()


@pytest.mark.parametrize("carried", [True, False])
def test_a_restart_in_the_middle_of_a_command(tmp_path: Path, *, carried: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = a_world()
        site = world.sites["one"]
        site.delay = 0.9
        async with desk(world, tmp_path) as commands:
            waiting = await commands.submit("two", DISCONNECT, ANNA, seconds=50)
            job = await commands.submit("one", DISCONNECT, ANNA)
            await commands.confirm(job.id, ANNA, job.code)
            await asyncio.sleep(0.5)
            late = await commands.submit("one", FREEZE, ANNA, seconds=5)
            resumed = await commands.submit("one", FREEZE, ANNA, seconds=500)
        assert site.log == ["SWITCH 1 disconnect"]
        if not carried:
            site.switched.clear()
        await asyncio.sleep(10)
        async with desk(world, tmp_path) as commands:
            assert (await commands.get(job.id)).state is JobState.UNKNOWN
            job = await found_out(commands, job)
            assert job.state is (JobState.SUCCEEDED if carried else JobState.FAILED)
            assert (await commands.wait(late.id, 100)).state is JobState.EXPIRED
            assert (await commands.wait(resumed.id, 100)).state is JobState.SUCCEEDED
            with pytest.raises(PermissionDenied):
                await commands.confirm(waiting.id, ANNA, waiting.code)  # codes end with the process
            await commands.confirm(waiting.id, BERT)
            assert (await commands.wait(waiting.id, 100)).state is JobState.SUCCEEDED
            assert site.log.count("SWITCH 1 disconnect") == site.log.count("SWITCH 1 freeze") == 1
        await world.lanes.aclose()

    scenario()


@virtual
async def test_parameters_that_make_no_sense_are_refused_at_once(tmp_path: Path) -> None:
    world = a_world()
    async with desk(world, tmp_path) as commands:
        admin = Actor("user:root", Role.ADMIN)
        for kind, params in (
            (CommandKind.WRITE, {"ref": "u"}),
            (CommandKind.WRITE, {"value": 1}),
            (CommandKind.WRITE, {"ref": "password", "value": "abracadabra"}),
            (CommandKind.SET_CLOCK, {"at": "noon"}),
            (CommandKind.READ_HISTORY, {}),
            (CommandKind.CHANGE_SECRET, {"name": "secret"}),
            (CommandKind.READ, {"refs": "u " * 201}),
        ):
            with pytest.raises(ConfigError):
                await commands.submit("one", Command(kind=kind, params=params), admin)
        assert await asyncio.to_thread(commands._books.jobs.list) == []
    await world.lanes.aclose()


OLD, NEW = Secret(b"open-sesame"), Secret(b"abracadabra")
CHANGE = Command(kind=CommandKind.CHANGE_SECRET, params={"name": "secret"}, secret=NEW)
ROOT = Actor("user:root", Role.ADMIN)


@asynccontextmanager
async def locked_world(folder: Path) -> AsyncIterator[tuple[World, Commands]]:
    """A meter with a password, which the vault has."""
    refusals = RefusalFile(folder / "refusals.db")
    world = World({"one": Site()}, request_timeout=1.0, lockout=Lockout(refusals))
    world.roster.load([meter("one", "one")])
    async with desk(world, folder) as commands:
        commands._vault.put("one", "secret", OLD)
        world.secrets["one"] = {"secret": OLD}
        await world.read("one")
        yield world, commands
    await world.lanes.aclose()
    refusals.close()


async def changed(commands: Commands) -> Job:
    job = await commands.submit("one", CHANGE, ROOT)
    await commands.confirm(job.id, ROOT, job.code)
    return await commands.wait(job.id, 100)


def logins(site: Site) -> list[str]:
    return [line.split()[2] for line in site.log if line.startswith("LOGIN")]


@virtual
async def test_a_new_secret_replaces_the_old_one_when_the_meter_has_taken_it(tmp_path: Path) -> None:
    async with locked_world(tmp_path) as (world, commands):
        vault = commands._vault
        job = await commands.submit("one", CHANGE, ROOT)
        assert (vault.get("one", "secret"), vault.waiting("one", "secret", job.id)) == (OLD, NEW)
        assert list(vault.names("one")) == ["secret"]
        await commands.confirm(job.id, ROOT, job.code)
        assert (await commands.wait(job.id, 100)).state is JobState.SUCCEEDED
        assert vault.get("one", "secret") == NEW
        with pytest.raises(NotFound):
            vault.waiting("one", "secret", job.id)
        world.sites["one"].moods["1"] = "refuses"
        job = await changed(commands)
        assert job.state is JobState.FAILED
        assert vault.get("one", "secret") == NEW
        del world.sites["one"].moods["1"]
        dropped = await commands.submit("one", CHANGE, ROOT, key="k")
        assert (await commands.submit("one", CHANGE, ROOT, key="k")).id == dropped.id
        with pytest.raises(Conflict, match="another secret"):
            await commands.submit("one", replace(CHANGE, secret=OLD), ROOT, key="k")
        await commands.cancel(dropped.id, ROOT)
        for ended in (job, dropped):
            with pytest.raises(NotFound):
                vault.waiting("one", "secret", ended.id)


@pytest.mark.parametrize(
    ("has", "state", "kept", "tried"),
    [
        ("abracadabra", JobState.SUCCEEDED, NEW, ["abracadabra"]),
        ("open-sesame", JobState.FAILED, OLD, ["abracadabra", "open-sesame"]),
        ("something-else", JobState.UNKNOWN, OLD, ["abracadabra", "open-sesame"]),
    ],
    ids=["taken", "not-taken", "neither"],
)
def test_which_secret_a_meter_has_is_found_out_by_associating_once_with_each(
    tmp_path: Path, has: str, state: JobState, kept: Secret, tried: list[str]
) -> None:
    @virtual
    async def scenario() -> None:
        async with locked_world(tmp_path) as (world, commands):
            site = world.sites["one"]
            site.moods["1"] = "silent-once"
            job = await changed(commands)
            assert job.state is JobState.UNKNOWN
            assert commands._vault.waiting("one", "secret", job.id) == NEW
            site.password = has
            site.log.clear()
            job = await found_out(commands, job)
            assert (job.state, commands._vault.get("one", "secret")) == (state, kept)
            assert logins(site) == tried
            if state is JobState.UNKNOWN:
                assert "both are kept" in (job.outcome.detail if job.outcome else "")
                assert commands._vault.waiting("one", "secret", job.id) == NEW
            await asyncio.sleep(4000)
            assert logins(site) == tried
            said = f"{job} {commands._books._audit.list()} {world.published()}"
            assert not any(word in said for word in ("abracadabra", "sesame"))

    scenario()


@virtual
async def test_a_head_end_that_was_killed_when_the_new_secret_had_replaced_the_old_one(tmp_path: Path) -> None:
    async with locked_world(tmp_path) as (world, commands):
        world.sites["one"].moods["1"] = "silent-once"
        job = await changed(commands)
        commands._vault.adopt("one", "secret", job.id)
        assert (await found_out(commands, job)).state is JobState.SUCCEEDED
        assert logins(world.sites["one"])[1:] == ["abracadabra"]


@virtual
async def test_a_meter_that_says_nothing_to_a_wrong_secret(tmp_path: Path) -> None:
    async with locked_world(tmp_path) as (world, commands):
        site = world.sites["one"]
        site.moods["1"] = "silent"  # the request is lost
        job = await changed(commands)
        site.moods["1"] = "silent-once"  # so is the association under the new secret
        assert (await found_out(commands, job)).state is JobState.FAILED
        assert logins(site)[1:] == ["abracadabra", "open-sesame"]
        assert commands._vault.get("one", "secret") == OLD


def reading(meter_id: str = "one", quantity: str = "voltage_l1", zone: Any = UTC) -> Reading:
    at = datetime.fromtimestamp(EPOCH, tz=zone)
    return Reading(meter_id=meter_id, quantity=quantity, value=231.5, measured_at=at, quality=Quality.MANUAL)


@virtual
async def test_readings_of_clients_take_the_way_of_all_readings() -> None:
    world = a_world()
    assert submit(world.roster, world.bus, clock, "one", [reading(), reading(quantity="frequency")]) == 2
    assert submit(world.roster, world.bus, clock, "one", []) == 0
    (batch,) = world.published()
    assert isinstance(batch, ReadingBatch)
    assert batch.source is Source.SUBMITTED
    assert list(batch.readings()) == [reading(), reading(quantity="frequency")]


@virtual
async def test_what_cannot_be_submitted() -> None:
    world = a_world()
    for readings, error in (
        ([reading("two")], ConfigError),
        ([reading(zone=None)], ConfigError),
        ([reading(quantity="moonlight")], NotFound),
    ):
        with pytest.raises(error):
            submit(world.roster, world.bus, clock, "one", readings)
    with pytest.raises(NotFound):
        submit(world.roster, world.bus, clock, "three", [reading("three")])
    world.bus.subscribe("full", ReadingBatch, maxsize=1, overflow=BLOCK)
    submit(world.roster, world.bus, clock, "one", [reading()])
    with pytest.raises(Busy):
        submit(world.roster, world.bus, clock, "one", [reading()])
    assert len(world.published()) == 1
