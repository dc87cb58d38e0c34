"""What the driver makes of octets that somebody pushes: framings, noise, blocks, protection, lists."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Push
from headend.drivers.dlms import driver as shared_driver
from headend.drivers.dlms.driver import DlmsDriver
from headend.drivers.dlms.hearing import Blocks
from headend.drivers.dlms.push_lists import read_push_list
from headend.drivers.library import load_profile
from headend.drivers.modbus import driver as modbus
from headend.errors import (
    CapabilityError,
    ConfigError,
    DecipherFailed,
    DecodeError,
    HeadendError,
    KeyMissing,
    RemoteProtocolError,
    ReplayDetected,
)
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity, Secret
from headend.model.objects import ObjectRef
from headend.protocols.dlms.apdu.notification import DataNotification
from headend.protocols.dlms.axdr import Data, encode_data, enum, int8, octet_string, structure, uint32
from headend.protocols.dlms.security.ciphering import (
    AgreedKey,
    GeneralCiphering,
    GeneralSigning,
    Header,
    IdentifiedKey,
    KeyInformation,
    WrappedKey,
    encode_general,
    encode_service,
)
from headend.protocols.dlms.security.counters import MemoryCounters
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.keys import private_key, public_octets, sign, wrap_key
from headend.protocols.dlms.security.suite import SUITES
from headend.protocols.gateway import prefix
from headend.protocols.mbus import encode_apdu
from headend.protocols.wrapper import wrap
from headend.standards.obis import Obis

TITLE = bytes.fromhex("4d4d4d0000bc614e")
EK, AK, MK = bytes(range(16)), bytes(range(0xD0, 0xE0)), bytes(range(0x20, 0x30))
KEYS = {"ek": Secret(EK), "ak": Secret(AK), "mk": Secret(MK)}
CLOCK = bytes.fromhex("07e30c10 01073b28 ff ffc4 00")


def keys_of(texts: dict[str, str]) -> dict[str, Secret]:
    return {name: Secret(bytes.fromhex(text)) for name, text in texts.items()}


def meter(title: str = "", **params: str) -> Meter:
    return Meter(
        id="m1",
        protocol="dlms",
        framing="",
        endpoint=Endpoint(kind=EndpointKind.INBOUND, host="m1"),
        params=params,
        identity=MeterIdentity(system_title=title),
    )


def pushed(apdu: bytes) -> Push:
    return Push(octets=apdu, identity=MeterIdentity(), address="")


def note(*items: Data) -> bytes:
    return DataNotification(1, CLOCK, encode_data(structure(*items))).encode()


REGISTER = octet_string(Obis.parse("1-0:1.8.0").to_bytes())
PLAIN = note(REGISTER, uint32(1234))


def sealed(counter: int, *, control: int = 0x30, apdu: bytes = PLAIN, more: bytes = b"") -> bytes:
    return GcmKey(EK, AK).seal(control, TITLE, counter, apdu, more)


@pytest.fixture
def driver() -> DlmsDriver:
    """One that has heard nobody yet."""
    return DlmsDriver()


def hear(data: bytes, *, step: int = 0, limit: int = 65536) -> list[Push | RemoteProtocolError]:
    ear = shared_driver.listen(limit)
    step = step or len(data)
    return [said for at in range(0, len(data), step) for said in ear.receive(data[at : at + step])]


# Framings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 7])
def test_several_pushes_with_noise_before_and_between(real_pushes: SimpleNamespace, step: int) -> None:
    stream = b"\x7e\xa0rest of a frame" + real_pushes.KAMSTRUP + b"noise" + real_pushes.AIDON + real_pushes.LANDIS
    said = hear(stream, step=step)
    pushes = [each for each in said if isinstance(each, Push)]
    assert [push.identity.system_title for push in pushes] == [real_pushes.KAMSTRUP_TITLE, "", real_pushes.LANDIS_TITLE]
    assert pushes[1].identity.serial == real_pushes.AIDON_SERIAL
    assert len(said) - len(pushes) == 1, "the noise between frames is told once"


def test_where_it_is_known_who_speaks_a_push_is_not_searched_for_that(real_pushes: SimpleNamespace) -> None:
    ear = shared_driver.listen(65536)
    ear.named = True
    (push,) = ear.receive(real_pushes.AIDON)
    assert isinstance(push, Push)
    assert push.identity == MeterIdentity()
    (sealed_push,) = ear.receive(real_pushes.KAMSTRUP)
    assert isinstance(sealed_push, Push)
    assert (push.sealed, sealed_push.sealed) == (False, True)


@pytest.mark.parametrize(
    ("frame", "address"),
    [(wrap(PLAIN, 1, 0x66), "wrapper 1"), (encode_apdu(PLAIN, 1, 0x67), "mbus 1")],
    ids=["wrapper", "mbus"],
)
@pytest.mark.parametrize("step", [0, 1])
def test_the_framing_is_told_by_what_begins_like_it(frame: bytes, address: str, step: int) -> None:
    found = [each for each in hear(b"\x00\x00h7~" + frame * 2, step=step) if isinstance(each, Push)]
    assert [(push.octets, push.address) for push in found] == [(PLAIN, address)] * 2


def test_a_wrapper_stream_finds_its_way_back() -> None:
    frame = wrap(PLAIN, 1, 0x66)
    said = hear(frame + b"garbage of any kind" + frame[:6] + frame)
    assert [each.octets for each in said if isinstance(each, Push)] == [PLAIN, PLAIN]
    assert any(isinstance(each, RemoteProtocolError) for each in said)


@pytest.mark.parametrize("step", [0, 1, 7])
def test_pushes_without_wrapper_and_with_it(step: int) -> None:
    event = bytes.fromhex("c200 0007 0000636201ff 02 01010202090c07e90a1f05110f39ff8000000600000029")
    stream = PLAIN + event + wrap(PLAIN, 1, 0x66) + event + wrap(event, 1, 0x66) + PLAIN
    found = [each for each in hear(stream, step=step) if isinstance(each, Push)]
    assert [each.octets for each in found] == [PLAIN, event, PLAIN, event, event, PLAIN]
    assert [each.address for each in found[:3]] == ["apdu", "apdu", "wrapper 1"]


def test_answers_without_wrapper_are_no_pushes() -> None:
    """What nobody has asked for any more; the next frame is found."""
    answer = bytes.fromhex("c401c100090c07e90b130311103bffffc400")
    said = hear(answer + wrap(PLAIN, 1, 0x66))
    assert [each.octets for each in said if isinstance(each, Push)] == [PLAIN]
    for late in (answer, b"\x63\x00", b"\xd8\x01\x01", bytes.fromhex("cc05300000000100")):
        (push,) = hear(wrap(late, 1, 16) + wrap(PLAIN, 1, 0x66))
        assert isinstance(push, Push)
        assert push.octets == PLAIN


def test_a_datagram_that_is_cut_short_spoils_no_other() -> None:
    for frame in (wrap(PLAIN, 1, 0x66), encode_apdu(PLAIN, 1, 0x67)):
        ear = shared_driver.listen(65536)
        found: list[Any] = []
        for datagram in (frame, frame[:20], frame):
            found += ear.receive(datagram)
            ear.boundary()
        assert [each.octets for each in found if isinstance(each, Push)] == [PLAIN, PLAIN]


def test_a_cut_hdlc_datagram_spoils_no_other(real_pushes: SimpleNamespace) -> None:
    ear = shared_driver.listen(65536)
    found: list[Any] = []
    for datagram in (real_pushes.AIDON, real_pushes.AIDON[:40], real_pushes.AIDON):
        found += ear.receive(datagram)
        ear.boundary()
    assert len([each for each in found if isinstance(each, Push)]) == 2


def test_a_meter_behind_a_gateway_is_told_by_its_address() -> None:
    (push,) = hear(wrap(prefix(0xE6, 0, b"0042") + PLAIN, 1, 0x66))
    assert isinstance(push, Push)
    assert (push.octets, push.identity.serial) == (PLAIN, "0042")


def test_a_push_that_is_too_long_is_refused(real_pushes: SimpleNamespace) -> None:
    for stream in (real_pushes.LANDIS, real_pushes.KAMSTRUP[:-1] + b"\x7e"):
        said = hear(stream, limit=200)
        assert said, "not in silence"
        assert all(isinstance(each, RemoteProtocolError) for each in said)


def test_noise_is_complained_of_a_few_times_only(real_pushes: SimpleNamespace) -> None:
    broken = real_pushes.AIDON[:-3] + b"\x00\x00\x7e"
    assert len(hear(real_pushes.AIDON + broken * 100)) == 1 + 16


@given(st.binary(max_size=300), st.integers(0, 30))
def test_any_octets_are_pushes_or_errors(octets: bytes, step: int) -> None:
    for said in hear(octets, step=step) if octets else ():
        assert isinstance(said, Push | RemoteProtocolError)


@given(st.binary(min_size=1, max_size=60))
def test_any_apdu_is_understood_or_an_error(apdu: bytes) -> None:
    driver = DlmsDriver()
    with contextlib.suppress(HeadendError):
        driver.understand(driver.unseal(pushed(apdu), meter(TITLE.hex()), None, KEYS), None, None)


# Blocks -----------------------------------------------------------------------------------------------------------


def block(number: int, data: bytes, *, last: bool = False) -> bytes:
    return b"\xe0" + bytes((0x80 if last else 0x00,)) + number.to_bytes(2, "big") + b"\0\0" + bytes((len(data),)) + data


def test_blocks_come_twice_get_lost_and_begin_anew() -> None:
    blocks = Blocks(100)
    ours = (1, 2)
    assert blocks.add(block(1, b"ab"), ours) is None
    assert blocks.add(block(1, b"ab"), ours) is None
    assert blocks.add(block(2, b"cd"), ours) is None
    assert blocks.add(block(2, b"cd"), ours) is None, "a repetition"
    assert blocks.add(block(3, b"e", last=True), ours) == b"abcde"
    with pytest.raises(RemoteProtocolError, match="missing"):
        blocks.add(block(2, b"x"), ours)
    assert blocks.add(block(3, b"x", last=True), ours) is None, "told once"
    assert blocks.add(block(1, b"x", last=True), ours) == b"x"
    assert blocks.add(block(1, b"x"), ours) is None
    with pytest.raises(RemoteProtocolError, match="missing"):
        blocks.add(block(2, b"y"), (3, 4))
    with pytest.raises(RemoteProtocolError, match="nothing"):
        blocks.add(block(1, b"", last=True), ours)
    blocks.add(block(1, bytes(99)), ours)
    with pytest.raises(RemoteProtocolError, match="too long"):
        blocks.add(block(2, bytes(99)), ours)


# Protection -------------------------------------------------------------------------------------------------------


def test_a_ciphered_push_of_a_real_meter(driver: DlmsDriver, real_pushes: SimpleNamespace) -> None:
    (push,) = hear(real_pushes.KAMSTRUP)
    assert isinstance(push, Push)
    known, keys = meter(real_pushes.KAMSTRUP_TITLE), keys_of(real_pushes.KAMSTRUP_KEYS)
    with pytest.raises(KeyMissing):
        driver.understand(push, None, None)
    said = driver.understand(driver.unseal(push, known, None, keys), known, None)
    assert said.values[ObjectRef("dlms", "3/1-1:1.8.0.255/2")] == 6307498
    assert said.scales[ObjectRef("dlms", "3/1-1:1.8.0.255/2")] == (1, "Wh")
    assert said.scales[ObjectRef("dlms", "3/1-1:31.7.0.255/2")] == (-2, "A")
    with pytest.raises(ReplayDetected):
        driver.unseal(push, known, None, keys)


def test_a_push_that_came_before_a_restart_is_refused(real_pushes: SimpleNamespace) -> None:
    (push,) = hear(real_pushes.KAMSTRUP)
    assert isinstance(push, Push)
    known, keys, store = meter(), keys_of(real_pushes.KAMSTRUP_KEYS), MemoryCounters()
    for restarted in (False, True):
        driver = DlmsDriver()
        driver.use_counters(store)
        with (
            pytest.raises(ReplayDetected, match="17784996 came after 17784996")
            if restarted
            else contextlib.nullcontext()
        ):
            driver.unseal(push, known, None, keys)


def test_a_ciphered_push_in_blocks_of_ui_frames_of_a_real_meter(
    driver: DlmsDriver, real_pushes: SimpleNamespace
) -> None:
    (push,) = hear(real_pushes.LANDIS, step=10)
    assert isinstance(push, Push)
    known = meter()
    said = driver.understand(driver.unseal(push, known, None, keys_of(real_pushes.LANDIS_KEYS)), known, None)
    assert said.values[ObjectRef("dlms", "3/1-0:1.8.0.255/2")] == 12048950
    assert said.values[ObjectRef("dlms", "3/1-0:1.7.0.255/2")] == 545


def general(key: KeyInformation | None, counter: int = 1, *, cipher_key: bytes = EK) -> bytes:
    header = Header(transaction_id=b"\x01", originator=TITLE)
    content = GcmKey(cipher_key, AK).seal(0x30, TITLE, counter, PLAIN, header.encode())
    return GeneralCiphering(header=header, key=key, sealed=content).encode()


NEW_KEY = bytes(range(0x50, 0x60))


@pytest.mark.parametrize(
    "apdu",
    [
        encode_general(0xDB, TITLE, sealed(1)),
        encode_general(0xDB, b"", sealed(1)),
        general(None),
        general(IdentifiedKey(0)),
        general(WrappedKey(0, wrap_key(MK, NEW_KEY)), cipher_key=NEW_KEY),
        encode_general(0xDB, TITLE, sealed(2, apdu=encode_general(0xDB, TITLE, sealed(1)))),
    ],
    ids=["general-glo", "without-title", "general-ciphering", "identified", "wrapped", "twice"],
)
def test_protection_that_keys_of_the_meter_open(driver: DlmsDriver, apdu: bytes) -> None:
    known = meter(TITLE.hex())
    (heard,) = hear(wrap(apdu, 1, 0x66))
    assert isinstance(heard, Push)
    if apdu[:2] == b"\xdb\x08" or apdu[0] == 0xDD:
        assert heard.identity.system_title == TITLE.hex()
    plain = driver.unseal(heard, known, None, KEYS)
    assert (plain.octets, plain.identity.system_title) == (PLAIN, TITLE.hex())


@pytest.mark.parametrize(("suite", "length"), [(1, 32), (2, 48)])
def test_signed_pushes(driver: DlmsDriver, suite: int, length: int) -> None:
    """Alone, within what is ciphered, and around it; what is signed alone comes once."""
    key = private_key(SUITES[suite], bytes((7,)) * length)
    public = public_octets(key).hex()
    keys = {"ek": Secret(EK * suite), "ak": Secret(AK * suite)}

    def signed(content: bytes, number: int, by: Any = key) -> bytes:
        header = Header(transaction_id=number.to_bytes(16, "big").lstrip(b"\0"), originator=TITLE)
        made = GeneralSigning(header=header, content=content)
        return replace(made, signature=sign(SUITES[suite], by, made.signed)).encode()

    def ciphered(content: bytes, counter: int) -> bytes:
        inner = GcmKey(EK * suite, AK * suite).seal(0x30 | suite, TITLE, counter, content)
        return encode_general(0xDB, TITLE, inner)

    known = meter(TITLE.hex(), suite=str(suite), meter_key=public, policy="128")  # responses are signed
    for apdu in (signed(PLAIN, 1), signed(PLAIN, 2), ciphered(signed(PLAIN, 0), 1), signed(ciphered(PLAIN, 2), 0)):
        plain = driver.unseal(pushed(apdu), known, None, keys)
        assert (plain.octets, plain.identity.system_title) == (PLAIN, TITLE.hex())
    for again in (
        signed(PLAIN, 2),
        signed(PLAIN, 1 << 64),
        ciphered(signed(PLAIN, 3), 1),
        signed(ciphered(PLAIN, 2), 4),
    ):
        with pytest.raises(ReplayDetected):
            driver.unseal(pushed(again), known, None, keys)
    stranger = private_key(SUITES[suite], bytes((8,)) * length)
    for forged in (signed(PLAIN, 9, stranger), signed(PLAIN, 9)[:-1] + b"\0", ciphered(PLAIN, 9)):
        with pytest.raises(DecipherFailed):
            driver.unseal(pushed(forged), known, None, keys)


def test_an_event_under_the_global_key(driver: DlmsDriver) -> None:
    event = bytes.fromhex("c200 0001 0000616200ff 02 0601020304")
    plain = driver.unseal(pushed(encode_service(0xCA, sealed(5, apdu=event))), meter(TITLE.hex()), None, KEYS)
    said = driver.understand(plain, None, None)
    assert (said.kind, said.values) == ("event", {ObjectRef("dlms", "1/0-0:97.98.0.255/2"): 0x01020304})


@pytest.mark.parametrize(
    ("apdu", "error", "words"),
    [
        (PLAIN, DecipherFailed, "not authenticated and encrypted"),
        (encode_general(0xDB, TITLE, sealed(1, control=0x20)), DecipherFailed, "not authenticated"),
        (encode_general(0xDB, TITLE, sealed(1)[:-1] + b"\0"), DecipherFailed, "tag"),
        (encode_general(0xDB, TITLE, sealed(1, control=0x70)), DecipherFailed, "broadcast"),
        (encode_general(0xDB, bytes(8), sealed(1)), DecipherFailed, "another system title"),
        (encode_general(0xDB, TITLE[:7], sealed(1)), DecodeError, "system title"),
        (encode_general(0xDC, TITLE, sealed(1)), DecipherFailed, "dedicated"),
        (encode_service(0xD2, sealed(1)), DecipherFailed, "dedicated"),
        (encode_service(0xCA, sealed(1)), DecodeError, "deciphered"),
        (general(IdentifiedKey(1)), DecipherFailed, "not known"),
        (general(AgreedKey(b"\x01", b"\0")), CapabilityError, "agreed"),
        (GeneralSigning(header=Header(originator=TITLE), content=PLAIN).encode(), KeyMissing, "signs with"),
        (
            GeneralSigning(header=Header(originator=bytes(8)), content=PLAIN).encode(),
            DecipherFailed,
            "another system title",
        ),
        (GeneralSigning(header=Header(originator=TITLE), content=b"").encode(), DecodeError, "signed push"),
    ],
)
def test_protection_that_is_refused(driver: DlmsDriver, apdu: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        driver.unseal(pushed(apdu), meter(TITLE.hex()), None, KEYS)


def test_protections_within_protections_end(driver: DlmsDriver) -> None:
    apdu = PLAIN
    for counter in (9, 8, 7, 6):
        apdu = encode_general(0xDB, TITLE, sealed(counter, apdu=apdu))
    with pytest.raises(DecodeError, match="protections"):
        driver.unseal(pushed(apdu), meter(TITLE.hex()), None, KEYS)


@pytest.mark.parametrize("missing", ["ek", "ak", "mk"])
def test_a_key_that_is_missing_is_named(driver: DlmsDriver, missing: str) -> None:
    apdu = general(WrappedKey(0, wrap_key(MK, NEW_KEY))) if missing == "mk" else encode_general(0xDB, TITLE, sealed(1))
    keys = {name: key for name, key in KEYS.items() if name != missing}
    with pytest.raises(KeyMissing, match=missing):
        driver.unseal(pushed(apdu), meter(TITLE.hex()), None, keys)
    with pytest.raises(DecipherFailed, match="not known"):
        driver.unseal(pushed(encode_general(0xDB, b"", sealed(1))), meter(), None, KEYS)


def test_a_policy_of_the_meter_lets_less_through(driver: DlmsDriver) -> None:
    driver.unseal(pushed(encode_general(0xDB, TITLE, sealed(1, control=0x20))), meter(policy="2"), None, KEYS)
    assert driver.unseal(pushed(PLAIN), meter(policy="0"), None, KEYS).octets == PLAIN
    assert driver.unseal(pushed(PLAIN), meter(), None, {}).octets == PLAIN


def test_what_is_no_notification_is_refused(driver: DlmsDriver) -> None:
    with pytest.raises(DecodeError, match="notification"):
        driver.understand(pushed(bytes.fromhex("d801 01")), None, None)


# Lists ------------------------------------------------------------------------------------------------------------

SETUP = octet_string(Obis.parse("0-0:25.9.0").to_bytes())
LIST = tuple(
    ObjectRef("dlms", address)
    for address in (
        "40/0-0:25.9.0.255/1",
        "8/0-0:1.0.0.255/2",
        "3/1-0:1.8.0.255/2",
        "3/1-0:1.8.0.255/3",
        "5/1-0:1.6.0.255/2",
    )
)
WATT_HOURS = structure(int8(1), enum(30))
VALUES = (SETUP, octet_string(CLOCK), uint32(77), WATT_HOURS, uint32(5))


def test_a_list_of_the_meter_says_what_bare_values_are(driver: DlmsDriver) -> None:
    apdu = DataNotification(1, b"", encode_data(structure(*VALUES))).encode()
    other = (*LIST[:4], ObjectRef("dlms", "8/0-0:1.1.0.255/2"))
    said = driver.understand(pushed(apdu), None, None, (LIST[:2], other, (LIST[2], *LIST[1:]), LIST))
    assert said.values[LIST[2]] == 77
    assert said.values[LIST[4]] == 5
    assert said.values[LIST[1]] == "2019-12-16 07:59:40+01:00"
    assert said.scales == {LIST[2]: (1, "Wh")}
    assert said.measured_at == 1576479580000, "the clock among the values, where the push has no time of its own"


def test_parts_of_attributes_in_a_list_have_no_name(driver: DlmsDriver) -> None:
    said = driver.understand(pushed(note(*VALUES)), None, None, ((None, *LIST[1:]),))
    assert LIST[0] not in said.values
    assert said.values[LIST[2]] == 77


def test_push_object_lists_as_meters_have_them() -> None:
    name = Obis.parse("1-0:1.8.0").to_bytes()
    raw: Any = [[3, name, 2, 0], [3, name, 2, 1], [3, name, 0, 0], [7, b"short", 2, 0], "nonsense", [3, name, 3, 0, []]]
    listed = read_push_list(raw)
    assert [str(ref) if ref else None for ref in listed] == [
        "dlms:3/1-0:1.8.0.255/2", None, None, None, None, "dlms:3/1-0:1.8.0.255/3",
    ]  # fmt: skip
    assert read_push_list(None) == ()


async def test_modbus_hears_nothing() -> None:
    with pytest.raises(CapabilityError):
        modbus.listen(100)
    with pytest.raises(CapabilityError):
        modbus.unseal(pushed(b"x"), meter(), None, {})
    with pytest.raises(CapabilityError):
        modbus.understand(pushed(b"x"), None, None)


@pytest.mark.corpus
def test_every_whole_capture_is_heard_whole_and_octet_by_octet(corpus: Path) -> None:
    lines = (corpus / "captures" / "dlms_push.jsonl").read_text().splitlines()
    heard = opened = 0
    for capture in map(json.loads, lines):
        if capture["transport"] == "raw":
            continue
        data = bytes.fromhex(capture["hex"])
        whole, by_octet = hear(data), hear(data, step=1)
        assert [getattr(each, "octets", str(each)) for each in whole] == [
            getattr(each, "octets", str(each)) for each in by_octet
        ], capture["name"]
        pushes = [each for each in whole if isinstance(each, Push)]
        heard += len(pushes)
        keys = keys_of(capture.get("keys", {}))
        if capture.get("checked", {}).get("ciphering", {}).get("gcm_tag_ok"):
            driver = DlmsDriver()
            plain = driver.unseal(pushes[0], meter(), None, keys)
            said = driver.understand(plain, None, None)
            assert said.kind == "push", capture["name"]
            opened += 1
    assert heard >= 60
    assert opened >= 2


async def test_a_meter_is_asked_for_its_push_lists(attach: Any) -> None:
    session, scripted = await attach()
    usual = bytes.fromhex("0101 0204 120003 09060100010800ff 0f02 120000")
    scripted.data["40/0-0:25.9.0.255/2"] = usual
    assert await session.push_lists() == [(LIST[2],)], "the usual one, of a meter that keeps its object list to itself"
    none = "0202 0100 0100"
    setups = [f"0204 120028 1100 09060000{number:02x}0900ff {none}" for number in (25, 0x1A, 0x1B)]
    register = f"0204 120003 1100 09060100010800ff {none}"
    scripted.data["15/0-0:40.0.0.255/2"] = bytes.fromhex(f"0104 {' '.join(setups)} {register}")
    scripted.data["40/0-0:26.9.0.255/2"] = b"\x01\x00"
    assert await session.push_lists() == [(LIST[2],)], "one is empty, one is refused"


def test_a_meter_file_says_what_is_pushed() -> None:
    text = '[meter]\nvendor="a"\nmodel="b"\nprotocol="dlms"\nsource="t"\n'
    profile = load_profile(f'{text}[[push]]\nobjects=["3/1-0:1.8.0.255/2", "8/0-0:1.0.0.255"]', "a-b")
    assert profile.push_lists == ((LIST[2], LIST[1]),)
    body = encode_data(structure(uint32(77), octet_string(CLOCK)))
    said = DlmsDriver().understand(pushed(DataNotification(1, b"", body).encode()), None, profile)
    assert said.values[LIST[2]] == 77
    for wrong in ('objects="x"', 'objects=["x"]', "objects=[]\nspeed=1"):
        with pytest.raises(ConfigError, match="push"):
            load_profile(f"{text}[[push]]\n{wrong}", "a-b")
