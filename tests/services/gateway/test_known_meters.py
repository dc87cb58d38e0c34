"""Meters of the head-end that dial in: their lane owns the connection, they are asked over it, and lose it."""

from __future__ import annotations

import asyncio

import pytest

from headend.drivers.base import Notification
from headend.errors import LinkClosed, NotConnected
from headend.model.event import EventType
from headend.model.reading import ReadingBatch
from headend.services.gateway.limits import Limits
from services.support import Site, clock, virtual

from .support import LOGIN, LOGIN_ACK, NUMBER, Dialled, heartbeat, inbound, login

ASIDE = (EventType.METER_ONLINE, EventType.SESSION_REOPENED)


@virtual
async def test_a_meter_that_logs_in_is_acknowledged_and_asked_over_its_own_connection() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    site = Site({"1": 231})
    modem = head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    assert modem.heard == LOGIN_ACK
    assert head_end.roster.state("m1").online
    assert await head_end.world.read("m1") == 231
    assert await head_end.world.read("m1") == 231
    assert site.log == ["READ 1 u", "READ 1 u"]
    assert head_end.events() == [(EventType.METER_ONLINE, "m1"), (EventType.METER_CONNECTED, "m1")]
    await head_end.aclose()


@pytest.mark.parametrize("split", range(1, len(LOGIN)))
def test_a_login_in_two_pieces_is_the_same_login(split: int) -> None:
    @virtual
    async def run() -> None:
        head_end = Dialled(inbound("m1", NUMBER))
        modem = head_end.dial(LOGIN[:split])
        await asyncio.sleep(0.5)
        assert not modem.heard
        modem.link.write(LOGIN[split:])
        await asyncio.sleep(0.1)
        assert modem.heard == LOGIN_ACK
        await head_end.aclose()

    run()


@virtual
async def test_a_meter_that_has_not_dialled_in_is_no_failure_of_it() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    for _ in range(5):
        with pytest.raises(NotConnected, match=f"{NUMBER} has not dialled in"):
            await head_end.world.read("m1")
    state = head_end.roster.state("m1")
    assert (state.circuit.failures, state.online, state.last_error_code) == (0, None, "")
    assert head_end.events() == []
    await head_end.aclose()


@virtual
async def test_a_poll_that_was_missed_is_made_when_the_meter_comes() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    polling = asyncio.create_task(head_end.poller.run())
    await asyncio.sleep(600)
    assert not [item for item in head_end.world.published() if isinstance(item, ReadingBatch)]
    assert head_end.roster.state("m1").reads_failed == 0
    head_end.dial(LOGIN, site=Site({"1": 231}))
    await asyncio.sleep(4)
    (batch,) = (item for item in head_end.world.published() if isinstance(item, ReadingBatch))
    assert (batch.meter_id, list(batch.values)) == ("m1", [231])
    await asyncio.sleep(600)
    batches = [item for item in head_end.world.published() if isinstance(item, ReadingBatch)]
    assert len(batches) == 10, "then it is polled as always"
    head_end.poller.stop()
    await polling
    await head_end.aclose()


@virtual
async def test_heartbeats_between_question_and_answer_disturb_nobody() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    site = Site({"1": 231})
    site.delay = 1.0
    modem = head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    reading = asyncio.create_task(head_end.world.read("m1"))
    await asyncio.sleep(0.5)
    before = modem.link.octets_in
    for _ in range(3):
        modem.link.write(heartbeat(NUMBER))
    await asyncio.sleep(0.1)
    assert modem.link.octets_in - before == 3 * len(heartbeat(NUMBER)), "each is acknowledged"
    assert await reading == 231
    assert head_end.gateway.beats >= 1
    await head_end.aclose()


@virtual
async def test_a_second_connection_of_a_meter_replaces_the_first() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    first_site, second_site = Site({"1": 1}), Site({"1": 2})
    first = head_end.dial(LOGIN, site=first_site)
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 1
    first_site.delay = 3.0
    reading = asyncio.create_task(head_end.world.read("m1"))
    await asyncio.sleep(0.1)
    head_end.dial(LOGIN, site=second_site)
    await asyncio.sleep(0.1)
    assert not first.link.is_open
    assert await reading == 2, "what was under way is asked again"
    connected = [event for event in head_end.events() if event[0] not in ASIDE]
    assert connected == [(EventType.METER_CONNECTED, "m1")] * 2, "it was connected all the time"
    assert list(head_end.gateway.callers) == [2]
    await head_end.aclose()


@virtual
async def test_meters_that_replace_each_other_without_end_are_stopped() -> None:
    head_end = Dialled(inbound("m1", NUMBER), limits=Limits(per_meter=3.0))
    for _ in range(10):
        head_end.dial(LOGIN)
        await asyncio.sleep(0.1)
    assert list(head_end.gateway.callers) == [4], "the one before stays"
    await asyncio.sleep(21)
    head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    assert list(head_end.gateway.callers) == [11], "a while later another one may"
    await head_end.aclose()


@virtual
async def test_a_meter_is_offline_when_it_has_not_come_back_in_time() -> None:
    head_end = Dialled(inbound("m1", NUMBER), limits=Limits(grace=60.0))
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(1)
    modem.link.abort()
    await asyncio.sleep(59)
    assert head_end.roster.state("m1").online
    assert head_end.events()[-1] == (EventType.METER_DISCONNECTED, "m1")
    with pytest.raises(NotConnected):
        await head_end.world.read("m1")
    await asyncio.sleep(2)
    assert head_end.roster.state("m1").online is False
    assert head_end.events() == [(EventType.METER_OFFLINE, "m1")]
    head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    assert head_end.roster.state("m1").online
    await head_end.aclose()


@virtual
async def test_a_meter_that_comes_back_in_time_was_never_offline() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(30)
    modem.link.abort()
    await asyncio.sleep(30)
    head_end.dial(LOGIN)
    await asyncio.sleep(300)
    assert [kind for kind, _ in head_end.events()] == [
        EventType.METER_ONLINE,
        EventType.METER_CONNECTED,
        EventType.METER_DISCONNECTED,
        EventType.METER_CONNECTED,
    ]
    await head_end.aclose()


@virtual
async def test_a_job_on_a_connection_that_is_lost_fails_and_the_next_waits_for_none() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    site = Site()
    site.moods["1"] = "silent"
    modem = head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    reading = asyncio.create_task(head_end.world.read("m1"))
    await asyncio.sleep(0.1)
    modem.link.abort()
    with pytest.raises(LinkClosed):
        await reading
    with pytest.raises(NotConnected):
        await head_end.world.read("m1")
    await head_end.aclose()


@virtual
async def test_a_meter_that_does_not_answer_is_made_to_dial_in_again() -> None:
    head_end = Dialled(inbound("m1", NUMBER), request_timeout=2.0)
    site = Site()
    site.moods["1"] = "silent"
    modem = head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    with pytest.raises(Exception, match="no answer"):
        await head_end.world.read("m1")
    await asyncio.sleep(0.1)
    assert not modem.link.is_open
    assert head_end.roster.state("m1").circuit.failures == 1
    await head_end.aclose()


@virtual
async def test_the_session_of_a_meter_that_is_seldom_asked_ends_and_its_connection_stays() -> None:
    head_end = Dialled(inbound("m1", NUMBER, poll_seconds=0.0))
    modem = head_end.dial(LOGIN, site=Site({"1": 5}))
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 5
    await asyncio.sleep(60)
    assert head_end.world.driver.sessions[0].closed
    assert modem.link.is_open
    assert await head_end.world.read("m1") == 5
    await head_end.aclose()


@virtual
async def test_meters_behind_one_gateway_share_its_connection() -> None:
    head_end = Dialled(inbound("m1", NUMBER, "1"), inbound("m2", NUMBER, "2"))
    modem = head_end.dial(LOGIN, site=Site({"1": 1, "2": 2, "3": 3}))
    await asyncio.sleep(0.1)
    assert (await head_end.world.read("m1"), await head_end.world.read("m2")) == (1, 2)
    head_end.roster.add(inbound("m3", NUMBER, "3"))
    assert await head_end.world.read("m3") == 3
    modem.link.abort()
    await asyncio.sleep(200)
    assert [head_end.roster.state(name).online for name in ("m1", "m2", "m3")] == [False, False, False]
    await head_end.aclose()


@virtual
async def test_a_meter_that_is_changed_keeps_its_connection_unless_it_is_reached_otherwise() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    modem = head_end.dial(LOGIN, site=Site({"1": 5}))
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 5
    head_end.roster.update(inbound("m1", NUMBER, name="new"))
    assert head_end.roster.state("m1").online
    assert await head_end.world.read("m1") == 5
    assert modem.link.is_open
    head_end.roster.update(inbound("m1", "77"))
    await asyncio.sleep(0.1)
    assert not modem.link.is_open
    await head_end.aclose()


@virtual
async def test_a_meter_that_is_removed_is_closed() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    modem = head_end.dial(LOGIN, site=Site({"1": 5}))
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 5
    head_end.roster.remove("m1")
    await asyncio.sleep(1)
    assert not modem.link.is_open
    await head_end.aclose()


@virtual
async def test_heartbeats_keep_a_connection_and_their_absence_ends_it() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    modem = head_end.dial(LOGIN)
    for _ in range(20):
        await asyncio.sleep(120)
        modem.link.write(heartbeat(NUMBER))
    assert modem.link.is_open
    await asyncio.sleep(1)
    assert head_end.roster.state("m1").last_seen == clock() - 1000
    await asyncio.sleep(300)
    assert modem.link.is_open
    await asyncio.sleep(70)
    assert not modem.link.is_open, "three that were due did not come"
    await head_end.aclose()


@virtual
async def test_another_number_on_the_same_connection_is_not_believed() -> None:
    head_end = Dialled(inbound("m1", NUMBER), inbound("m2", "77"))
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    modem.link.write(login("77"))
    await asyncio.sleep(0.1)
    assert not modem.link.is_open
    assert (EventType.CALLER_REFUSED, "") in head_end.events()
    await head_end.aclose()


@virtual
async def test_a_heartbeat_without_a_number_is_of_whoever_logged_in() -> None:
    head_end = Dialled(inbound("m1", "1001"))
    modem = head_end.dial(b"LOGIN:1001")  # USR-GPRS232-701 manual, 6.2
    await asyncio.sleep(10)
    assert head_end.gateway.caller_of("m1") is not None
    modem.link.write(b"www.usr.cn")  # USR-DR404 manual, 3.8
    await asyncio.sleep(10)
    assert modem.link.is_open
    assert head_end.gateway.caller_of("m1") is not None
    await head_end.aclose()


@virtual
async def test_a_number_that_nobody_has_set_is_known_by_its_address() -> None:
    head_end = Dialled(inbound("m1", "192.0.2.7"))
    head_end.dial(login("000000000000"))
    head_end.dial(login("000000000000"), peer="192.0.2.8:50000")
    await asyncio.sleep(0.1)
    assert head_end.gateway.caller_of("m1") is not None
    assert [entry.key for entry in head_end.gateway.quarantine.all()] == ["address 192.0.2.8"]
    await head_end.aclose()


@virtual
async def test_what_a_meter_says_while_its_session_is_open_and_idle_is_published_at_once() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    site = Site({"1": 5})
    head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 5
    (session,) = head_end.world.driver.sessions
    session.said.append(Notification(kind="push", body=7))
    head_end.world.published()
    site.links[0].write(b"2 9\n")
    await asyncio.sleep(0.1)
    said = [item.meter_id for item in head_end.world.published() if item.type is EventType.NOTIFIED]
    assert said == ["m1"]
    await head_end.aclose()


@virtual
async def test_a_session_that_hears_nonsense_while_it_is_idle_costs_the_connection() -> None:
    head_end = Dialled(inbound("m1", NUMBER))
    site = Site({"1": 5})
    modem = head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    assert await head_end.world.read("m1") == 5
    site.links[0].write(b"nonsense\n")
    await asyncio.sleep(0.1)
    assert not modem.link.is_open
    await head_end.aclose()


@virtual
async def test_a_meter_that_has_just_dialled_in_is_left_alone_for_a_moment() -> None:
    head_end = Dialled(inbound("m1", NUMBER), limits=Limits(settle=4.0))
    site = Site({"1": 5})
    head_end.dial(LOGIN, site=site)
    await asyncio.sleep(0.1)
    reading = asyncio.create_task(head_end.world.read("m1"))
    await asyncio.sleep(1.8)
    assert site.log == []
    assert await reading == 5
    assert asyncio.get_running_loop().time() < 6.1
    await head_end.aclose()


@virtual
async def test_a_meter_that_goes_before_it_was_asked_is_not_connected() -> None:
    head_end = Dialled(inbound("m1", NUMBER), limits=Limits(settle=4.0))
    modem = head_end.dial(LOGIN)
    await asyncio.sleep(0.1)
    reading = asyncio.create_task(head_end.world.read("m1"))
    await asyncio.sleep(1)
    modem.link.abort()
    with pytest.raises(NotConnected):
        await reading
    await head_end.aclose()
