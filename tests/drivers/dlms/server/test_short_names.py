"""A meter whose objects have short names, octet by octet: association, READ, WRITE, UnconfirmedWrite, blocks, rights."""

from __future__ import annotations

from typing import Any

import pytest

from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.security.authentication import HashAuthentication, Said
from headend.protocols.wrapper import wrap

AARQ = "601da109060760857405080102be10040e01000000065f1f04001c1a20ffff"
"""No password; READ, WRITE, UnconfirmedWrite, blocks of both, lists, parameterised access."""
AARQ_LLS = (
    "6036a1090607608574050801028a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f04001c1a2004b0"
)
AARE = "6129a109060760857405080102a203020100a305a103020100be10040e0800065f1f04001c1a20fffffa00"
"""Context SN, no HLS, VAA name FA00."""


@pytest.fixture
def meter(make_meter: Any) -> Any:
    return make_meter(ref="sn")


@pytest.fixture
async def head_end(meter: Any, connect: Any) -> Any:
    made = connect(meter)
    assert (await made.ask(AARQ_LLS)).startswith("6129a109060760857405080102a203020100")
    return made


@pytest.fixture
async def names(head_end: Any) -> dict[str, int]:
    """Base names by class and logical name, in the order in which the meter tells them."""
    answer = bytes.fromhex(await head_end.ask("050102fa08"))
    assert answer[:3] == bytes.fromhex("0c0100")
    listed, _ = decode_data(answer, 3)
    assert isinstance(listed, list)
    return {f"{class_id}/{name.hex()}": base & 0xFFFF for base, class_id, _, name in listed}  # type: ignore[misc, union-attr]


def text(name: int) -> str:
    return f"{name:04x}"


async def test_associating(meter: Any, connect: Any) -> None:
    assert await connect(meter, 16).ask(AARQ) == AARE
    logical_names = AARQ.replace("60857405080102", "60857405080101")
    refused = await connect(meter, 16).ask(logical_names)
    assert refused.startswith("6117a109060760857405080102a203020101a305a103020102")
    no_read = AARQ.replace("1c1a20", "0c1a20")
    assert "a203020101" in await connect(meter, 16).ask(no_read)
    assert await connect(meter, 16).ask("050102fa08") == "d80101"


async def test_a_meter_with_logical_names_does_not_know_short_ones(make_meter: Any, connect: Any) -> None:
    refused = await connect(make_meter(), 16).ask(AARQ)
    assert refused.startswith("6117a109060760857405080101a203020101a305a103020102")


async def test_reserved_names(names: dict[str, int]) -> None:
    reserved = {"12/0000280000ff": 0xFA00, "17/0000290000ff": 0xFC00, "1/00002a0000ff": 0xFD00}
    assert {key: names[key] for key in reserved} == reserved
    assert sorted(names.values()) == list(names.values())
    assert not any(key.startswith("15/") for key in names)


async def test_reading(head_end: Any, names: dict[str, int]) -> None:
    energy, volts = names["3/0100010800ff"], names["3/0100200700ff"]
    assert await head_end.ask("050102" + text(energy)) == "0c01000906" + "0100010800ff"
    assert await head_end.ask("050102" + text(energy + 8)) == "0c010006" + "00bc5ea8"
    assert await head_end.ask("050102" + text(energy + 16)) == "0c01000202" + "0f01" + "161e"
    both = "0502" + "02" + text(energy + 8) + "02" + text(volts + 8)
    assert await head_end.ask(both) == "0c02" + "000600bc5ea8" + "001208fe"


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("020001", "04"),  # between two names
        ("02f000", "04"),  # beyond all objects
        ("04fd080100", "0d"),  # a part of what has no parts
        ("02fa58", "03"),  # a method
    ],
)
async def test_what_cannot_be_read(head_end: Any, variable: str, reason: str) -> None:
    assert await head_end.ask("0501" + variable) == "0c0101" + reason
    assert (await head_end.ask("050202fd00" + variable)).endswith("01" + reason)


async def test_a_load_profile_by_entry(head_end: Any, names: dict[str, int], meter: Any) -> None:
    buffer = names["7/0100630100ff"] + 8
    entries = "02" + "0204" + "0600000002" + "0600000003" + "120001" + "120000"
    answer = bytes.fromhex(await head_end.ask("050104" + text(buffer) + entries))
    assert answer[:3] == bytes.fromhex("0c0100")
    rows, end = decode_data(answer, 3)
    assert isinstance(rows, list)
    assert end == len(answer)
    assert len(rows) == 2
    assert meter.rows_made == 2


async def test_a_long_answer_in_blocks(meter: Any, connect: Any) -> None:
    head_end = connect(meter)
    await head_end.ask(AARQ_LLS.replace("2004b0", "200064"))
    whole = b""
    answer = bytes.fromhex(await head_end.ask("050102fa08"))
    for number in range(1, 100):
        assert len(answer) <= 100
        assert answer[:3] == bytes.fromhex("0c0102")
        assert answer[4:6] == number.to_bytes(2, "big")
        length = answer[6]
        whole += answer[7 : 7 + length]
        assert len(answer) == 7 + length
        if answer[3]:
            break
        answer = bytes.fromhex(await head_end.ask(f"050105{number:04x}"))
    assert whole[:2] == b"\x01\x00"
    listed, end = decode_data(whole, 2)
    assert end == len(whole)
    assert isinstance(listed, list)
    assert len(listed) == 17
    assert await head_end.ask("0501050001") == "0c010110"  # no long read is under way


async def test_writing(head_end: Any, names: dict[str, int], meter: Any) -> None:
    limit = text(names["1/0000603200ff"] + 8)
    energy = text(names["3/0100010800ff"] + 8)
    assert await head_end.ask(f"060102{limit}01" + "060000002a") == "0d0100"
    assert meter.values[9] == 42
    both = f"060202{limit}02{energy}02" + "060000002b" + "0600000001"
    assert await head_end.ask(both) == "0d02" + "00" + "0103"
    assert meter.values[9] == 43
    assert await head_end.ask(f"060102{limit}01" + "0901aa") == "0d01010c"
    assert await head_end.ask("060102f00001" + "00") == "0d010104"


async def test_a_long_write_in_blocks(head_end: Any, names: dict[str, int], meter: Any) -> None:
    limit = text(names["1/0000603200ff"] + 8)
    raw = f"0102{limit}01060000002c"
    assert await head_end.ask(f"0601070000010109{5:02x}{raw[:10]}") == "0d01020001"
    assert await head_end.ask(f"0601070100020109{len(raw) // 2 - 5:02x}{raw[10:]}") == "0d0100"
    assert meter.values[9] == 44
    assert await head_end.ask("0601070100050109" + "0100") == "0d010113"


async def test_a_write_that_is_not_answered(head_end: Any, names: dict[str, int], meter: Any) -> None:
    limit = text(names["1/0000603200ff"] + 8)
    assert await head_end.say(wrap(bytes.fromhex(f"160102{limit}01060000002d"), 1, 1)) == b""
    assert meter.values[9] == 45


async def test_methods(head_end: Any, names: dict[str, int], meter: Any) -> None:
    relay = names["70/000060030aff"]
    assert await head_end.ask(f"060102{relay + 0x20:04x}01" + "0f00") == "0d0100"
    assert not meter.closed
    assert await head_end.ask("050102" + text(relay + 8)) == "0c01000300"
    assert await head_end.ask(f"050104{relay + 0x28:04x}00" + "0f00") == "0c010000"  # by READ: it returns nothing
    assert meter.closed


async def test_a_client_changes_its_password(head_end: Any, meter: Any, connect: Any) -> None:
    assert await head_end.ask("060102fa4001" + "0904" + b"3333".hex()) == "0d0100"
    assert "a203020101" in await connect(meter).ask(AARQ_LLS)  # the old one
    assert await head_end.ask("060102fa4001" + "1105") == "0d01010c"


async def test_what_was_not_agreed_is_refused(meter: Any, connect: Any) -> None:
    head_end = connect(meter, 16)
    assert "1f0400100000" in await head_end.ask(AARQ.replace("1c1a20", "100000"))
    for request in (
        "050202fd0002fd08",  # a list
        "050104fd080100",  # a part
        "060102fd080100",  # a write
        "c001c1" + "0001" + "00002a0000ff" + "0200",  # a logical name
    ):
        assert await head_end.ask(request) == "d80202"
    assert await head_end.ask("050102fd00") == "0c01000906" + "00002a0000ff"


async def test_the_public_client_may_read_only(meter: Any, connect: Any, names: dict[str, int]) -> None:
    head_end = connect(meter, 16)
    await head_end.ask(AARQ)
    limit = text(names["1/0000603200ff"] + 8)
    assert await head_end.ask(f"060102{limit}01" + "060000002a") == "0d010103"
    answer = bytes.fromhex(await head_end.ask("050102fa10"))
    rights, _ = decode_data(answer, 3)
    assert isinstance(rights, list)
    assert all(mode in (0, 1) for _, attributes, _ in rights for _, mode, _ in attributes)  # type: ignore[misc, union-attr]
    assert not any(mode for _, _, methods in rights for _, mode in methods)  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("service", ["050104fa5800", "050104fa5801", "060102fa5801"])
@pytest.mark.parametrize("good", [True, False])
async def test_proofs(make_meter: Any, connect: Any, service: str, *, good: bool) -> None:
    """Passes 3 and 4 of high level security at FA58: READ brings the proof of the meter, WRITE does not.

    The selector of a method means nothing: some clients send 1.
    """
    meter = make_meter(ref="sn", auth="md5")
    head_end = connect(meter)
    challenge = bytes(range(16))
    aarq = (
        "603ea1090607608574050801028a0207808b0760857405080203ac128010"
        + challenge.hex()
        + "be10040e01000000065f1f04001c1a20ffff"
    )
    aare = bytes.fromhex(await head_end.ask(aarq))
    assert await head_end.ask("050102fd08") == "d80101"
    theirs = aare[aare.index(b"\xaa\x12\x80\x10") + 4 :][:16]
    said = Said(b"", b"", challenge, theirs)
    authentication = HashAuthentication(Mechanism.HLS_MD5, b"12345678")
    proof = authentication.prove(Role.CLIENT, said) if good else bytes(16)
    answer = await head_end.ask(service + "0910" + proof.hex())
    own = authentication.prove(Role.SERVER, said).hex()
    if service.startswith("05"):
        assert answer == ("0c01000910" + own if good else "0c010103")
    else:
        assert answer == ("0d0100" if good else "0d010103")
    assert (await head_end.ask("050102fd08")).startswith("0c0100" if good else "d8")
    assert await head_end.ask(service + "0910" + proof.hex()) == ("d80101" if not good else answer[:2] + "010103")
