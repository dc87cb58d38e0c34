"""What is known of a meter in its next association: scalers that it told twice, and how long lists may be."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.learning import FULL_EVERY
from headend.drivers.knowledge import Knowledge
from headend.model.objects import ObjectEntry, ReadPlan
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.apdu.get import GetRequestNormal, GetRequestWithList, GetResponseNormal

REGISTERS = [f"3/1-0:{number}.8.0.255" for number in range(1, 21)]
PLAN = ReadPlan(entries=tuple(ObjectEntry(ref=driver.parse_ref(f"{ref}/2"), scaler=None) for ref in REGISTERS))


def known(meter: Any) -> None:
    meter.data = {f"{ref}/2": bytes((0x11, number)) for number, ref in enumerate(REGISTERS)}
    meter.data |= {f"{ref}/3": bytes.fromhex("0202 0f03 161e") for ref in REGISTERS}


def requests(meter: Any) -> list[int]:
    """How many attributes each request asked for."""
    asked = [event for event in meter.heard if isinstance(event, GetRequestNormal | GetRequestWithList)]
    return [len(event.attributes) if isinstance(event, GetRequestWithList) else 1 for event in asked]


async def read(attach: Any, knowledge: Knowledge, **options: Any) -> Any:
    session, meter = await attach(prepare=options.pop("prepare", known), knowledge=knowledge, **options)
    result = await session.read(PLAN)
    assert list(result.values) == list(range(20))
    assert set(result.exponents) == {3}
    await session.aclose()
    return requests(meter)


async def test_scalers_are_asked_in_two_associations_and_never_again(attach: Any) -> None:
    knowledge = Knowledge()
    taken = [await read(attach, knowledge) for _ in range(4)]
    assert taken == [[20, 20], [20, 20], [20], [20]]
    assert await read(attach, Knowledge(knowledge.facts)) == [20]
    assert knowledge.singles >= 10 * knowledge.requests


async def test_scalers_that_were_remembered_are_counted_apart_from_those_that_were_asked(attach: Any) -> None:
    knowledge = Knowledge()
    session, _ = await attach(prepare=known, knowledge=knowledge)
    for _ in range(3):
        await session.read(PLAN)
    assert (knowledge.scales_used, knowledge.scales_asked) == (60, 20)
    await session.aclose()
    for _ in range(2):
        await read(attach, knowledge)
    assert (knowledge.scales_used, knowledge.scales_asked) == (100, 40), "asked twice in all, and then known"


async def test_where_the_meter_has_to_tell_no_scaler_none_is_counted(attach: Any) -> None:
    knowledge = Knowledge()
    session, _ = await attach(prepare=known, knowledge=knowledge)
    told = (ObjectEntry(ref=driver.parse_ref(f"{REGISTERS[0]}/2"), scaler=3),)
    for entries in (told, (ObjectEntry(ref=driver.parse_ref("8/0-0:1.0.0.255/2"), scaler=None),)):
        await session.read(ReadPlan(entries=entries))
    assert (knowledge.scales_used, knowledge.scales_asked) == (0, 0)
    await session.aclose()


async def test_a_new_firmware_may_have_other_scalers(attach: Any) -> None:
    knowledge = Knowledge()
    for _ in range(3):
        await read(attach, knowledge.meet("1.0"))
    assert await read(attach, knowledge.meet("")) == [20]
    assert await read(attach, knowledge.meet("1.1")) == [20, 20]


async def test_a_scaler_that_was_told_wrongly_once_is_not_kept(attach: Any) -> None:
    knowledge = Knowledge()

    def wrong(meter: Any) -> None:
        known(meter)
        meter.data |= {f"{ref}/3": bytes.fromhex("0202 0f04 161e") for ref in REGISTERS}

    session, _ = await attach(prepare=wrong, knowledge=knowledge)
    assert set((await session.read(PLAN)).exponents) == {4}
    for expected in ([20, 20], [20, 20], [20]):
        assert await read(attach, knowledge) == expected


async def test_lists_that_are_too_long_are_halved_until_the_meter_takes_them(attach: Any) -> None:
    def small(meter: Any) -> None:
        known(meter)
        meter.script = lambda event: (
            [GetResponseNormal(event.invoke_id_and_priority, DataAccessResult.OTHER_REASON)]
            if isinstance(event, GetRequestWithList) and len(event.attributes) > 5
            else None
        )

    knowledge = Knowledge()
    taken = [await read(attach, knowledge, prepare=small) for _ in range(3)]
    assert taken[0] == [20, 10, *[5] * 4, *[5] * 4]
    assert taken[2] == [5] * 4
    assert knowledge.facts["list_size"] == 5
    for _ in range(FULL_EVERY):
        again = await read(attach, knowledge)
    assert again in ([5] * 4, [20])


@pytest.mark.parametrize("pdu", [64, 128, 300])
async def test_lists_are_packed_to_what_the_meter_takes(attach: Any, pdu: int) -> None:
    def small(meter: Any) -> None:
        known(meter)
        meter.max_pdu = pdu

    taken = await read(attach, Knowledge(), prepare=small)
    assert sum(taken) == 40
    assert max(taken) == min(20, (pdu - 4) // 10)


@pytest.mark.parametrize(
    "facts", [{"scalers": {"nonsense": [1, "V"]}}, {"scalers": {"3/1-0:1.8.0": 3}}, {"list_size": "x"}]
)
async def test_facts_that_nobody_can_read_are_learned_anew(attach: Any, facts: dict[str, object]) -> None:
    assert await read(attach, Knowledge(facts)) == [20, 20]
