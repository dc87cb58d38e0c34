"""Whole sessions of both our roles, recorded on the line as a capture: the decoder explains everything that was said."""

from __future__ import annotations

from typing import Any

import pytest

import headend
from headend.drivers.decoding import translate
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.pasted import errors
from headend.model.job import Command, CommandKind
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import HistoryRequest, ReadPlan
from headend.transport.memory import memory_pair
from tests.drivers.captures.traffic import CLIENT, METER, ethernet, pcap, tcp
from tests.drivers.dlms.layers import walk

KEYS = {"ek": bytes(range(16)), "ak": bytes(range(0xC0, 0xD0))}
LARGE = {"ek": bytes(range(32)), "ak": bytes(range(0xC0, 0xE0))}


class Recorder:
    """What is said on a link, as packets of one TCP connection."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self._sent = {">>": 1, "<<": 1}

    def hear(self, direction: str, octets: bytes) -> None:
        source, target = (CLIENT, METER) if direction == ">>" else (METER, CLIENT)
        other = "<<" if direction == ">>" else ">>"
        self.packets.append(ethernet(tcp(source, target, self._sent[direction], octets, ack=self._sent[other])))
        self._sent[direction] += len(octets)


async def record(make_meter: Any, profile: Any, keys: dict[str, bytes], framing: str, params: dict[str, str]) -> bytes:
    """The capture of a session that reads, writes, invokes, lists and reads a load profile."""
    near, far = memory_pair()
    recorder = Recorder()
    near.tap = recorder.hear
    meter = make_meter(**params)
    meter.secrets = {name: Secret(octets) for name, octets in keys.items()}
    DlmsDriver().serve(far, meter)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
    known = Meter(id="m", protocol="dlms", framing=framing, endpoint=endpoint, params=params)
    session = await DlmsDriver().attach(near, known, meter.profile, meter.secrets)
    await session.read(ReadPlan(entries=profile.objects))
    await session.objects()
    request = HistoryRequest(ref=profile.load_profiles[0].ref)
    assert sum([len(block.rows) async for block in session.read_history(request)]) == 10
    await session.execute(Command(kind=CommandKind.WRITE, params={"ref": "1/0-0:96.50.0.255", "value": 42}))
    await session.execute(Command(kind=CommandKind.INVOKE, params={"ref": "70/0-0:96.3.10.255/1"}))
    await session.aclose()
    return pcap(recorder.packets)


@pytest.mark.parametrize("max_pdu", ["90", "65535"])
@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("ciphering", ["", "global", "dedicated", "general", "general-dedicated"])
async def test_a_recorded_session_is_explained(
    make_meter: Any, profile: Any, framing: str, ciphering: str, max_pdu: str
) -> None:
    params = {"max_pdu": max_pdu} | ({"auth": "gmac", "ciphering": ciphering} if ciphering else {"auth": "lls"})
    keys = KEYS if ciphering else {"secret": b"open sesame"}
    capture = await record(make_meter, profile, keys, framing, params)
    found = headend.decode(capture, keys=KEYS if ciphering else {})
    assert list(errors(found.layer)) == []
    fields = [field for layer in walk(found.layer) for field in layer.fields]
    tags = [value for name, value, _, _ in fields if name == "authentication tag"]
    assert all(value.endswith("(verified)") for value in tags)
    assert bool(tags) is bool(ciphering)
    document = translate(capture, keys=KEYS if ciphering else {})
    assert document.count("<InvokeIdAndPriority ") > 10
    assert "sesame" not in document
    values = [value for _, value, _, _ in fields]
    assert any("1-0:1.8.0.255" in value for value in values)
    if max_pdu == "90":
        assert any(layer.name.startswith("put together from") and "blocks" in layer.name for layer in walk(found.layer))
    assert "sesame" not in repr(found.layer)
    assert all(key.hex() not in repr(found.layer).lower() for key in KEYS.values())


async def test_a_recorded_session_of_suite_2(make_meter: Any, profile: Any) -> None:
    params = {"auth": "gmac", "suite": "2", "ciphering": "dedicated"}
    capture = await record(make_meter, profile, LARGE, "wrapper", params)
    assert list(errors(headend.decode(capture, keys=LARGE).layer)) == []
    wrong = headend.decode(capture, keys=LARGE | {"ak": bytes(32)}).layer
    assert any("authentication tag wrong" in error for error in errors(wrong))
