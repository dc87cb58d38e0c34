"""Two other stacks, each in a process of its own, read and command our virtual meter.

Over wrapper and HDLC, without security, with a password, by the hashes and GMAC of high level security, ciphered with each
suite and kind of key, in long APDUs and in blocks. A process meets all meters of a test one after the other.

What the peers do not do: ECDSA, general-ciphering and general-signing at all; dlms-cosem has GMAC alone of high level
security, proposes general protection always and knows no dedicated keys, reads no load profile by entries, and over HDLC it
waits for ever for the end of a frame whose check sequence ends in 7E: of `7e a0 07 … xx 7e 7e` it takes the first 7E for the
closing flag, finds the frame too short, and does not look again. Ciphered octets bring that about once in two hundred
frames; therefore it ciphers over the wrapper only. gurux-dlms does not check the tags of what it deciphers; that ours are
right is shown by the other peer, and by vectors. It alone knows short names: without blocks, which it cannot read, and without
services under a dedicated key, whose answers it does not know; its README tells what the script mends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest

from headend.drivers.dlms import driver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import LinkError
from headend.model.meter import Secret
from headend.model.reading import to_millis
from headend.transport.link import Link
from headend.transport.tcp import ListenLimits, listen_tcp

pytestmark = pytest.mark.peers

PEERS = Path(__file__).parent / "peers"
NOW = datetime(2025, 11, 21, 12, 7, 30, tzinfo=UTC)
PASSWORD = "12345678"
PROFILE = load_profile(
    """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
state = "EMULATED"
source = "this test"
[[object]]
ref = "8/0-0:1.0.0.255/2"
quantity = "meter_time"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
[[object]]
ref = "3/1-0:32.7.0.255/2"
quantity = "voltage_l1"
unit = "V"
scaler = -1
type = "uint16"
[[object]]
ref = "1/0-0:96.13.0.255/2"
name = "Consumer message"
writable = true
emulate = { value = "nothing new" }
[[load_profile]]
ref = "7/1-0:99.1.0.255/2"
period_seconds = 900
capacity = 40
columns = ["8/0-0:1.0.0.255/2", "3/1-0:1.8.0.255/2", "3/1-0:32.7.0.255/2"]
""",
    "acme-a1",
    "this test",
)
ENERGY, VOLTAGE = 1, 2
LOADS = PROFILE.load_profiles[0]
Meeting = dict[str, Any]
Met = list[tuple[dict[str, Any], VirtualMeter, set[int]]]
"""What each step gave, the meter, and the tags of what it heard over the wrapper."""
READ = {"none": 0x05, "global": 0x25, "general": 0xDB, "general-dedicated": 0xDC}
GET = {"none": 0xC0, "global": 0xC8, "dedicated": 0xD0, "general": 0xDB, "general-dedicated": 0xDC}
SIZES = (200, 0xFFFF)
"""Of the longest APDU: long answers come in blocks, and whole."""
Run = Callable[[str, Sequence[Meeting]], Awaitable[Met]]


def keys_of(suite: int) -> dict[str, bytes]:
    length = 32 if suite == 2 else 16
    return {"ek": bytes(range(length)), "ak": bytes(range(0xD0, 0xD0 + length))}


def ciphered(framing: str, suite: int, ciphering: str, max_pdu: int) -> Meeting:
    keys = {name: key.hex() for name, key in keys_of(suite).items()}
    return {"framing": framing, "auth": "gmac", "suite": suite, "ciphering": ciphering, "max_pdu": max_pdu, **keys}


class Overheard:
    """A link that notes the tags of the APDUs in what comes over the wrapper."""

    def __init__(self, link: Any, tags: set[int]) -> None:
        self.link, self.tags = link, tags
        self.receiver: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    def set_receiver(self, receiver: Any) -> None:
        self.receiver = receiver
        self.link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"\x00\x01") and len(data) > 8:
            self.tags.add(data[8])
        self.receiver.data_received(data)

    def link_lost(self, error: LinkError) -> None:
        self.receiver.link_lost(error)


@pytest.fixture
async def run(peers_python: str) -> AsyncIterator[Run]:
    """Lets a peer talk to meters whose clocks stand; returns what each step gave, and the meter, of each meeting."""
    listeners = []
    kind = MeterKind(PROFILE, lambda: to_millis(NOW))

    async def listen(meeting: Meeting) -> tuple[VirtualMeter, set[int]]:
        params = {"auth": meeting["auth"], "suite": str(meeting.get("suite", 0))}
        params |= {"ref": meeting.get("ref", "ln"), **({"preset": meeting["preset"]} if "preset" in meeting else {})}
        params["policy"] = "3" if meeting.get("ciphering", "none") != "none" else "0"
        params["association_version"] = str(len(listeners) % 4)  # they take turns
        secrets = {"secret": Secret(PASSWORD.encode())}
        if "ek" in meeting:
            secrets |= {name: Secret(key) for name, key in keys_of(meeting["suite"]).items()}
        meter = VirtualMeter(kind, 7, 0, params, secrets)
        tags: set[int] = set()
        limits = ListenLimits(loopback=True)
        serve = partial(driver.serve, model=meter)
        listener = await listen_tcp("127.0.0.1", 0, lambda link: serve(cast("Link", Overheard(link, tags))), limits)
        listeners.append(listener)
        meeting["port"] = listener.port
        return meter, tags

    async def run_all(script: str, meetings: Sequence[Meeting]) -> Met:
        meters = [await listen(meeting) for meeting in meetings]
        process = await asyncio.create_subprocess_exec(
            *(peers_python, str(PEERS / script)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"TZ": "UTC"},
        )
        plan = {"start": (NOW - timedelta(hours=1)).isoformat(), "end": NOW.isoformat(), "meetings": list(meetings)}
        try:
            async with asyncio.timeout(120):
                output, _ = await process.communicate(json.dumps(plan).encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        said: list[dict[str, Any]] = [{} for _ in meetings]
        for line in output.splitlines():
            step = json.loads(line)
            said[step.pop("meeting")][step.pop("step")] = step.get("value", step)
        return [(steps, *met) for steps, met in zip(said, meters, strict=True)]

    yield run_all
    for listener in listeners:
        await listener.aclose()


def plain_meetings(script: str) -> list[Meeting]:
    raw = script.startswith("dlms")
    return [
        {"framing": framing, "auth": auth, "password": "" if auth == "none" else PASSWORD, "max_pdu": max_pdu}
        for framing in ("wrapper", "hdlc")
        for auth in ("none", "lls", "md5", "sha1", "sha256")
        for max_pdu in SIZES
        if not (raw and auth.startswith(("md", "sha")))
    ]


def ciphered_meetings(script: str) -> list[Meeting]:
    raw = script.startswith("dlms")
    return [
        ciphered(framing, suite, ciphering, max_pdu)
        for framing in (("wrapper",) if raw else ("wrapper", "hdlc"))
        for suite in (0, 1, 2)
        for ciphering in (("general",) if raw else ("none", "global", "dedicated", "general", "general-dedicated"))
        for max_pdu in SIZES
    ]


def otherwise_proved_meetings(script: str, *, suite: int) -> list[Meeting]:
    """Ciphered by those who prove themselves by something else than GMAC, or not at all."""
    raw = script.startswith("dlms")
    kinds = ("general",) if raw else ("global", "dedicated", "general", "general-dedicated")
    levels = ("none", "lls") if raw else ("none", "lls", "md5", "sha1", "sha256")
    framings = ("wrapper",) if raw else ("wrapper", "hdlc")
    return [
        {**ciphered(framing, suite, kind, size), "auth": auth, "password": "" if auth == "none" else PASSWORD}
        for auth, kind, framing, size in product(levels, kinds, framings, SIZES)
    ]


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("secured", [False, True])
async def test_a_foreign_head_end_knows_the_meter_by_short_names(run: Run, framing: str, *, secured: bool) -> None:
    if secured:
        meetings = [ciphered(framing, suite, kind, 0xFFFF) for suite in (0, 1, 2) for kind in READ]
    else:
        levels = ("none", "lls", "md5", "sha1", "sha256")
        meetings = [{"framing": framing, "auth": auth, "password": PASSWORD, "max_pdu": 0xFFFF} for auth in levels]
        meetings[0]["password"] = ""
    meetings = [{**meeting, "ref": "sn"} for meeting in meetings]
    for meeting, (said, meter, tags) in zip(meetings, await run("gurux_client.py", meetings), strict=True):
        try:
            check_steps(said, meter, "gurux_client.py", secured=meeting["auth"] not in ("none", "lls"), association=12)
            if framing == "wrapper":
                assert tags >= {0x60, 0x62, READ[meeting.get("ciphering", "none")]}
                assert (0x05 in tags) is (meeting.get("ciphering", "none") == "none")
        except AssertionError as error:
            error.add_note(f"meeting: {meeting}")
            raise


async def test_a_foreign_head_end_leaves_out_the_wrapper(run: Run) -> None:
    """Gurux calls it the PDU interface. It takes an APDU for whole as soon as octets come, so answers are in short blocks."""
    levels = ("none", "lls", "md5", "sha256")
    meetings: list[Meeting] = [
        {"framing": "apdu", "auth": auth, "password": "" if auth == "none" else PASSWORD, "max_pdu": 200}
        for auth in levels
    ]
    for meeting, (said, meter, tags) in zip(meetings, await run("gurux_client.py", meetings), strict=True):
        check_steps(said, meter, "gurux_client.py", secured=meeting["auth"] not in ("none", "lls"))
        assert not tags


async def test_a_foreign_head_end_has_a_pre_established_association(run: Run) -> None:
    meetings: list[Meeting] = [
        {"framing": framing, "auth": "none", "password": "", "max_pdu": 0xFFFF, "preset": "007e1f"}
        for framing in ("wrapper", "hdlc")
    ]
    for meeting, (said, meter, tags) in zip(meetings, await run("gurux_client.py", meetings), strict=True):
        check_steps(said, meter, "gurux_client.py", secured=False)
        assert not tags & {0x60, 0x62}
        assert (0xC0 in tags) is (meeting["framing"] == "wrapper")


@pytest.mark.parametrize(
    "make_meetings",
    [
        plain_meetings,
        ciphered_meetings,
        *(pytest.param(partial(otherwise_proved_meetings, suite=suite), id=f"suite {suite}") for suite in (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("script", ["gurux_client.py", "dlmscosem_client.py"])
async def test_a_foreign_head_end_reads_and_commands_the_meter(
    run: Run, script: str, make_meetings: Callable[[str], list[Meeting]]
) -> None:
    meetings = make_meetings(script)
    for meeting, (said, meter, tags) in zip(meetings, await run(script, meetings), strict=True):
        try:
            check_steps(said, meter, script, secured="ek" in meeting or meeting["auth"] not in ("none", "lls"))
            if meeting["framing"] == "wrapper":
                assert {tag for tag in GET.values() if tag in tags} == {GET[meeting.get("ciphering", "none")]}
        except AssertionError as error:
            error.add_note(f"meeting: {meeting}")
            raise


def check_steps(
    said: dict[str, Any], meter: VirtualMeter, script: str, *, secured: bool, association: int = 15
) -> None:
    at = meter.now()
    assert said.pop("connect") == "associated"
    assert set(said.pop("view")) == {
        "1/0.0.42.0.0.255",
        "1/0.0.96.13.0.255",
        "3/1.0.1.8.0.255",
        "3/1.0.32.7.0.255",
        "7/1.0.99.1.0.255",
        "8/0.0.1.0.0.255",
        f"{association}/0.0.40.0.0.255",
        "17/0.0.41.0.0.255",
        "70/0.0.96.3.10.255",
        *(["1/0.0.43.1.0.255", "64/0.0.43.0.0.255"] if secured else []),
    }
    energy, volts = round(meter.value(ENERGY, at)), round(meter.value(VOLTAGE, at), 1)
    raw = script.startswith("dlms")
    assert said.pop("scaler_unit") == ([-1, 35] if raw else [0.1, 35])
    assert said.pop("value") == energy
    assert said.pop("name") == meter.identity.logical_device_name
    assert said.pop("clock") == NOW.isoformat()
    assert said.pop("with_list") == [energy, pytest.approx(volts * 10)]
    assert said.pop("columns") == ["8/0.0.1.0.0.255", "3/1.0.1.8.0.255", "3/1.0.32.7.0.255"]
    assert said.pop("entries_in_use") == 40
    rows = [expected_row(meter, entry) for entry in range(1, 41)]
    assert rows[-1][0] == "2025-11-21T12:00:00+00:00"
    assert said.pop("rows") == rows
    by_entry = said.pop("rows_by_entry")
    assert by_entry == ({"unsupported": True} if raw else rows[1:4])
    assert said.pop("rows_by_range") == rows[-4:]
    assert said.pop("write") == f"written by {'dlms-cosem' if raw else 'Gurux'}"
    assert said.pop("disconnect") == [False, 0]
    assert said.pop("reconnect") == [True, 1]
    error = said.pop("unknown")["error"]
    assert "OBJECT_UNDEFINED" in error or "result 4" in error
    assert said.pop("release") == "released"
    assert not said


def expected_row(meter: VirtualMeter, entry: int) -> list[Any]:
    time, (energy, volts) = meter.row(LOADS, entry, meter.now())
    return [datetime.fromtimestamp(time / 1000, UTC).isoformat(), round(energy), round(volts * 10)]


@pytest.mark.parametrize("script", ["gurux_client.py", "dlmscosem_client.py"])
async def test_a_foreign_head_end_with_the_wrong_password_is_refused(run: Run, script: str) -> None:
    meeting = {"framing": "wrapper", "auth": "lls", "password": "87654321", "max_pdu": 0xFFFF}
    ((said, _, _),) = await run(script, [meeting])
    error = said["connect"]["error"].lower()
    assert "authentication" in error
    assert "error" in said["value"]


@pytest.mark.parametrize("script", ["gurux_client.py", "dlmscosem_client.py"])
@pytest.mark.parametrize("wrong", ["ek", "ak"])
async def test_a_foreign_head_end_with_a_wrong_key_is_refused(run: Run, script: str, wrong: str) -> None:
    meeting = ciphered("wrapper", 0, "general", 0xFFFF) | {wrong: bytes(16).hex()}
    ((said, _, _),) = await run(script, [meeting])
    assert "error" in said["connect"]
    assert "error" in said["value"]
