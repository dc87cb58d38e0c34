"""Several logical devices and several clients, each with its own rights, which are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headend.drivers.library import load_profile
from headend.errors import ConfigError, KeyMissing
from headend.model.meter import Secret
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.classes import AccessRight, ObjectListEntry, to_object_list, to_sap_list

FILE = """
[meter]
vendor = "Acme"
model = "A2"
protocol = "dlms"
source = "test"
[association]
client = 1
auth = "lls"
association_version = {version}
[[object]]
ref = "3/1-0:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "kWh"
scaler = -2
[[object]]
ref = "1/0-0:96.50.0.255/2"
name = "Limit"
type = "uint32"
writable = true
[[object]]
ref = "3/7-0:3.0.0.255/2"
name = "Gas"
type = "uint32"
[[client]]
sap = 16
objects = ["8/x-x:x.x.x.x", "1/0-0:42.0.0.255"]
[[client]]
sap = 2
params = {{ auth = "lls" }}
secrets = "reader"
access = [
  {{ ref = "1/0-0:96.50.0.255/2", allow = ["read", "write"] }},
  {{ ref = "8/0-0:1.0.0.255/x", allow = [] }},
  {{ method = "70/0-0:96.3.10.255/2", allow = ["invoke"] }},
]
[[client]]
sap = 3
params = {{ auth = "lls", policy = 1 }}
secrets = "guard"
may_change = true
access = [
  {{ ref = "1/0-0:96.50.0.255/2", allow = ["read", "write", "encrypted_request", "encrypted_response"] }},
  {{ ref = "3/1-0:1.8.0.255/2", allow = ["read", "signed_response"] }},
]
[[logical_device]]
sap = 17
name = "GAS0000000000001"
objects = ["3/7-0:x.x.x.x", "17/0-0:41.0.0.255"]
"""
READER = "72656164657221"  # reader!
ENERGY, LIMIT, GAS = "000301000108 00ff", "000100006032 00ff", "000307000300 00ff"
CLOCK, NAME, RELAY, SAPS = "000800000100 00ff", "000100002a00 00ff", "00460000600 30aff", "001100002900 00ff"
DENIED, UNDEFINED, SCOPE = "c401c10103", "c401c10104", "c401c1010d"


def get(name: str, attribute: int = 2) -> str:
    return f"c001c1{name}{attribute:02x}00".replace(" ", "")


def aarq(password: str) -> str:
    content = (
        "a1090607608574050801018a0207808b0760857405080201"
        f"ac{len(password) // 2 + 2:02x}80{len(password) // 2:02x}{password}be10040e01000000065f1f0400007e1fffff"
    )
    return f"60{len(content) // 2:02x}{content}"


@pytest.fixture(params=[0, 1, 2, 3])
def version(request: Any) -> int:
    return int(request.param)


@pytest.fixture
def meter(make_meter: Any, version: int) -> Any:
    profile = load_profile(FILE.format(version=version), "acme-a2", "test")
    made = type(make_meter())(profile)
    keys = {"ek_guard": bytes(range(16)), "ak_guard": bytes(range(16, 32)), "secret_guard": b"guard!!!"}
    secrets = {"secret": b"12345678", "secret_reader": b"reader!", **keys}
    made.secrets = {name: Secret(octets) for name, octets in secrets.items()}
    made.values = [123_450_000.0, 9, 77]
    return made


@pytest.fixture
async def manager(meter: Any, connect: Any) -> Any:
    head_end = connect(meter)
    assert (await head_end.ask(aarq("3132333435363738"))).startswith("6129")
    return head_end


@pytest.fixture
async def reader(meter: Any, connect: Any) -> Any:
    head_end = connect(meter, 2)
    assert (await head_end.ask(aarq(READER))).startswith("6129")
    return head_end


def entries(answer: str, version: int) -> dict[str, ObjectListEntry]:
    value, _ = decode_data(bytes.fromhex(answer), 4)
    return {str(entry.logical_name): entry for entry in to_object_list(value, version)}


async def test_each_client_has_its_own_password(meter: Any, connect: Any) -> None:
    assert (await connect(meter, 2).ask(aarq("3132333435363738"))).endswith("a305a10302010d")
    assert (await connect(meter, 1).ask(aarq(READER))).endswith("a305a10302010d")
    assert (await connect(meter, 9).ask(aarq(READER))).endswith("a305a103020101")


async def test_the_public_client_sees_what_it_is_shown(meter: Any, connect: Any, aarq_none: str, version: int) -> None:
    head_end = connect(meter, 16)
    assert (await head_end.ask(aarq_none)).startswith("6129")
    shown = entries(await head_end.ask(get("000f0000280000ff")), version)
    assert set(shown) == {"0-0:1.0.0.255", "0-0:42.0.0.255", "0-0:40.0.0.255"}
    assert (await head_end.ask(get(CLOCK))).startswith("c401c100090c")
    assert await head_end.ask(get(ENERGY)) == SCOPE
    assert await head_end.ask(get("000301000208 00ff")) == UNDEFINED
    assert await head_end.ask("c101c1" + LIMIT.replace(" ", "") + "02000600000001") == "c501c10d"
    assert await head_end.ask("c301c10046000060030aff02010f00") == "c701c10d00"
    assert await head_end.ask("c003c102" + (CLOCK + "0100" + ENERGY + "0200").replace(" ", "")) == (
        "c403c10200090600000100 00ff 010d".replace(" ", "")
    )


async def test_a_reader_has_the_rights_of_its_rules(reader: Any, meter: Any, version: int) -> None:
    assert await reader.ask(get(ENERGY)) == "c401c1000600bc5ea8"
    assert await reader.ask(get(CLOCK)) == DENIED
    assert await reader.ask("c101c1" + LIMIT.replace(" ", "") + "0200060000002a") == "c501c100"
    assert meter.values[1] == 42
    assert await reader.ask("c301c10046000060030aff01010f00") == "c701c10300"
    assert await reader.ask("c301c10046000060030aff02010f00") == "c701c10000"
    assert await reader.ask("c101c1" + CLOCK.replace(" ", "") + "0200090c" + "07e9" + "00" * 10) == "c501c103"
    shown = entries(await reader.ask(get("000f0000280000ff")), version)
    assert shown["0-0:96.50.0.255"].attributes == {1: AccessRight.READ, 2: AccessRight.READ | AccessRight.WRITE}
    assert set(shown["0-0:1.0.0.255"].attributes.values()) == {AccessRight.NONE}
    assert shown["0-0:96.3.10.255"].methods == {1: AccessRight.NONE, 2: AccessRight.READ}
    assert shown["0-0:40.0.0.255"].version == version


async def test_the_manager_sees_the_association_of_each_client(manager: Any, version: int) -> None:
    shown = entries(await manager.ask(get("000f0000280000ff")), version)
    assert {f"0-0:40.0.{index}.255" for index in range(5)} <= set(shown)
    public = entries(await manager.ask(get("000f0000280002ff")), version)
    assert set(public) == {"0-0:1.0.0.255", "0-0:42.0.0.255", "0-0:40.0.0.255"}
    assert await manager.ask(get("000f0000280003ff", 3)) == "c401c10002020f02120001"  # client 2, logical device 1
    assert await manager.ask(get("000f0000280003ff", 6)) == "c401c100090760857405080201"
    assert await manager.ask(get("000f0000280004ff", 4)) == "c401c100090760857405080103"  # with ciphering
    assert await manager.ask(get("000f0000280001ff", 8)) == "c401c1001602"
    assert await manager.ask(get("000f0000280003ff", 8)) == "c401c1001600"
    reference = await manager.ask(get("000f0000280004ff", 9))
    assert reference == ("c401c1000906 00002b0000ff".replace(" ", "") if version else DENIED)


async def test_a_password_changed_through_the_association_holds_from_the_next_one_on(
    manager: Any, reader: Any, meter: Any, connect: Any
) -> None:
    new = "6e65772070617373"
    assert await reader.ask(f"c101c1000f0000280000ff07000908{new}") == "c501c103"  # a reader may not
    assert await manager.ask(get("000f0000280003ff", 7)) == DENIED
    assert await manager.ask(f"c101c1000f0000280003ff07000908{new}") == "c501c100"
    assert await manager.ask("c101c1000f0000280003ff0700120001") == "c501c10c"
    assert await manager.ask("c101c1000f0000280003ff07000900") == "c501c1fa"
    assert await reader.ask(get(ENERGY)) == "c401c1000600bc5ea8"
    assert (await connect(meter, 2).ask(aarq(READER))).endswith("a305a10302010d")
    assert (await connect(meter, 2).ask(aarq(new))).startswith("6129a109060760857405080101a203020100a305a103020100be")
    # there is no secret of high level security to be changed
    assert await manager.ask(f"c301c1000f0000280003ff02010908{new}") == "c701c10300"


async def test_a_secret_of_high_level_security_changed_by_its_method(make_meter: Any, connect: Any) -> None:
    """MD5 over challenge and secret, by hand: with the old secret, then with the new one."""
    meter = make_meter(auth="md5")

    async def prove(secret: bytes) -> Any:
        head_end = connect(meter)
        content = "a1090607608574050801018a0207808b0760857405080203ac0a80086368616c6c656e67be10040e01000000065f1f0400007e1fffff"
        aare = bytes.fromhex(await head_end.ask(f"60{len(content) // 2:02x}{content}"))
        at = aare.index(b"\xaa\x12\x80\x10") + 4
        proof = hashlib.md5(aare[at : at + 16] + secret).hexdigest()  # noqa: S324 - that is what the mechanism uses
        return head_end, await head_end.ask(f"c301c1000f0000280000ff01010910{proof}")

    head_end, answer = await prove(b"12345678")
    assert answer.startswith("c701c1000100")
    new = b"another secret"
    change = f"c301c1000f0000280000ff020109{len(new):02x}{new.hex()}"
    assert await head_end.ask(change) == "c701c10000"
    assert await head_end.ask(get("000301000108 00ff")) == "c401c1000600bc5ea8"
    assert (await prove(b"12345678"))[1] == "c701c10300"
    assert (await prove(new))[1].startswith("c701c1000100")
    assert await head_end.ask("c301c1000f0000280000ff02010900") == "c701c1fa00"


async def test_with_a_list_of_users_only_they_may_use_the_client(
    manager: Any, meter: Any, connect: Any, version: int
) -> None:
    add = "c301c1000f0000280003ff0501020211070a05416c696365"
    if version < 2:
        assert await manager.ask(add) == "c701c10300"
        return
    assert await manager.ask(get("000f0000280003ff", 10)) == "c401c1000100"
    assert await manager.ask(add) == "c701c10000"
    assert await manager.ask(get("000f0000280003ff", 10)) == "c401c1000101020211070a05416c696365"
    plain = aarq(READER)
    assert (await connect(meter, 2).ask(plain)).endswith("a305a103020106")

    def told(user: int) -> str:
        content = plain[4:26] + f"a9030201{user:02x}" + plain[26:]
        return f"60{len(content) // 2:02x}{content}"

    assert (await connect(meter, 2).ask(told(8))).endswith("a305a103020106")
    alice = connect(meter, 2)
    assert (await alice.ask(told(7))).startswith("6129")
    assert await alice.ask(get("000f0000280000ff", 11)) == "c401c100020211070a05416c696365"
    assert await manager.ask(add.replace("ff0501", "ff0601")) == "c701c10000"
    assert await manager.ask(add.replace("ff0501", "ff0601")) == "c701c1fa00"
    assert await manager.ask("c301c1000f0000280003ff05011107") == "c701c10c00"
    assert (await connect(meter, 2).ask(plain)).startswith("6129")


# --- rights that ask for protection ---


class Guard:
    """Client 3, by hand: seals as it is told, opens what comes back."""

    title = bytes.fromhex("4844450000000007")
    meter_title = b"ACM\x00\x00\x00\x00\x01"

    def __init__(self) -> None:
        self.ek, self.ak, self.counter = bytes(range(16)), bytes(range(16, 32)), 0

    def seal(self, tag: int, control: int, apdu: str) -> str:
        self.counter += 1
        plain, head = bytes.fromhex(apdu), bytes((control, *self.counter.to_bytes(4, "big")))
        key, iv, told = AESGCM(self.ek), self.title + head[1:], head[:1] + self.ak
        sealed = (
            key.encrypt(iv, plain, told)[:-4] if control & 0x20 else plain + key.encrypt(iv, b"", told + plain)[:12]
        )
        return f"{tag:02x}{len(head + sealed):02x}{(head + sealed).hex()}"

    def open(self, answer: str) -> tuple[int, str]:
        octets = bytes.fromhex(answer)
        octets = octets[2 + max(0, octets[1] - 0x80) :]
        control, content = octets[0], octets[5:-12]
        if control & 0x20:
            content = AESGCM(self.ek).encrypt(self.meter_title + octets[1:5], content, None)[:-16]
        return control, content.hex()

    def aarq(self) -> str:
        initiate = self.seal(0x21, 0x10, "01000000065f1f0400407e1fffff")
        content = (
            f"a109060760857405080103a60a0408{self.title.hex()}8a0207808b0760857405080201ac0a8008{b'guard!!!'.hex()}"
            f"be{len(initiate) // 2 + 2:02x}04{len(initiate) // 2:02x}{initiate}"
        )
        return f"60{len(content) // 2:02x}{content}"


async def test_rights_that_ask_for_better_protection(meter: Any, connect: Any, version: int) -> None:
    guard, head_end = Guard(), connect(meter, 3)
    assert (await head_end.ask(guard.aarq())).startswith("61")

    async def ask(control: int, apdu: str, tag: int = 0xC8) -> tuple[int, str]:
        return guard.open(await head_end.ask(guard.seal(tag, control, apdu)))

    assert await ask(0x10, get(CLOCK, 1)) == (0x10, "c401c100090600000100 00ff".replace(" ", ""))
    assert await ask(0x10, get(LIMIT)) == (0x10, DENIED)
    write = "c101c1" + LIMIT.replace(" ", "") + "0200060000002a"
    assert await ask(0x10, write, 0xC9) == (0x10, "c501c103")
    assert meter.values[1] == 9
    assert await ask(0x10, get(ENERGY)) == (0x10, DENIED)  # nobody here can sign
    assert await ask(0x30, get(LIMIT)) == (0x30, "c401c1000600000009")
    assert await ask(0x30, write, 0xC9) == (0x30, "c501c100")
    assert meter.values[1] == 42
    _, answer = await ask(0x30, get("000f0000280000ff"))
    right = entries(answer, version)["0-0:96.50.0.255"].attributes[2]
    both = AccessRight.READ | AccessRight.WRITE
    assert right == (both | AccessRight.ENCRYPTED_REQUEST | AccessRight.ENCRYPTED_RESPONSE if version == 3 else both)


# --- logical devices ---


async def test_logical_devices_are_listed_and_answer_by_themselves(manager: Any) -> None:
    value, _ = decode_data(bytes.fromhex(await manager.ask(get(SAPS))), 4)
    assert to_sap_list(value) == [(1, b"ACM0000012345678"), (17, b"GAS0000000000001")]
    assert await manager.ask(get(GAS)) == "c401c100060000004d"
    manager.saps = (1, 17)
    assert await manager.ask(get(GAS)) == "d80101"
    assert (await manager.ask(aarq("3132333435363738"))).startswith("6129")
    assert await manager.ask(get(GAS)) == "c401c100060000004d"
    assert await manager.ask(get(ENERGY)) == UNDEFINED
    assert await manager.ask(get(NAME)) == "c401c1000910" + b"GAS0000000000001".hex()
    manager.saps = (1, 1)
    assert await manager.ask(get(ENERGY)) == "c401c1000600bc5ea8"
    assert await manager.ask("6203800100") == "6303800100"
    manager.saps = (1, 17)
    assert await manager.ask(get(GAS)) == "c401c100060000004d"
    manager.saps = (1, 18)
    assert await manager.say(bytes.fromhex("000100010012000d" + get(GAS))) == b""


async def test_logical_devices_are_hdlc_stations(meter: Any, connect: Any) -> None:
    from headend.protocols.base import NEED_DATA, ApduReceived, Role  # noqa: PLC0415 - only here
    from headend.protocols.hdlc import Address, HdlcConnection  # noqa: PLC0415 - only here

    head_end = connect(meter)
    stations = {
        sap: HdlcConnection(Role.CLIENT, client=Address.client(1), server=Address.server(sap)) for sap in (1, 17)
    }

    async def ask(sap: int, apdu: str) -> str:
        station = stations[sap]
        if apdu:
            station.send_apdu(bytes.fromhex(apdu))
        else:
            station.open()
        answer = ""
        while octets := station.data_to_send():
            station.receive_data(await head_end.say(octets))
            while (event := station.next_event()) is not NEED_DATA:
                answer = event.apdu.hex() if isinstance(event, ApduReceived) else answer
        return answer

    for sap in stations:
        await ask(sap, "")
        assert (await ask(sap, aarq("3132333435363738"))).startswith("6129")
    for _ in range(2):
        assert await ask(1, get(ENERGY)) == "c401c1000600bc5ea8"
        assert await ask(17, get(ENERGY)) == UNDEFINED
        assert await ask(17, get(GAS)) == "c401c100060000004d"


# --- the meter file ---


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('objects = ["3"]', "not a pattern"),
        ('objects = ["3/x"]', "not an OBIS pattern"),
        ('access = [{ ref = "x/x-x:x.x.x.x", allow = ["fly"] }]', "unknown access right"),
        ('access = [{ allow = ["read"] }]', "expected tables"),
        ('access = [{ ref = 3, allow = ["read"] }]', "expected a text"),
        ("objects = [3]", "a list of texts"),
        ("params = { suite = 7 }", "suite"),
    ],
)
async def test_what_is_wrong_in_a_meter_file_is_said(make_meter: Any, connect: Any, line: str, message: str) -> None:
    text = FILE.format(version=0) + f"[[client]]\nsap = 77\n{line}\n"
    with pytest.raises(ConfigError, match=message):
        connect(type(make_meter())(load_profile(text, "acme-a3", "test")))


async def test_a_listed_client_without_its_keys(make_meter: Any, connect: Callable[..., Any]) -> None:
    text = FILE.format(version=0)
    with pytest.raises(KeyMissing, match="ek_guard"):
        connect(type(make_meter())(load_profile(text, "acme-a3", "test")))
