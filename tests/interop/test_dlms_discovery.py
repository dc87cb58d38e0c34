"""Meters of another stack are found, examined and read by what was learned, over TCP, as any meter is."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from headend.drivers.base import NO_SECRETS, Secrets
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.ground import Ground
from headend.model.discovery import Examination, Sighting, TrialOutcome
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ObjectEntry, ReadPlan
from headend.transport.open import open_link

pytestmark = pytest.mark.peers

PEERS = Path(__file__).parent / "peers"
SCRIPTS = {"ln": "gurux_meter.py", "sn": "gurux_short_meter.py"}
KEY = bytes(range(16))
ENERGY = "3/1-0:1.8.0.255/2"


@pytest.fixture(scope="module")
def start_meter(peers_python: str) -> Iterator[Callable[..., int]]:
    """Starts a meter with some options, once for all tests; returns its port."""
    processes: dict[tuple[str, ...], tuple[subprocess.Popen[str], int]] = {}

    def start(*options: str) -> int:
        if options not in processes:
            script = str(PEERS / SCRIPTS[options[0]])
            process = subprocess.Popen([peers_python, script, *options[1:]], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            processes[options] = process, int(process.stdout.readline().split()[1])
        return processes[options][1]

    yield start
    for process, _ in processes.values():
        process.kill()
        process.communicate()


class Found:
    """The examination of one port, and the driver that has made it."""

    def __init__(self, port: int) -> None:
        self.driver = DlmsDriver()
        self.endpoint = Endpoint(kind=EndpointKind.TCP, host="127.0.0.1", port=port)
        loop = asyncio.get_running_loop()
        self.ground = Ground(
            self.endpoint,
            open_link=open_link,
            time=loop.time,
            sleep=asyncio.sleep,
            clock=lambda: 0,
            timeout=2.0,
        )

    async def sight(self, framing: str) -> Sighting:
        """The probe of a framing."""
        (probe,) = (each for each in self.driver.probes() if each.name == f"dlms {framing}")
        (sighting,) = await probe.run(self.ground)
        assert sighting.framing == framing
        return sighting

    async def examine(self, framing: str, secrets: Secrets = NO_SECRETS, **params: str) -> Examination:
        sighting = await self.sight(framing)
        if params:
            sighting = Sighting(protocol="dlms", framing=framing, params={**sighting.params, **params})
        return await self.driver.examine(self.ground, sighting, secrets)

    async def read(self, examination: Examination, params: Mapping[str, str]) -> object:
        """One register by what was learned."""
        meter = Meter(
            id="peer",
            protocol=examination.protocol,
            framing=examination.framing,
            endpoint=examination.endpoint,
            params={**examination.params, **params},
        )
        link = await open_link(self.endpoint, 5)
        session = await self.driver.attach(link, meter, None, NO_SECRETS)
        try:
            entry = ObjectEntry(ref=self.driver.parse_ref(ENERGY), scaler=None)
            (value,) = (await session.read(ReadPlan(entries=(entry,)))).values
        finally:
            await session.aclose()
        return value


def facts(examination: Examination) -> dict[str, str]:
    return {fact.name: fact.value for fact in examination.facts}


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("ref", ["ln", "sn"])
@pytest.mark.timeout(60)
async def test_a_meter_that_lets_everybody_read(start_meter: Callable[..., int], ref: str, framing: str) -> None:
    found = Found(start_meter(ref, "--framing", framing))
    examination = await found.examine(framing)
    assert not examination.stopped
    told = facts(examination)
    assert told["framing"] == framing
    assert told["referencing"] == ref
    assert told["logical_device_name"] == "GRX1234567890123"
    assert told["logical_device_name_flag"] == "GRX"
    assert told["serial_number"] == "00012345"
    assert told["firmware"] == "peer 1.0"
    assert "16:none" in told["authentication"].split(",")
    assert told["contexts"] == ref
    assert ENERGY in {info.ref.address for info in examination.objects}
    assert examination.params.get("ref", "ln") == ref
    assert await found.read(examination, {}) == 1234567


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("ref", ["ln", "sn"])
@pytest.mark.parametrize(
    ("auth", "options"), [("lls", ()), ("md5", ()), ("sha256", ()), ("gmac", ()), ("gmac", ("--suite", "1"))]
)
@pytest.mark.timeout(60)
async def test_a_meter_that_wants_secrets(
    start_meter: Callable[..., int], ref: str, framing: str, auth: str, options: tuple[str, ...]
) -> None:
    """Nothing that it does not show is claimed: neither a mechanism that it does not have, nor another suite than its own."""
    examination = await Found(start_meter(ref, "--framing", framing, "--auth", auth, *options)).examine(framing)
    assert not examination.stopped
    told = facts(examination)
    assert told["framing"] == framing
    assert told["referencing"] in {ref, ""}
    assert set(filter(None, told["contexts"].split(","))) <= {ref, f"{ref}-ciphered"}
    mechanisms = {each.split(":")[1] for each in told["authentication"].split(",") if each}
    assert mechanisms <= {"none", auth}
    assert told["suite"] in {"", "1" if options else "0"}
    assert told["system_title"] in {"", b"GRX00001".hex()}
    if auth != "lls":
        assert "16:none" in told["authentication"].split(",")
    assert not any(trial.outcome is TrialOutcome.ACCEPTED and trial.mechanism != "none" for trial in examination.trials)


@pytest.mark.parametrize("framing", ["wrapper", "hdlc"])
@pytest.mark.parametrize("ref", ["ln", "sn"])
@pytest.mark.timeout(60)
async def test_with_the_password_of_its_owner(start_meter: Callable[..., int], ref: str, framing: str) -> None:
    """The object list is read then; the password goes over the wire once, and into no evidence."""
    found = Found(start_meter(ref, "--framing", framing, "--auth", "lls"))
    secrets = {"secret": Secret(b"12345678")}
    examination = await found.examine(framing, secrets, client="1", auth="lls", ref=ref)
    assert not examination.stopped
    assert facts(examination)["logical_device_name"] == "GRX1234567890123"
    assert ENERGY in {info.ref.address for info in examination.objects}
    assert dict(examination.params) == {"client": "1", "server": "1", "auth": "lls", "ref": ref}
    assert not any(b"12345678" in each.sent for each in examination.evidence)
    assert any(b"********" in each.sent for each in examination.evidence)


@pytest.mark.parametrize("suite", ["0", "1"])
@pytest.mark.timeout(60)
async def test_with_the_keys_of_its_owner(start_meter: Callable[..., int], suite: str) -> None:
    """Ciphered; the counter is asked for by the public client, as in any session."""
    found = Found(start_meter("ln", "--auth", "gmac", "--suite", suite))
    secrets = {"ek": Secret(bytes(range(16))), "ak": Secret(bytes(range(0xC0, 0xD0)))}
    examination = await found.examine("wrapper", secrets, client="1", auth="gmac", suite=suite)
    assert not examination.stopped
    (trial,) = (each for each in examination.trials if (each.client, each.outcome) == (1, TrialOutcome.ACCEPTED))
    assert (trial.context, trial.mechanism, trial.system_title) == ("ln-ciphered", "gmac", b"GRX00001".hex())
    assert facts(examination)["system_title"] == b"GRX00001".hex()
    assert examination.params["auth"] == "gmac"


@pytest.mark.timeout(60)
async def test_a_wrong_password_is_tried_once(start_meter: Callable[..., int]) -> None:
    found = Found(start_meter("ln", "--auth", "lls"))
    examination = await found.examine("wrapper", {"secret": Secret(b"87654321")}, client="1", auth="lls")
    rejected = [each for each in examination.trials if each.mechanism == "lls"]
    assert [each.outcome for each in rejected] == [TrialOutcome.REJECTED]
    assert "authentication-failure" in rejected[0].note
    assert sum(b"********" in each.sent for each in examination.evidence) == 1
    assert not examination.objects
