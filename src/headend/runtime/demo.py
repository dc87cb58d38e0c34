"""The demonstration: a fleet of virtual meters of many makers in a process of its own, which the head-end has to find.

Nothing is entered by hand: at its first start the head-end knows no meter. It scans the networks of the fleet, finds out who is
there, and adopts whom it knows a way to read. What it needs beside the wire is what an owner gives it: the passwords and keys of
two of the networks.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headend.errors import LinkClosed
from headend.model.device import DeviceQuery, DeviceState
from headend.model.meter import Secret
from headend.model.scan import ScanRequest
from headend.runtime.database import sole_owner
from headend.runtime.fleet_process import FleetProcess, start_fleet
from headend.runtime.gateway import DEFAULT_PORT
from headend.runtime.settings import Settings
from headend.services.discovery.adopting import Adoption

if TYPE_CHECKING:
    from headend.runtime.wiring import HeadEnd

POLL_SECONDS: Final = 5.0
ADOPT_SECONDS: Final = 0.5
PLACES: Final = 12
"""looked into at once: so few that one sees them come"""
ACTOR: Final = "demo"
_PASSWORD: Final = "HEADEND_DEMO_PASSWORD"  # noqa: S105 - the name of a variable
_KEY: Final = "HEADEND_DEMO_KEY"

_VARIANTS: Final = """
[[variant]]
id = "lgz-e450"
base = "generic-dlms-3p"
vendor = "Landis+Gyr"
model = "E450"
flag = "LGZ"
firmware = "S02.12"
logical_device_name = "LGZ10265{number:08}"
add = ["3/1-0:5.8.0.255", "3/1-0:8.8.0.255"]
association = { max_pdu = 1224 }

[[variant]]
id = "isk-am550"
base = "generic-dlms-3p"
vendor = "Iskraemeco"
model = "AM550"
flag = "ISK"
firmware = "V1.04"
logical_device_name = "ISK10373{number:08}"
remove = ["3/1-0:9.8.0.255", "3/1-0:9.7.0.255"]

[[variant]]
id = "sag-t210"
base = "generic-dlms-3p"
vendor = "Sagemcom"
model = "T210-D"
flag = "SAG"
firmware = "A1.09"
logical_device_name = "SAG10311{number:08}"

[[variant]]
id = "kam-omnipower"
base = "generic-dlms-3p"
vendor = "Kamstrup"
model = "OMNIPOWER"
flag = "KAM"
firmware = "50980410_L1"
logical_device_name = "KAM{number:013}"
association = { max_pdu = 512, max_info = 248 }

[[variant]]
id = "ace-ace661"
base = "generic-dlms-3p"
vendor = "Actaris"
model = "ACE661"
flag = "ACE"
firmware = "2.11"
logical_device_name = "ACE661{number:010}"

[[variant]]
id = "edm-mk7"
base = "generic-dlms-1p"
vendor = "EDMI"
model = "Mk7C"
flag = "EDM"
firmware = "1.36"

[[variant]]
id = "ziv-5ctm"
base = "generic-dlms-1p"
vendor = "ZIV"
model = "5CTM E2C"
flag = "ZIV"
firmware = "V0914"
"""
"""Who they say they are has the forms of the field; their objects are the usual ones of the standard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Meters of one kind: so large a share of all, in a network of their own."""

    name: str
    profile: str
    share: float
    network: int
    """127.NETWORK.0.0/16"""
    port: int
    framing: str = "wrapper"
    auth: str = ""
    more: str = ""


_KINDS: Final = (
    _Kind(name="lgz", profile="lgz-e450", share=0.14, network=10, port=4059, more='load = "workshop"'),
    _Kind(name="isk", profile="isk-am550", share=0.1, network=11, port=4059, auth="lls"),
    _Kind(name="sag", profile="sag-t210", share=0.06, network=12, port=4059, auth="gmac"),
    _Kind(name="kam", profile="kam-omnipower", share=0.13, network=13, port=4060, framing="hdlc"),
    _Kind(
        name="ace",
        profile="ace-ace661",
        share=0.04,
        network=14,
        port=4060,
        framing="hdlc",
        more='params = { ref = "sn" }',
    ),
    _Kind(
        name="edm",
        profile="edm-mk7",
        share=0.05,
        network=15,
        port=4060,
        framing="hdlc",
        more="params = { physical = 35 }",
    ),
    _Kind(name="ziv", profile="ziv-5ctm", share=0.22, network=16, port=4059),
    _Kind(name="smart", profile="generic-dlms-functions", share=0.05, network=17, port=4059),
    _Kind(
        name="panel",
        profile="eastron-sdm630",
        share=0.2,
        network=19,
        port=5020,
        framing="tcp",
        more="units = [1, 2, 3]",
    ),
)
_PORTS: Final = {4059: (4059, 4061), 4060: (4060, 3333), 5020: (5020, 1502)}
"""where they listen, and where else: ports by which discovery knows what to ask first"""
_BROKEN: Final = _Kind(
    name="broken", profile="generic-dlms-1p", share=0.0, network=19, port=4059, more='faults = [{ kind = "silent" }]'
)
_SETTINGS: Final = {
    "": "",
    "lls": f'params = {{ auth = "lls", client = 1 }}\nsecrets = {{ secret = "env:{_PASSWORD}" }}\n',
    "gmac": 'params = { auth = "gmac", client = 1, suite = 0, policy = 3 }\n'
    f'secrets = {{ ek = "env:{_KEY}", ak = "env:{_KEY}" }}\n',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Meters of a kind as they are started: how many, and at which port."""

    kind: _Kind
    count: int
    port: int

    @property
    def first(self) -> IPv4Address:
        """The address of the first one."""
        return IPv4Address(f"127.{self.kind.network}.0.1")

    @property
    def last(self) -> IPv4Address:
        """The address of the last one; three units are behind one address."""
        hosts = -(-self.count // 3) if self.kind.framing == "tcp" else self.count
        return self.first + hosts - 1

    @property
    def text(self) -> str:
        """What a fleet file says of it."""
        kind = self.kind
        return (
            f'\n[[group]]\nprofile = "{kind.profile}"\ncount = {self.count}\nframing = "{kind.framing}"\n'
            f'name = "{kind.name}-{{number:05}}"\nfirst_address = "{self.first}"\nport = {self.port}\n'
            f"{_SETTINGS[kind.auth]}{kind.more}\n"
        )


def groups_of(meters: int, earlier: str = "") -> Sequence[_Group]:
    """A fleet of so many meters; one of them is broken, as in life. It listens where an `earlier` fleet file has it, if it can."""
    counts = [int(meters * kind.share) for kind in _KINDS]
    counts[0] += meters - sum(counts) - 1
    before = {group["profile"]: group["port"] for group in tomllib.loads(earlier).get("group", ())}
    ports = {}
    for port, others in _PORTS.items():
        kept = {before[kind.profile] for kind in _KINDS if kind.port == port and kind.profile in before}
        ports[port] = next(filter(None, map(_free_or_none, (*kept, *others))), _free(0))
    kinds = zip((*_KINDS, _BROKEN), (*counts, 1), strict=True)
    return [_Group(kind=kind, count=count, port=ports[kind.port]) for kind, count in kinds if count > 0]


def fleet_text(groups: Sequence[_Group]) -> str:
    """The fleet file of these groups."""
    return "[fleet]\nseed = 20\n" + _VARIANTS + "".join(group.text for group in groups)


def _free_or_none(port: int) -> int | None:
    """The port when nobody has it on any address: a fleet has all of them."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _free(port: int) -> int:
    """The port when nobody has it on any address, else one that is free. Nobody listens here, so nobody can come in."""
    return _free_or_none(port) or _free_or_none(0) or port


def free_port(port: int) -> int:
    """For the demonstration's own listeners: the port that was asked for, or another one."""
    return _free(port) if port else 0


@dataclass(frozen=True, slots=True)
class VirtualFleet:
    """A fleet at work in a process of its own. `ended` raises LinkClosed as soon as that process ends."""

    groups: Sequence[_Group]
    password: Secret
    key: Secret
    ended: asyncio.Task[None]

    @property
    def meters(self) -> int:
        """How many there are, the broken one too."""
        return sum(group.count for group in self.groups)


@asynccontextmanager
async def fleet(settings: Settings, meters: int) -> AsyncIterator[VirtualFleet]:
    """Run the fleet in a child process.

    Raises ConfigError when the data folder cannot be had, LinkClosed when the child does not come up.
    """
    path = settings.data_folder / "fleet.toml"
    with sole_owner(settings.data_folder):
        groups = groups_of(meters, path.read_text(encoding="utf-8") if path.exists() else "")
        path.write_text(fleet_text(groups), encoding="utf-8")
        password, key = _owners_secrets(settings.data_folder / "fleet-secret")
    process = await start_fleet(path, more={_PASSWORD: f"text:{password}", _KEY: f"hex:{key}"})
    ended = asyncio.create_task(_watch(process), name="virtual fleet")
    try:
        yield VirtualFleet(groups, Secret(password.encode()), Secret(bytes.fromhex(key)), ended)
    finally:
        ended.cancel()
        await process.aclose()


def _owners_secrets(path: Path) -> tuple[str, str]:
    """Password and key of the meters that want one: the same at each start, of no other installation."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16), encoding="ascii")
    seed = path.read_text(encoding="ascii")
    return seed[:8], hashlib.sha256(seed.encode()).hexdigest()[:32]


async def _watch(process: FleetProcess) -> None:
    code = await process.child.wait()
    raise LinkClosed(f"the virtual fleet ended by itself (exit code {code})", hint="start the demonstration again")


async def find(head_end: HeadEnd, virtual: VirtualFleet) -> None:
    """Scan the networks of the fleet, and adopt whoever is found, until all scans have ended."""
    discovery = head_end.discovery
    await asyncio.to_thread(_lend_keys, head_end, virtual)
    scans = [
        await discovery.start(request, actor=ACTOR, reason="the first start of the demonstration")
        for request in _requests(virtual.groups)
    ]
    adoption = Adoption(name="{vendor} {model} {host}", tags=("demo",), poll_seconds=POLL_SECONDS, credentials=True)
    while True:
        ended = all([(await discovery.job(scan.id)).ended for scan in scans])
        page = await discovery.devices(DeviceQuery(state=DeviceState.NEW, limit=1000))
        found = [device.id for device in page.items]
        if found:
            await discovery.adopt(found, adoption, actor=ACTOR)
        if ended:
            return
        await asyncio.sleep(ADOPT_SECONDS)


def is_known(head_end: HeadEnd, virtual: VirtualFleet) -> bool:
    """Was this fleet found by an earlier start, at the ports that it has now?"""
    known = {(state.meter.endpoint.host, state.meter.endpoint.port) for state in head_end.roster}
    return all((str(group.first), group.port) in known for group in virtual.groups if group.kind is not _BROKEN)


def _lend_keys(head_end: HeadEnd, virtual: VirtualFleet) -> None:
    """What the owner of meters gives: passwords and keys of networks."""
    for kind in _KINDS:
        params = {"auth": kind.auth, "client": "1"}
        network = f"127.{kind.network}.0.0/16"
        if kind.auth == "lls":
            head_end.discovery.keys.put_group(network, params, {"secret": virtual.password}, ACTOR)
        elif kind.auth:
            params |= {"suite": "0", "policy": "3"}
            head_end.discovery.keys.put_group(network, params, {"ek": virtual.key, "ak": virtual.key}, ACTOR)


def _requests(groups: Sequence[_Group]) -> Iterator[ScanRequest]:
    """A scan for each port; last where one waits long for the broken meter."""
    waiting = {group.port for group in groups if group.kind is _BROKEN}
    for port in sorted({group.port for group in groups}, key=lambda port: (port in waiting, port)):
        targets = " ".join(f"{group.first}-{group.last}" for group in groups if group.port == port)
        yield ScanRequest(targets=targets, ports=str(port), credentials=True, again=True)


BACKFILL_DAYS: Final = 1.0
"""The virtual meters remember three months; a day of them is enough to see."""


def demo_settings(settings: Settings, *, data: str | None, port: int) -> Settings:
    """The settings of the demonstration: loopback only, its own folder, free ports, posted readings welcome."""
    folder = Path(data) if data else settings.data_folder / "demo"
    web = settings.web.model_copy(update={"host": "127.0.0.1", "port": free_port(port), "accept_unknown_meters": True})
    mqtt = settings.mqtt.model_copy(
        update={"embedded_host": "127.0.0.1", "embedded_port": free_port(settings.mqtt.embedded_port)}
    )
    places = (f"tcp://127.0.0.1:{free_port(DEFAULT_PORT)}",)
    gateway = settings.gateway.model_copy(update={"places": places})
    discovery = settings.discovery.model_copy(update={"places": PLACES})
    ledger = settings.ledger.model_copy(update={"backfill_days": BACKFILL_DAYS})
    update = {
        "data": str(folder),
        "web": web,
        "mqtt": mqtt,
        "gateway": gateway,
        "discovery": discovery,
        "ledger": ledger,
    }
    return settings.model_copy(update=update)
