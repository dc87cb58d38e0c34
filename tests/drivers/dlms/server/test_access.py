"""ACCESS of a virtual meter, in the octets of the standard, and with our own head-end."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.dlms.together import Invoke, Read, Write, do_together, invoke_all, write_all
from headend.errors import AccessDenied, CapabilityError, ObjectUndefined, ServiceRefused
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.protocols.dlms.apdu.descriptor import AccessSelection
from headend.protocols.dlms.initiate import Conformance
from headend.transport.memory import memory_pair

LIMIT, MESSAGE, NOWHERE = cosem_ref("1/0-0:96.50.0.255"), cosem_ref("1/0-0:96.13.0.255"), cosem_ref("1/0-0:96.50.9.255")
ENERGY, PROFILE = cosem_ref("3/1-0:1.8.0.255"), cosem_ref("7/1-0:99.1.0.255")
RELAY = cosem_ref("70/0-0:96.3.10.255/1")


def attribute(ref: Any) -> str:
    return str(ref.attribute.encode().hex())


@pytest.fixture
async def granted(meter: Any, connect: Any, aarq_lls: str) -> Any:
    """Associated by password, with ACCESS."""
    made = connect(meter)
    assert "5f1f0400005e5f" in await made.ask(aarq_lls.replace("007e1f", "007e5f"))
    return made


async def test_everything_in_one_request(granted: Any, meter: Any) -> None:
    assert (
        await granted.ask(
            f"d9 c0000007 00 05 01{attribute(ENERGY)} 02{attribute(LIMIT)} 03{RELAY.method.encode().hex()}"
            f"01{attribute(LIMIT)} 01{attribute(NOWHERE)}  05 00 060000002a 0f00 00 00"
        )
        == "dac0000007" + "00" + "00" + "05" + "0600bc5ea8" + "00" + "00" + "060000002a"
        + "00"
        "05" + "0100" + "0200" + "0300" + "0100" + "0104"
    )
    assert meter.values[9] == 42
    assert not meter.closed


async def test_what_was_asked_is_repeated(granted: Any) -> None:
    asked = f"0101{attribute(ENERGY)}"
    assert await granted.ask(f"d9 50000001 00 {asked} 01 00") == f"da500000010001{asked}010600bc5ea8010100"


async def test_nothing_is_done_after_the_first_failure(granted: Any, meter: Any) -> None:
    request = f"d9 60000001 00 03 01{attribute(NOWHERE)} 02{attribute(LIMIT)} 03{RELAY.method.encode().hex()}"
    data = "03 00 060000002a 0f00"
    assert await granted.ask(f"{request} {data}") == "da600000010000" + "03000000" + "03" + "010402fa03fa"
    assert (meter.values[9], meter.closed) == (7, True)
    # without that wish it goes on
    assert await granted.ask(f"{request} {data}".replace("d9 6", "d9 4")) == (
        "da400000010000" + "03000000" + "03" + "010402000300"
    )
    assert (meter.values[9], meter.closed) == (42, False)


async def test_no_answer_where_none_is_wanted(granted: Any, meter: Any) -> None:
    from headend.protocols.wrapper import wrap  # noqa: PLC0415 - the only test that says something without an answer

    assert await granted.say(wrap(bytes.fromhex(f"d9 00000001 00 01 02{attribute(LIMIT)} 01 060000002a"), 1, 1)) == b""
    assert meter.values[9] == 42
    assert await granted.ask(f"d9 40000002 00 01 01{attribute(LIMIT)} 01 00") == "da40000002000001060000002a010100"


async def test_a_part_of_a_load_profile(granted: Any, meter: Any) -> None:
    meter.held = 3
    entries = "02040600000001060000000112000112 0001"
    answer = await granted.ask(f"d9 40000002 00 01 04{attribute(PROFILE)} 02{entries} 01 00")
    assert answer.startswith("da4000000200000101010201090c")
    assert answer.endswith("010100")


async def test_an_answer_that_nobody_could_take(granted: Any, meter: Any) -> None:
    """A profile 90 times over: the meter stops reading at what the client takes, 1,200 octets."""
    meter.held = 100
    count = 90
    request = f"d9 40000002 00 {count:02x}" + f"01{attribute(PROFILE)}" * count + f"{count:02x}" + "00" * count
    assert await granted.ask(request) == "d80104"
    assert (await granted.ask(f"d9 40000002 00 01 01{attribute(LIMIT)} 01 00")).endswith("010100")


async def test_what_was_not_agreed_on(head_end: Any) -> None:
    assert await head_end.ask(f"d9 40000001 00 01 01{attribute(ENERGY)} 01 00") == "d80202"


async def test_before_there_is_an_association(meter: Any, connect: Any) -> None:
    assert await connect(meter).ask(f"d9 40000001 00 01 01{attribute(ENERGY)} 01 00") == "d80101"


async def test_a_client_without_rights(meter: Any, connect: Any, aarq_none: str) -> None:
    public = connect(meter, client_sap=16)
    await public.ask(aarq_none.replace("007e1f", "007e5f"))
    assert (
        await public.ask(f"d9 40000001 00 02 01{attribute(ENERGY)} 02{attribute(LIMIT)} 02 00 060000002a")
    ).endswith("0201000203")
    assert meter.values[9] == 7


# --- our own head-end ---


async def session_with(meter: Any, **params: str) -> Any:
    near, far = memory_pair()
    driver.serve(far, meter)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    known = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params=params)
    return await driver.attach(near, known, meter.profile, {"secret": Secret(b"12345678")})


async def test_the_head_end_does_several_things_together(meter: Any) -> None:
    session = await session_with(meter)
    told = await do_together(
        session.access, [Write(LIMIT, b"\x06\x00\x00\x00\x2a"), Read(LIMIT), Invoke(RELAY, b"\x0f\x00"), Read(NOWHERE)]
    )
    assert told[:3] == [b"\x00", b"\x06\x00\x00\x00\x2a", b"\x00"]
    assert isinstance(told[3], ObjectUndefined)
    assert not meter.closed
    meter.held = 2
    (rows,) = await do_together(
        session.access, [Read(PROFILE, AccessSelection(2, bytes.fromhex("020406000000010600000002120001120000")))]
    )
    assert isinstance(rows, bytes)
    assert rows[:2] == b"\x01\x02"
    told = await do_together(session.access, [Read(NOWHERE), Write(LIMIT, b"\x00")], break_on_error=True)
    assert [type(each) for each in told] == [ObjectUndefined, ServiceRefused]
    await session.aclose()


async def test_long_lists_go_in_general_blocks(meter: Any) -> None:
    session = await session_with(meter, max_pdu="100")
    told = await do_together(session.access, [Read(ENERGY)] * 200)
    assert told == [bytes.fromhex("0600bc5ea8")] * 200
    await session.aclose()


WRITES = [(LIMIT, b"\x06\x00\x00\x00\x2a"), (ENERGY, b"\x06\x00\x00\x00\x2a")]
CALLS = [(RELAY, b"\x0f\x00"), (RELAY.other(9), b"\x00")]


@pytest.mark.parametrize("lists", [True, False])
async def test_lists_with_and_without_lists(meter: Any, lists: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not lists:
        offered = "headend.drivers.dlms.meter_services.OFFERED"
        monkeypatch.setattr(offered, Conformance.GET | Conformance.ACCESS)
    session = await session_with(meter)
    assert (Conformance.MULTIPLE_REFERENCES in session.access.conformance) is lists
    written = await write_all(session.access, WRITES)
    assert [type(each) for each in written] == [type(None), AccessDenied]
    assert meter.values[9] == 42
    called = await invoke_all(session.access, CALLS)
    assert [type(each) for each in called] == [type(None), AccessDenied]
    assert not meter.closed
    await session.aclose()


async def test_a_meter_that_does_neither(meter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time then; what is to be done together is not done at all."""
    offered = Conformance.GET | Conformance.SET | Conformance.ACTION
    monkeypatch.setattr("headend.drivers.dlms.meter_services.OFFERED", offered)
    session = await session_with(meter)
    with pytest.raises(CapabilityError):
        await do_together(session.access, [Write(LIMIT, b"\x06\x00\x00\x00\x2a")])
    assert meter.values[9] == 7
    assert [type(each) for each in await write_all(session.access, WRITES)] == [type(None), AccessDenied]
    assert meter.values[9] == 42
    assert [type(each) for each in await invoke_all(session.access, CALLS)] == [type(None), AccessDenied]
    assert not meter.closed
    await session.aclose()
