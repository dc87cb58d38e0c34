"""Security setups: keys, policy, key pairs and certificates changed by what goes over the wire, and in force afterwards.

Keys are wrapped and agreed on with the cryptography package alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding

from headend.model.meter import Secret
from headend.model.reading import from_millis
from headend.protocols.dlms.axdr import Data, array, decode_data, encode_data, enum, octet_string, structure, uint8
from headend.protocols.dlms.security.certificates import Authority, KeyUse, Requested, read_request
from headend.protocols.dlms.security.suite import SUITES

CLIENT = "4844450000000001"
METER = b"ACM\x00\x00\x00\x00\x01"
SETUP = "004000002b0000ff"
DONE = "c701c10000"
REFUSED, DENIED, UNMATCHED, UNAVAILABLE = "c701c1fa00", "c701c10300", "c701c10c00", "c701c10b00"


def keys_of(suite: int) -> dict[str, bytes]:
    length = SUITES[suite].key_length
    return {name: bytes(range(start, start + length)) for name, start in (("ek", 0), ("ak", 0x40), ("mk", 0x80))}


def aarq_with_title(value: str = "3132333435363738") -> str:
    content = (
        f"a109060760857405080101a60a0408{CLIENT}8a0207808b0760857405080201ac0a8008{value}"
        "be10040e01000000065f1f0400007e1fffff"
    )
    return f"60{len(content) // 2:02x}{content}"


def action(method: int, data: Data) -> str:
    return f"c301c1{SETUP}{method:02x}01{encode_data(data).hex()}"


def returned(answer: str) -> Any:
    assert answer.startswith("c701c1000100"), answer
    return decode_data(bytes.fromhex(answer), 6)[0]


class Manager:
    """The client, with the keys that it should have."""

    def __init__(self, meter: Any, connect: Any, suite: int) -> None:
        self.meter, self.connect, self.suite = meter, connect, SUITES[suite]
        self.signing = ec.derive_private_key(7, self.suite.curve)
        self.head_end: Any = None

    async def associate(self) -> None:
        self.head_end = self.connect(self.meter)
        assert (await self.head_end.ask(aarq_with_title())).startswith("61")

    async def do(self, method: int, data: Data) -> str:
        answer: str = await self.head_end.ask(action(method, data))
        return answer

    async def read(self, attribute: int) -> str:
        answer: str = await self.head_end.ask(f"c001c1{SETUP}{attribute:02x}00")
        return answer

    @property
    def setup(self) -> Any:
        return self.meter.keyring[1]


@pytest.fixture
async def make_manager(make_meter: Any, connect: Any) -> Any:
    async def make(suite: int = 0, **params: str) -> Manager:
        point = ec.derive_private_key(7, SUITES[suite].curve).public_key().public_numbers()
        length = SUITES[suite].scalar_length
        client_key = (point.x.to_bytes(length, "big") + point.y.to_bytes(length, "big")).hex()
        meter = make_meter(**{"auth": "lls", "policy": "0", "suite": str(suite), "client_key": client_key, **params})
        pairs = {"meter_secret": bytes(length - 1) + b"\x09", "meter_agreement": bytes(length - 1) + b"\x0b"}
        secrets = {"secret": b"12345678", **keys_of(suite), **pairs}
        meter.secrets = {name: Secret(octets) for name, octets in secrets.items()}
        made = Manager(meter, connect, suite)
        await made.associate()
        return made

    return make


async def test_what_a_setup_shows(make_manager: Any) -> None:
    for version in "01":
        manager = await make_manager(1, setup_version=version)
        assert await manager.read(1) == "c401c100090600002b0000ff"
        assert await manager.read(2) == "c401c1001600"
        assert await manager.read(3) == "c401c1001601"
        assert await manager.read(4) == f"c401c1000908{CLIENT}"
        assert await manager.read(5) == f"c401c1000908{METER.hex()}"
        assert await manager.read(6) == ("c401c1000100" if version == "1" else "c401c10103")
    with_policy = await make_manager(policy="0")
    with_policy.setup.policy = 3
    assert await with_policy.read(2) == "c401c100166c"
    with_policy = await make_manager(policy="0", setup_version="0")
    with_policy.setup.policy = 3
    assert await with_policy.read(2) == "c401c1001603"
    with_policy.setup.policy = 4
    assert await with_policy.read(2) == "c401c1010b"  # version 0 has no number for it


@pytest.mark.parametrize("suite", [0, 1, 2])
async def test_transferred_keys(make_manager: Any, suite: int) -> None:
    manager = await make_manager(suite)
    old, new = keys_of(suite), {0: b"\x11", 1: b"\x22", 2: b"\x33", 3: b"\x44"}
    length = SUITES[suite].key_length
    wrapped = [
        structure(enum(key_id), octet_string(aes_key_wrap(old["mk"], octet * length))) for key_id, octet in new.items()
    ]
    before = manager.setup.keys
    assert await manager.do(2, array(*wrapped)) == DONE
    held = {name: secret.reveal() for name, secret in manager.setup.secrets.items()}
    assert {name: held[name] for name in ("ek", "bk", "ak", "mk")} == {
        name: octet * length for name, octet in zip(("ek", "bk", "ak", "mk"), new.values(), strict=True)
    }
    assert manager.setup.keys.gcm is not before.gcm
    assert manager.setup.keys.received.last == -1
    # the old master key is none any more
    assert await manager.do(2, array(wrapped[0])) == REFUSED
    again = array(structure(enum(0), octet_string(aes_key_wrap(new[3] * length, old["ek"]))))
    assert await manager.do(2, again) == DONE
    assert manager.setup.keys.received is before.received  # the first key again: no counter counts anew
    assert manager.setup.keys.sent is before.sent


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (array(), REFUSED),
        (array(structure(enum(4), octet_string(aes_key_wrap(keys_of(0)["mk"], bytes(16))))), REFUSED),
        (array(structure(enum(0), octet_string(aes_key_wrap(keys_of(0)["mk"], bytes(32))))), REFUSED),
        (array(structure(enum(0), octet_string(aes_key_wrap(bytes(16), bytes(16))))), REFUSED),
        (array(structure(enum(0), octet_string(b"short"))), REFUSED),
        (array(*[structure(enum(0), octet_string(aes_key_wrap(keys_of(0)["mk"], bytes(16))))] * 2), REFUSED),
        (structure(enum(0), octet_string(bytes(24))), UNMATCHED),
        (array(structure(uint8(0), octet_string(bytes(24)))), UNMATCHED),
        (array(enum(0)), UNMATCHED),
        # one of two is wrong: none is taken
        (
            array(
                structure(enum(0), octet_string(aes_key_wrap(keys_of(0)["mk"], bytes(16)))),
                structure(enum(2), octet_string(bytes(24))),
            ),
            REFUSED,
        ),
    ],
)
async def test_transfers_that_are_refused(make_manager: Any, data: Data, answer: str) -> None:
    manager = await make_manager()
    assert await manager.do(2, data) == answer
    assert {name: manager.setup.secrets[name].reveal() for name in ("ek", "ak", "mk")} == keys_of(0)


async def test_without_a_master_key_nothing_is_transferred(make_manager: Any) -> None:
    manager = await make_manager()
    del manager.setup.secrets["mk"]
    wrapped = structure(enum(0), octet_string(aes_key_wrap(keys_of(0)["mk"], bytes(16))))
    assert await manager.do(2, array(wrapped)) == REFUSED


async def test_policies_become_stronger_only(make_manager: Any) -> None:
    for version, steps in {
        "0": [(4, REFUSED), (1, DONE), (0, REFUSED), (2, REFUSED), (3, DONE), (1, REFUSED)],
        "1": [(3, REFUSED), (4, DONE), (0, REFUSED), (8, REFUSED), (0x24, DONE), (0x6C, DONE), (0x64, REFUSED)],
    }.items():
        manager = await make_manager(setup_version=version)
        for number, answer in steps:
            assert await manager.do(1, enum(number)) == answer, (version, number)
            if answer == DONE:
                assert await manager.read(2) == f"c401c10016{number:02x}"
        assert await manager.do(1, octet_string(b"\x6c")) == UNMATCHED
        # the association that changed it goes on; the next one must be ciphered
        refused = await manager.connect(manager.meter).ask(aarq_with_title())
        assert refused.endswith("a305a103020102")


# --- agreed keys ---


def octets_of(key: ec.EllipticCurvePublicKey, length: int) -> bytes:
    numbers = key.public_numbers()
    return numbers.x.to_bytes(length, "big") + numbers.y.to_bytes(length, "big")


def signed(key: ec.EllipticCurvePrivateKey, message: bytes, suite: Any) -> bytes:
    halves = utils.decode_dss_signature(key.sign(message, ec.ECDSA(suite.hash)))
    return b"".join(half.to_bytes(suite.scalar_length, "big") for half in halves)


ALGORITHM = {
    (1, 0): "60857405080300",
    (1, 3): "60857405080302",
    (2, 0): "60857405080301",
    (2, 3): "60857405080303",
}


@pytest.mark.parametrize("suite", [1, 2])
async def test_agreed_keys(make_manager: Any, suite: int) -> None:
    manager = await make_manager(suite)
    known, length = manager.suite, manager.suite.scalar_length
    ephemerals = {key_id: ec.generate_private_key(known.curve) for key_id in (0, 2, 3)}
    offers = []
    for key_id, ephemeral in ephemerals.items():
        point = octets_of(ephemeral.public_key(), length)
        offers.append(
            structure(enum(key_id), octet_string(point + signed(manager.signing, bytes([key_id]) + point, known)))
        )
    answers = returned(await manager.do(3, array(*offers)))
    assert [answer[0] for answer in answers] == [0, 2, 3]
    meter_signs = ec.derive_private_key(9, known.curve).public_key()
    for (key_id, ephemeral), (_, answer), name in zip(ephemerals.items(), answers, ("ek", "ak", "mk"), strict=True):
        point, signature = answer[: 2 * length], answer[2 * length :]
        halves = (int.from_bytes(half, "big") for half in (signature[:length], signature[length:]))
        meter_signs.verify(utils.encode_dss_signature(*halves), bytes([key_id]) + point, ec.ECDSA(known.hash))
        shared = ephemeral.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(known.curve, b"\x04" + point)
        )
        algorithm = ALGORITHM[suite, 3 if key_id == 3 else 0]
        info = bytes.fromhex(algorithm + CLIENT) + METER
        key = ConcatKDFHash(known.hash, known.key_length, info).derive(shared)
        assert manager.setup.secrets[name].reveal() == key


async def test_offers_that_are_refused(make_manager: Any) -> None:
    manager = await make_manager(1)
    before = dict(manager.setup.secrets)
    ephemeral = ec.generate_private_key(manager.suite.curve)
    point = octets_of(ephemeral.public_key(), 32)
    good = point + signed(manager.signing, b"\x00" + point, manager.suite)
    beside = bytes(64) + signed(manager.signing, b"\x00" + bytes(64), manager.suite)
    for offer, answer in (
        (good[:-1] + bytes([good[-1] ^ 1]), REFUSED),
        (point + signed(ephemeral, b"\x00" + point, manager.suite), REFUSED),  # somebody else's signature
        (point + signed(manager.signing, b"\x02" + point, manager.suite), REFUSED),  # for another key
        (good[:-1], UNMATCHED),
        (beside, UNMATCHED),  # no point of the curve
    ):
        assert await manager.do(3, array(structure(enum(0), octet_string(offer)))) == answer
    assert manager.setup.secrets == before
    borrowed = await make_manager(0)
    assert await borrowed.do(3, array(structure(enum(0), octet_string(good)))) == REFUSED  # suite 0 agrees on nothing


# --- key pairs and certificates ---


VALID = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC))


def identified(entity: int, use: int, title: bytes) -> Data:
    return structure(enum(0), structure(enum(entity), enum(use), octet_string(title)))


@pytest.mark.parametrize("suite", [1, 2])
async def test_from_a_key_pair_to_its_certificate(make_manager: Any, suite: int) -> None:
    manager = await make_manager(suite)
    known = manager.suite
    root_key = ec.generate_private_key(known.curve)
    root_asked = Requested(b"ROOT0001", KeyUse.OTHER, root_key.public_key())
    root = Authority(root_key).issue(known, root_asked, 1, VALID, authority=True)
    authority = Authority(root_key, root)
    assert await manager.do(6, octet_string(root.der)) == DONE
    old = manager.setup.signing_key
    assert await manager.do(4, enum(0)) == DONE
    assert manager.setup.signing_key is old  # until there is a certificate
    der = returned(await manager.do(5, enum(0)))
    parsed = x509.load_der_x509_csr(der)
    assert parsed.is_signature_valid
    assert parsed.subject.rfc4514_string() == f"CN={METER.hex().upper()}"
    issued = authority.issue(known, read_request(known, der), 2, VALID)
    assert await manager.do(6, octet_string(issued.der)) == DONE
    assert manager.setup.signing_key.public_key() == issued.key != old.public_key()
    # that of the client, which then signs with it
    client_key = ec.generate_private_key(known.curve)
    title = bytes.fromhex(CLIENT)
    asked = Requested(title, KeyUse.DIGITAL_SIGNATURE, client_key.public_key())
    certified = authority.issue(known, asked, 3, VALID)
    assert await manager.do(6, octet_string(certified.der)) == DONE
    assert manager.setup.client_key(title, KeyUse.DIGITAL_SIGNATURE) == client_key.public_key()

    shown, _ = decode_data(bytes.fromhex(await manager.read(6)), 4)
    assert [(entry[0], entry[1]) for entry in shown] == [(2, 3), (0, 0), (1, 0)]  # authority, meter, client
    for entry, certificate in zip(shown, (root, issued, certified), strict=True):
        independent = x509.load_der_x509_certificate(certificate.der)
        assert int.from_bytes(entry[2], "big") == independent.serial_number
        assert entry[3:] == [independent.issuer.public_bytes(), independent.subject.public_bytes(), b""]
    assert returned(await manager.do(7, identified(0, 0, METER))) == issued.der
    by_serial = structure(enum(1), structure(octet_string(b"\x02\x01\x03"), octet_string(certified.issuer)))
    assert returned(await manager.do(7, by_serial)) == certified.der
    assert await manager.do(8, by_serial) == DONE
    assert await manager.do(7, by_serial) == UNAVAILABLE
    assert await manager.do(7, identified(1, 0, title)) == UNAVAILABLE
    assert await manager.do(8, identified(2, 3, b"")) == DONE


async def test_certificates_that_are_refused(make_manager: Any) -> None:
    manager = await make_manager(1)
    known = manager.suite
    root_key, other_key = ec.generate_private_key(known.curve), ec.generate_private_key(known.curve)
    root_asked = Requested(b"ROOT0001", KeyUse.OTHER, root_key.public_key())
    root = Authority(root_key).issue(known, root_asked, 1, VALID, authority=True)
    client = Requested(bytes.fromhex(CLIENT), KeyUse.DIGITAL_SIGNATURE, other_key.public_key())
    assert await manager.do(6, octet_string(b"no certificate")) == UNMATCHED
    assert await manager.do(6, octet_string(root.der)) == DONE
    stranger = Authority(other_key).issue(known, client, 2, VALID)
    assert await manager.do(6, octet_string(stranger.der)) == REFUSED  # nobody whom we know has issued it
    now = from_millis(manager.meter.now())
    for validity in ((VALID[0], now - timedelta(days=1)), (now + timedelta(days=1), VALID[1])):
        expired = Authority(root_key, root).issue(known, client, 3, validity)
        assert await manager.do(6, octet_string(expired.der)) == REFUSED
    ours = Requested(METER, KeyUse.DIGITAL_SIGNATURE, other_key.public_key())
    foreign = Authority(root_key, root).issue(known, ours, 4, VALID)
    assert await manager.do(6, octet_string(foreign.der)) == REFUSED  # of a key that the meter does not have
    curve = SUITES[2]
    longer = ec.generate_private_key(curve.curve)
    other_curve = Authority(longer).issue(curve, Requested(METER, KeyUse.OTHER, longer.public_key()), 5, VALID)
    assert await manager.do(6, octet_string(other_curve.der)) == UNMATCHED
    for method in (4, 5):
        assert await manager.do(method, enum(2)) == REFUSED  # there is no TLS
        assert await manager.do(method, enum(9)) == REFUSED
    assert await manager.do(7, structure(enum(5), structure(enum(0), enum(0), octet_string(b"")))) == UNMATCHED
    assert [each.der for each in manager.setup.credentials.certificates] == [root.der]


async def test_there_is_an_end_of_certificates(make_manager: Any) -> None:
    manager = await make_manager(1)
    key = ec.generate_private_key(manager.suite.curve)
    for number in range(40):
        asked = Requested(number.to_bytes(8, "big"), KeyUse.DIGITAL_SIGNATURE, key.public_key())
        made = Authority(key).issue(manager.suite, asked, number + 1, VALID)
        assert await manager.do(6, octet_string(made.der)) == (DONE if number < 32 else REFUSED)
    assert made.der == x509.load_der_x509_certificate(made.der).public_bytes(Encoding.DER)


async def test_only_who_may_change_something_may_change_the_setup(
    make_manager: Any, connect: Any, aarq_none: str
) -> None:
    manager = await make_manager()
    public = connect(manager.meter, 16)
    assert (await public.ask(aarq_none)).startswith("61")
    assert await public.ask(action(1, enum(0x6C))) == DENIED
    assert await public.ask(f"c301c1{SETUP}0100") == "c701c10300"
    assert await manager.head_end.ask(f"c301c1{SETUP}0100") == UNMATCHED
