"""The head-end changes keys, policy and certificates of a meter, and goes on under what it has changed.

The meter is our own; that it does what the standard says is shown octet by octet in server/test_setup.py, where the keys are
wrapped and agreed on by the cryptography package alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from headend.drivers.dlms.client import DlmsSession
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.library import load_profile
from headend.emulator.meter import MeterKind, VirtualMeter
from headend.errors import (
    AuthenticationFailed,
    CapabilityError,
    ConfigError,
    HeadendError,
    KeyMissing,
    MeterError,
    SecurityError,
)
from headend.model.meter import Endpoint, EndpointKind, Meter, Secret
from headend.model.objects import ReadPlan
from headend.protocols.dlms.security.certificates import Authority, Entity, KeyUse, Requested, read_request
from headend.protocols.dlms.security.key_changes import KeyId
from headend.protocols.dlms.security.keys import private_key, public_octets
from headend.protocols.dlms.security.suite import SUITES
from headend.transport.memory import memory_pair

NOW = datetime(2025, 11, 21, 12, 7, 30, tzinfo=UTC)
PROFILE = load_profile(
    """
[meter]
vendor = "Acme"
model = "A1"
protocol = "dlms"
source = "test"
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
""",
    "acme-a1",
    "test",
)
CLIENT_TITLE = bytes.fromhex("4844450000000001")
Open = Callable[..., Awaitable[DlmsSession]]


def secrets_of(suite: int) -> dict[str, Secret]:
    known = SUITES[suite]
    names = ("ek", "ak", "mk")
    secrets = {name: bytes([start]) * known.key_length for start, name in enumerate(names, 1)}
    names = ("signing", "agreement", "meter_secret", "meter_agreement")
    secrets |= {name: number.to_bytes(known.scalar_length, "big") for number, name in enumerate(names, 3)}
    return {name: Secret(octets) for name, octets in secrets.items()}


class Site:
    """One meter, and a head-end with its own memory of it."""

    def __init__(self, suite: int = 1, **params: str) -> None:
        secrets = secrets_of(suite)
        signer = private_key(SUITES[suite], secrets["meter_secret"].reveal())
        common = {"client": "1", "auth": "gmac", "suite": str(suite), "meter_key": public_octets(signer).hex()}
        self.params = common | params
        kind = MeterKind(PROFILE, lambda: round(NOW.timestamp() * 1000))
        self.meter = VirtualMeter(kind, 7, 0, self.params, secrets)
        self.secrets = {name: secret for name, secret in secrets.items() if not name.startswith("meter")}
        self.driver = DlmsDriver()
        self.sessions: list[DlmsSession] = []

    async def open(self, **changed: Secret) -> DlmsSession:
        near, far = memory_pair()
        self.driver.serve(far, self.meter)
        endpoint = Endpoint(kind=EndpointKind.MEMORY, host="memory")
        known = Meter(id="m", protocol="dlms", framing="wrapper", endpoint=endpoint, params=self.params)
        try:
            session = await self.driver.attach(near, known, PROFILE, self.secrets | changed)
        except BaseException:
            near.abort()
            raise
        self.sessions.append(session)
        return session


@pytest.fixture
async def make_site() -> AsyncIterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(suite: int = 1, **params: str) -> Site:
        sites.append(Site(suite, **params))
        return sites[-1]

    yield make
    for site in sites:
        for session in site.sessions:
            await session.aclose()


async def check(session: DlmsSession) -> None:
    found = await session.read(ReadPlan(entries=PROFILE.objects))
    assert not found.errors


@pytest.mark.parametrize("ciphering", ["global", "dedicated", "general", "general-ciphering"])
@pytest.mark.parametrize("suite", [0, 1, 2])
async def test_transferred_keys_are_in_force_at_once(make_site: Any, suite: int, ciphering: str) -> None:
    site = make_site(suite, ciphering=ciphering)
    session = await site.open()
    new = {name: Secret(bytes([octet]) * SUITES[suite].key_length) for name, octet in (("ek", 0x11), ("ak", 0x22))}
    await session.security_setup.transfer_keys({KeyId.GLOBAL_UNICAST: new["ek"], KeyId.AUTHENTICATION: new["ak"]})
    await check(session)  # under the new keys
    await session.aclose()
    with pytest.raises(SecurityError):
        await site.open()
    again = await site.open(**new)
    await check(again)
    master = Secret(bytes([0x33]) * SUITES[suite].key_length)
    await again.security_setup.transfer_keys({KeyId.MASTER: master})
    await again.security_setup.transfer_keys({KeyId.GLOBAL_UNICAST: site.secrets["ek"]})  # under the new master key
    await check(again)


async def test_a_wrong_master_key_changes_nothing(make_site: Any) -> None:
    site = make_site()
    session = await site.open(mk=Secret(bytes(16)))
    with pytest.raises(MeterError):
        await session.security_setup.transfer_keys({KeyId.GLOBAL_UNICAST: Secret(bytes(16))})
    await check(session)
    await session.aclose()
    await check(await site.open())


async def test_what_is_wrong_is_said_before_anything_is_sent(make_site: Any) -> None:
    site = make_site()
    del site.secrets["mk"]
    session = await site.open()
    setup = session.security_setup
    with pytest.raises(KeyMissing, match="master key"):
        await setup.transfer_keys({KeyId.GLOBAL_UNICAST: Secret(bytes(16))})
    site.secrets["mk"] = Secret(bytes(16))
    setup = (await site.open()).security_setup
    with pytest.raises(ConfigError, match="16 octets"):
        await setup.transfer_keys({KeyId.GLOBAL_UNICAST: Secret(bytes(32))})
    with pytest.raises(ConfigError, match="no keys"):
        await setup.transfer_keys({})
    del site.secrets["signing"]
    with pytest.raises(KeyMissing, match="signed by both"):
        await (await site.open()).security_setup.agree_keys(KeyId.GLOBAL_UNICAST)
    with pytest.raises(CapabilityError, match="suite 0"):
        await (await make_site(0).open()).security_setup.agree_keys(KeyId.GLOBAL_UNICAST)


@pytest.mark.parametrize("suite", [1, 2])
async def test_agreed_keys_are_in_force_at_once(make_site: Any, suite: int) -> None:
    site = make_site(suite)
    session = await site.open()
    agreed = await session.security_setup.agree_keys(KeyId.GLOBAL_UNICAST, KeyId.AUTHENTICATION, KeyId.MASTER)
    assert len({secret.reveal() for secret in agreed.values()}) == 3
    await check(session)
    await session.aclose()
    with pytest.raises(SecurityError):
        await site.open()
    kept = {"ek": agreed[KeyId.GLOBAL_UNICAST], "ak": agreed[KeyId.AUTHENTICATION], "mk": agreed[KeyId.MASTER]}
    again = await site.open(**kept)
    await again.security_setup.transfer_keys({KeyId.GLOBAL_UNICAST: Secret(bytes(SUITES[suite].key_length))})
    await check(again)


async def test_a_meter_that_is_somebody_else_gets_no_agreement(make_site: Any) -> None:
    site = make_site()
    site.params["meter_key"] = public_octets(private_key(SUITES[1], bytes(31) + b"\x77")).hex()
    session = await site.open()
    with pytest.raises(AuthenticationFailed, match="not signed by the other side"):
        await session.security_setup.agree_keys(KeyId.GLOBAL_UNICAST)


async def test_a_policy_becomes_stronger_and_is_read_back(make_site: Any) -> None:
    site = make_site(policy="0")
    session = await site.open()
    assert await session.security_setup.policy() == 0
    await session.security_setup.activate_policy(0x24)
    assert await session.security_setup.policy() == 0x24
    with pytest.raises(MeterError):
        await session.security_setup.activate_policy(0)
    await session.aclose()
    with pytest.raises(HeadendError):
        await site.open()
    site.params["policy"] = "36"
    await check(await site.open())


@pytest.mark.parametrize("suite", [1, 2])
async def test_certificates_of_a_meter(make_site: Any, suite: int) -> None:
    known = SUITES[suite]
    site = make_site(suite)
    session = await site.open()
    setup = session.security_setup
    validity = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    root_key = ec.generate_private_key(known.curve)
    root_asked = Requested(b"ROOT0001", KeyUse.OTHER, root_key.public_key())
    root = Authority(root_key).issue(known, root_asked, 1, validity, authority=True)
    await setup.import_certificate(root.der)
    await setup.generate_key_pair(KeyUse.DIGITAL_SIGNATURE)
    asked = read_request(known, await setup.request_certificate(KeyUse.DIGITAL_SIGNATURE))
    issued = Authority(root_key, root).issue(known, asked, 2, validity)
    await setup.import_certificate(issued.der)
    assert [(each.entity, each.subject) for each in await setup.certificates()] == [
        (Entity.AUTHORITY, root.subject),
        (Entity.SERVER, issued.subject),
    ]
    identity = Entity.SERVER, KeyUse.DIGITAL_SIGNATURE, asked.title
    assert await setup.export_certificate(*identity) == issued.der
    # the key pair is in use: the meter signs with it
    with pytest.raises(AuthenticationFailed):
        await setup.agree_keys(KeyId.GLOBAL_UNICAST)
    await session.aclose()
    await setup_of_new_key(site, public_octets_of(asked.key, known.scalar_length), identity)


async def setup_of_new_key(site: Site, point: bytes, identity: tuple[Entity, KeyUse, bytes]) -> None:
    site.params["meter_key"] = point.hex()
    held = site.meter.keyring[1].secrets  # type: ignore[index] # what the refused agreement has left in the meter
    session = await site.open(ek=held["ek"])
    await session.security_setup.agree_keys(KeyId.GLOBAL_UNICAST)
    await check(session)
    await session.security_setup.remove_certificate(*identity)
    with pytest.raises(MeterError):
        await session.security_setup.export_certificate(*identity)


def public_octets_of(key: ec.EllipticCurvePublicKey, length: int) -> bytes:
    numbers = key.public_numbers()
    return numbers.x.to_bytes(length, "big") + numbers.y.to_bytes(length, "big")
