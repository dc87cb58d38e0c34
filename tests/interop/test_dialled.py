"""A virtual meter dials in, and another stack, in a process of its own, reads and commands it over that call."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.calling import Dialogue
from headend.drivers.registrations import built_in
from headend.emulator.dialling import Dial
from headend.emulator.fleet import Fleet, Group
from headend.errors import LinkError
from headend.model.reading import to_millis
from headend.transport.link import Link
from headend.transport.tcp import listen_tcp

from .test_dlms_server import NOW, PEERS, PROFILE, check_steps

pytestmark = pytest.mark.peers

LONGI = built_in().get("longi")


class Switchboard:
    """Takes the call of a meter, answers its login, and puts through to it whoever calls next."""

    def __init__(self) -> None:
        self.login = b""
        self.meter: Link | None = None
        self.caller: Link | None = None
        self.called = asyncio.Event()

    def take(self, link: Link) -> None:
        if self.meter is None:
            self.meter = link
            link.set_receiver(Half(self, link))
        else:
            self.caller = link
            link.set_receiver(Half(self, link))

    def heard(self, link: Link, data: bytes) -> None:
        if link is self.caller:
            assert self.meter is not None
            self.meter.write(data)
        elif self.caller is not None:
            self.caller.write(data)
        else:
            self.login += data
            login: Any = LONGI.match(self.login)
            if getattr(login, "acknowledgement", b""):
                link.write(login.acknowledgement)
                self.called.set()


class Half:
    """One of two links that belong together."""

    def __init__(self, board: Switchboard, link: Link) -> None:
        self.board, self.link = board, link

    def data_received(self, data: bytes) -> None:
        self.board.heard(self.link, data)

    def link_lost(self, _error: LinkError) -> None:
        pass


@pytest.mark.parametrize("framing", ["wrapper", "apdu", "hdlc"])
async def test_a_foreign_head_end_meets_a_meter_that_dialled(peers_python: str, framing: str) -> None:
    board = Switchboard()
    listener = await listen_tcp("127.0.0.1", 0, board.take)
    dial = Dial(host="127.0.0.1", port=listener.port, dialogue=Dialogue(LONGI), spread=0.0)
    group = Group(
        profile=PROFILE, framing=framing, first_address="127.61.0.1", dial=dial, params={"association_version": "0"}
    )
    fleet = Fleet([group], clock=lambda: to_millis(NOW))
    await fleet.start()
    try:
        async with asyncio.timeout(60):
            await board.called.wait()
            process = await asyncio.create_subprocess_exec(
                *(peers_python, str(Path(PEERS) / "gurux_client.py")),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={"TZ": "UTC"},
            )
            meeting = {"framing": framing, "auth": "none", "password": "", "max_pdu": 200, "port": listener.port}
            plan = {"start": (NOW - timedelta(hours=1)).isoformat(), "end": NOW.isoformat(), "meetings": [meeting]}
            output, _ = await process.communicate(json.dumps(plan).encode())
        steps = [json.loads(line) for line in output.splitlines()]
        said = {step["step"]: step.get("value", step) for step in steps}
        check_steps(said, fleet.meter(1), "gurux_client.py", secured=False)
        assert board.login == Dialogue(LONGI).login(fleet.meter(1).serial)
    finally:
        await fleet.aclose()
        await listener.aclose()
