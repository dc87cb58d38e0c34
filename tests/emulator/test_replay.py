"""A captured meter answers again: asked by the same session, by another order, by another stack's captures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.drivers.masking import Masking
from headend.drivers.modbus import driver as modbus
from headend.drivers.registry import driver
from headend.emulator.fleet import Fleet, Group
from headend.emulator.replay import Exchanged, Replay, answer_like, exchanges
from headend.errors import ConfigError, LinkTimeout
from headend.model.meter import Secret
from headend.runtime.connect import connect
from headend.transport.capture import Dialogue, file_header

AT = 1_700_000_000_000


class Tape:
    """A tap that writes a capture."""

    def __init__(self, protocol: str, secrets: dict[str, Secret]) -> None:
        self.said = Dialogue("127.0.0.1:50000", "127.0.0.2:4059")
        self.data = file_header() + self.said.opening(AT)
        self.masking = Masking(driver(protocol), secrets)

    def __call__(self, direction: str, octets: bytes) -> None:
        for piece in self.masking.take(octets, sent=direction == ">>"):
            self.data += self.said.carried(piece.octets, AT, sent=piece.sent)


@pytest.mark.parametrize(
    ("profile", "framing", "params", "secrets"),
    [
        ("generic-dlms-1p", "wrapper", {}, {}),
        ("generic-dlms-1p", "hdlc", {"auth": "lls"}, {"secret": Secret(b"open-sesame")}),
        ("eastron-sdm120", "tcp", {}, {}),
        ("eastron-sdm120", "rtu", {}, {}),
    ],
)
async def test_what_a_meter_said_it_says_again(
    profile: str, framing: str, params: dict[str, str], secrets: dict[str, Any], tmp_path: Path
) -> None:
    library = Library()
    fleet = Fleet([Group(profile=library.get(profile), framing=framing, params=params, secrets=secrets)])
    await fleet.start()
    protocol = library.get(profile).protocol
    tape = Tape(protocol, secrets)
    given = "&secret=text:open-sesame" if secrets else ""
    url = next(iter(fleet.roster())).url
    url += given if "?" in url else given.replace("&", "?")
    async with connect(url, tap=tape, data=tmp_path) as meter:
        first = await meter.read_all()
    await fleet.aclose()
    assert b"open-sesame" not in tape.data
    replay = Replay(exchanges(tape.data), driver(protocol))
    port = await replay.start(0)
    again = url.replace(url.split("//")[1].split("/")[0].split("?")[0], f"127.0.0.1:{port}")
    async with connect(again, data=tmp_path) as meter:
        second = await meter.read_all()
    assert [(str(one.ref), one.value) for one in first] == [(str(one.ref), one.value) for one in second]
    assert replay.unanswered == 0
    await replay.aclose()


async def test_what_was_not_captured_is_not_answered(tmp_path: Path) -> None:
    replay = Replay([Exchanged(bytes.fromhex("000100000006010300000002"), b"")], modbus)
    port = await replay.start(0)
    with pytest.raises(LinkTimeout):
        async with connect(f"modbus://127.0.0.1:{port}/1", timeout=0.2, data=tmp_path) as meter:
            await meter.read_all("holding/0x0010/f32")
    assert replay.unanswered >= 1
    await replay.aclose()


def test_the_number_of_a_request_is_that_of_its_answer() -> None:
    recorded = Exchanged(bytes.fromhex("000100000006010300000001"), bytes.fromhex("0001000000050103020102"))
    asked = bytes.fromhex("002a00000006010300000001")
    assert answer_like(modbus, recorded, asked) == bytes.fromhex("002a000000050103020102")
    assert answer_like(modbus, recorded, asked[:-1] + b"\x02") is None
    get, got = "000100100001000dc001c100030100010800ff0200", "0001000100100009c401c1000600000001"
    dlms = driver("dlms")
    kept = Exchanged(bytes.fromhex(get), bytes.fromhex(got))
    renumbered = bytes.fromhex(get.replace("c001c1", "c001c5"))
    assert answer_like(dlms, kept, renumbered) == bytes.fromhex(got.replace("c401c1", "c401c5"))
    assert answer_like(dlms, kept, renumbered[:-2] + b"\x03\x00") is None


def test_what_is_no_capture_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a capture"):
        exchanges(b"nothing")
    with pytest.raises(ConfigError, match="no conversation"):
        exchanges(file_header())
