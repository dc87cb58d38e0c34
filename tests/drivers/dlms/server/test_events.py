"""What a virtual meter says unasked in an association: where its relay is, when somebody else has moved it."""

from __future__ import annotations

from typing import Any

import pytest

from headend.drivers.dlms import driver
from headend.drivers.dlms.refs import cosem_ref
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.protocols.wrapper import wrap
from headend.transport.memory import memory_pair


async def test_a_client_that_takes_events_is_told_where_the_relay_is(meter: Any, connect: Any, aarq_lls: str) -> None:
    relay, text = (cosem_ref(ref).attribute.encode().hex() for ref in ("70/0-0:96.3.10.255/2", "1/0-0:96.13.0.255/2"))
    head_end = connect(meter)
    await head_end.ask(aarq_lls)
    request = wrap(bytes.fromhex(f"c101c2{text}000a026f6b"), 1, 1)
    answer, event = wrap(bytes.fromhex("c501c200"), 1, 1), wrap(bytes.fromhex(f"c200{relay}0300"), 1, 1)
    assert await head_end.say(request) == answer
    meter.closed = False  # not by this client
    assert await head_end.say(request) == answer + event
    assert await head_end.say(request) == answer  # once
    # what it does itself it knows
    reconnect = cosem_ref("70/0-0:96.3.10.255/2").method.encode().hex()
    assert await head_end.ask(f"c301c3{reconnect}010f00") == "c701c30000"
    assert meter.closed
    assert await head_end.say(request) == answer
    # and one that takes no events is not told
    other = connect(meter)
    await other.ask(aarq_lls.replace("007e1f", "007e1d"))
    await other.say(request)
    meter.closed = False
    assert await other.say(request) == answer


async def test_a_client_that_takes_reports_is_told_by_short_names(make_meter: Any, connect: Any, aarq_lls: str) -> None:
    meter = make_meter(ref="sn")
    head_end = connect(meter)
    aare = await head_end.ask(aarq_lls.replace("60857405080101", "60857405080102").replace("007e1f", "1c1b20"))
    assert "1f04001c1b20" in aare
    listed = await head_end.ask("050102fa08")
    at = listed.index("1200461100090600" + "0060030aff")  # disconnect control; its base name stands before
    base = int(listed[at - 4 : at], 16)
    request, answer = wrap(bytes.fromhex("050102fd00"), 1, 1), wrap(bytes.fromhex("0c0100090600002a0000ff"), 1, 1)
    assert await head_end.say(request) == answer
    meter.closed = False  # not by this client
    report = wrap(bytes.fromhex(f"18000102{base + 8:04x}010300"), 1, 1)
    assert await head_end.say(request) == answer + report
    assert await head_end.say(request) == answer  # once
    assert await head_end.ask(f"060102{base + 0x28:04x}010f00") == "0d0100"
    assert meter.closed
    assert await head_end.say(request) == answer


@pytest.mark.parametrize("ref", ["ln", "sn"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
async def test_the_head_end_hears_of_the_relay(make_meter: Any, framing: str, ref: str) -> None:
    meter = make_meter(ref=ref)
    near, far = memory_pair()
    driver.serve(far, meter)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params={"ref": ref})
    session = await driver.attach(near, known, meter.profile, {"secret": Secret(b"12345678")})
    message = cosem_ref("1/0-0:96.13.0.255/2")
    await session.access.set(message, b"\x0a\x02ok")
    meter.closed = False
    await session.access.set(message, b"\x0a\x02ok")
    await session.access.get(message)
    (event,) = session.notifications()
    assert (event.kind, event.body) == ("event", False if ref == "ln" else [False])
    assert list(event.values) == [driver.parse_ref("70/0-0:96.3.10.255/2")]
    await session.aclose()
