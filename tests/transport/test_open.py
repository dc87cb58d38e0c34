from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from headend.errors import CapabilityError, ConnectRefused, LinkError
from headend.model.meter import Endpoint, EndpointKind
from headend.model.url import parse_url
from headend.transport.loop import loop_factory, run
from headend.transport.open import open_link
from headend.transport.udp import connect_udp


async def test_tcp_and_serial_endpoints() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = await open_link(parse_url(f"dlms://127.0.0.1:{server.getsockname()[1]}").endpoint, 5)
        assert link.is_open
        await link.aclose()
    far, near = os.openpty()
    with contextlib.closing(os.fdopen(far, "rb", buffering=0)), contextlib.closing(os.fdopen(near, "rb", buffering=0)):
        link = await open_link(parse_url(f"modbus+serial://{os.ttyname(near)}/1?baud=2400&line=8n2").endpoint, 5)
        assert link.is_open
        await link.aclose()


async def test_udp_carries_datagrams_as_they_are(record: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as meter:
        meter.bind(("127.0.0.1", 0))
        meter.settimeout(5)
        link = await open_link(parse_url(f"dlms+udp://127.0.0.1:{meter.getsockname()[1]}").endpoint, 5)
        tapped: list[tuple[str, bytes]] = []
        link.tap = lambda way, data: tapped.append((way, bytes(data)))
        seen = record(link)
        link.write(b"question")
        question, client = meter.recvfrom(100)
        assert (question, f"127.0.0.1:{client[1]}") == (b"question", link.local)
        meter.sendto(b"an", client)
        meter.sendto(b"swer", client)
        await seen.received(6)
        assert seen.chunks == [b"an", b"swer"]
        assert tapped == [(">>", b"question"), ("<<", b"an"), ("<<", b"swer")]
        await link.aclose()
        assert len(seen.lost) == 1
        late = record()
        link.set_receiver(late, b"sniffed")
        assert (late.octets, len(late.lost)) == (b"sniffed", 1)


async def test_udp_to_nobody_is_refused_and_to_no_name_an_error(record: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    link = await connect_udp("127.0.0.1", port, 5)
    seen = record(link)
    link.write(b"anybody?")
    assert isinstance(await seen.ended(), ConnectRefused)
    with pytest.raises(LinkError, match="does not resolve"):
        await connect_udp("meter.invalid", 4059, 5)


async def test_what_cannot_be_opened_is_told_before_anything_is_tried() -> None:
    with pytest.raises(CapabilityError, match="dials in"):
        await open_link(parse_url("inbound://210600402941").endpoint, 5)
    with pytest.raises(CapabilityError, match="memory_pair"):
        await open_link(Endpoint(kind=EndpointKind.MEMORY, host="x"), 5)


def test_run_takes_uvloop_where_it_is() -> None:
    async def which() -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__

    assert run(which()).startswith("uvloop")


def test_run_does_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None


def test_serial_libraries_are_imported_only_when_needed() -> None:
    code = (
        "import sys, headend.transport.open; sys.exit('serial' in sys.modules or 'serial_asyncio_fast' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
