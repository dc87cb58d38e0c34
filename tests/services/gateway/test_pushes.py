"""Pushes of real meters over connections that the meters have opened: at once, while idle and while they are asked."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from headend.drivers.dlms import driver as dlms
from headend.model.event import Event, EventType
from headend.model.meter import Meter, MeterIdentity, Secret
from headend.model.reading import ReadingBatch, Source
from headend.model.url import parse_url
from services.support import virtual

from .support import LOGIN, NUMBER, Dialled


def pushing(number: str, **fields: object) -> Meter:
    return parse_url(f"inbound://{number}?protocol=dlms&framing=hdlc").meter("m1", poll_seconds=0.0, **fields)


def aidon(pushes: SimpleNamespace) -> bytes:
    octets: bytes = pushes.AIDON
    return octets


async def pushed(head_end: Dialled, seconds: float = 1.0) -> list[tuple[str, object]]:
    """What the pushes said: NOTIFIED where the meter file of the tests knows none of the objects."""
    await asyncio.sleep(seconds)
    return [
        (item.meter_id, item.type if isinstance(item, Event) else item.source)
        for item in head_end.world.published()
        if isinstance(item, ReadingBatch) or item.type in {EventType.NOTIFIED, EventType.PUSH_REFUSED}
    ]


@pytest.mark.parametrize("first", [b"", LOGIN])
def test_a_push_says_who_it_is_or_the_login_before_it(first: bytes, real_pushes: SimpleNamespace) -> None:
    @virtual
    async def run() -> None:
        number = NUMBER if first else real_pushes.AIDON_SERIAL
        head_end = Dialled(pushing(number), drivers={"dlms": dlms})
        working = asyncio.create_task(head_end.intake.run())
        modem = head_end.dial(first)
        await asyncio.sleep(0.1)
        octets = aidon(real_pushes)
        for at in range(0, len(octets), 50):
            modem.link.write(octets[at : at + 50])
            await asyncio.sleep(0.1)
        found = await pushed(head_end)
        assert len(found) == 1
        assert found[0][0] == "m1"
        modem.link.write(octets + octets)
        assert len(await pushed(head_end)) == 2
        caller = head_end.gateway.caller_of("m1")
        assert caller is not None
        assert caller._waiting == 0
        head_end.intake.close()
        await working
        await head_end.lanes.aclose()
        head_end.gateway.abort()
        await asyncio.sleep(0.01)

    run()


def test_an_unknown_caller_that_pushes_is_known_by_what_it_says(real_pushes: SimpleNamespace) -> None:
    @virtual
    async def run() -> None:
        head_end = Dialled(drivers={"dlms": dlms})
        modem = head_end.dial(aidon(real_pushes))
        await asyncio.sleep(0.1)
        (entry,) = head_end.gateway.quarantine.all()
        assert (entry.key, entry.label) == (f"name {real_pushes.AIDON_SERIAL}", "dlms-hdlc")
        assert modem.link.is_open
        await head_end.aclose()

    run()


def test_a_ciphered_push_is_believed_only_once(real_pushes: SimpleNamespace) -> None:
    @virtual
    async def run() -> None:
        meter = pushing("any", identity=MeterIdentity(system_title=real_pushes.KAMSTRUP_TITLE))
        head_end = Dialled(meter, drivers={"dlms": dlms})
        head_end.world.secrets["m1"] = {
            name: Secret(bytes.fromhex(text)) for name, text in real_pushes.KAMSTRUP_KEYS.items()
        }
        working = asyncio.create_task(head_end.intake.run())
        head_end.dial(real_pushes.KAMSTRUP + real_pushes.KAMSTRUP)
        found = await pushed(head_end)
        assert [kind for _, kind in found][1:] == [EventType.PUSH_REFUSED], "the second is a replay"
        assert found[0][1] in {Source.PUSH, EventType.NOTIFIED}
        head_end.intake.close()
        await working
        await head_end.lanes.aclose()
        head_end.gateway.abort()
        await asyncio.sleep(0.01)

    run()
