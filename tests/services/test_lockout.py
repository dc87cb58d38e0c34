"""A wrong password reaches a meter once: whoever asks, however often, and after every restart, until somebody changes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headend.errors import (
    AssociationRejected,
    AuthenticationFailed,
    DecipherFailed,
    HeadendError,
    LinkTimeout,
    StorageError,
)
from headend.model.meter import Meter, Secret
from headend.services.acquisition.turns import Priority
from headend.services.lockout import Lockout, place_of
from headend.storage.refusals import RefusalFile

from .support import Site, World, meter, virtual

GUESS = {"secret": Secret(b"guess")}
RIGHT = {"secret": Secret(b"open-sesame")}
METER = replace(meter("one", "one"), params={"unit": "1", "client": "16"})


@pytest.fixture
def refusals(tmp_path: Path) -> Iterator[RefusalFile]:
    made = RefusalFile(tmp_path / "refusals.db")
    yield made
    made.close()


def started(site: Site, refusals: RefusalFile, secrets: dict[str, Secret]) -> World:
    """A head-end that has just started, with one meter on `site`."""
    world = World({"one": site}, lockout=Lockout(refusals))
    world.roster.add(meter("one", "one"))
    world.secrets["one"] = secrets
    return world


@virtual
async def attempt(site: Site, refusals: RefusalFile, secrets: dict[str, Secret]) -> None:
    """Start, ask by every way until the first one works, stop."""
    world = started(site, refusals, secrets)
    try:
        for priority in Priority:
            await world.read("one", priority=priority)
    finally:
        await world.lanes.aclose()


def test_after_every_restart(refusals: RefusalFile) -> None:
    site = Site()
    for _ in range(3):
        with pytest.raises(AuthenticationFailed) as caught:
            attempt(site, refusals, GUESS)
        assert "guess" not in f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert site.log == ["LOGIN 1 guess"]
    assert site.connects == 1  # the others did not even open a link
    attempt(site, refusals, RIGHT)
    assert "LOGIN 1 open-sesame" in site.log
    attempt(site, refusals, RIGHT)


def test_another_change_of_the_meter_does_not_count(refusals: RefusalFile) -> None:
    site = Site()

    @virtual
    async def run() -> None:
        world = started(site, refusals, GUESS)
        for name in ("", "first floor", "second floor"):
            world.roster.update(replace(meter("one", "one"), name=name, poll_seconds=7))
            with pytest.raises(AuthenticationFailed):
                await world.read("one")
        await world.lanes.aclose()

    run()
    assert site.log == ["LOGIN 1 guess"]


def test_the_same_secret_set_again_is_tried_again(refusals: RefusalFile) -> None:
    """It may be the meter that was changed."""
    site = Site()

    @virtual
    async def run() -> None:
        world = started(site, refusals, GUESS)
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                await world.read("one")
            await world.lanes.release(world.roster.state("one").meter)
            world.roster.update(world.roster.state("one").meter)
        await world.lanes.aclose()

    run()
    assert site.log == ["LOGIN 1 guess"] * 2


async def tried(lockout: Lockout, error: HeadendError | None, *, of: Meter = METER) -> bool:
    """Try with GUESS, ending in `error`: False when it was not tried."""
    done = False
    with contextlib.suppress(HeadendError):
        async with lockout.trying(of, GUESS):
            done = True
            if error is not None:
                raise error
    return done


NO_REASON = AssociationRejected("the meter refuses the association: no-reason-given", result=1, diagnostic=1)


@pytest.mark.parametrize("error", [AuthenticationFailed("no"), DecipherFailed("what?"), NO_REASON])
async def test_what_speaks_against_a_secret(refusals: RefusalFile, error: HeadendError) -> None:
    assert await tried(Lockout(refusals), error)
    assert not await tried(Lockout(refusals), error)
    for changed in ({"unit": "1", "client": "17"}, {"unit": "2", "client": "16"}, {"unit": "1"}):
        assert await tried(Lockout(refusals), None, of=replace(METER, params=changed))
    assert not await tried(Lockout(refusals), error)


@pytest.mark.parametrize(
    "error",
    [
        LinkTimeout("nobody"),
        AssociationRejected("busy", result=2, diagnostic=1),
        AssociationRejected("another context, please", result=1, diagnostic=2),
    ],
)
async def test_what_does_not(refusals: RefusalFile, error: HeadendError) -> None:
    assert await tried(Lockout(refusals), error)
    assert await tried(Lockout(refusals), error)


@pytest.mark.parametrize(
    ("error", "once"), [(AuthenticationFailed("no"), True), (DecipherFailed("?"), False), (NO_REASON, False)]
)
async def test_secrets_that_were_accepted_before(refusals: RefusalFile, error: HeadendError, once: bool) -> None:
    """The meter's word counts; what anybody may have said, or what a busy meter says, does not."""
    lockout = Lockout(refusals)
    assert await tried(lockout, None)
    assert await tried(lockout, error)
    assert await tried(lockout, error) is not once


async def test_a_session_that_was_open(refusals: RefusalFile) -> None:
    """A meter that associates again in the middle may want the password no more; nothing else that happens there counts."""
    lockout = Lockout(refusals)
    assert await tried(lockout, None)
    await lockout.refused(METER, DecipherFailed("somebody else's"))
    assert await tried(Lockout(refusals), None)
    await lockout.refused(METER, AuthenticationFailed("the meter refuses the association"))
    assert not await tried(lockout, None)
    assert not await tried(Lockout(refusals), None)


@virtual
async def in_a_session(site: Site, refusals: RefusalFile) -> None:
    world = started(site, refusals, RIGHT)

    async def work(_session: object) -> None:
        raise AuthenticationFailed("the meter refuses the association")

    assert await world.read("one") == 230
    with pytest.raises(AuthenticationFailed):
        await world.lanes.run_job("one", work)
    await world.lanes.aclose()


def test_what_a_session_has_ended_in_is_known_after_a_restart(refusals: RefusalFile) -> None:
    site = Site()
    in_a_session(site, refusals)
    with pytest.raises(AuthenticationFailed, match="not tried again"):
        attempt(site, refusals, RIGHT)
    assert site.connects == 1


async def test_a_meter_without_secrets_costs_nothing(tmp_path: Path) -> None:
    refusals = RefusalFile(tmp_path / "refusals.db")
    async with Lockout(refusals).trying(METER, {}):
        pass
    assert not (tmp_path / "refusals.db").exists()


async def test_who_gives_up_has_learnt_nothing(refusals: RefusalFile) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), Lockout(refusals).trying(METER, GUESS):
            await asyncio.Event().wait()
    assert await tried(Lockout(refusals), None)


class FullDisk:
    """Refusals that can be read, but not written."""

    def reason(self, *_: object) -> str:
        return ""

    def add(self, *_: object) -> None:
        raise StorageError("no space left", reason="full")

    forget = add


async def test_a_full_disk_hides_neither_success_nor_refusal() -> None:
    lockout = Lockout(FullDisk())
    assert await tried(lockout, AuthenticationFailed("no"))
    assert await tried(lockout, None)


def test_a_place_is_the_same_for_the_head_end_and_for_a_command() -> None:
    assert place_of(METER) == place_of(replace(METER, id="x", name="y", params={"client": "16", "unit": "1"}))
    assert place_of(METER) != place_of(replace(METER, profile_id="another"))
