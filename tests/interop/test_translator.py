"""APDUs in XML as Gurux's translator writes them: the same elements, names and values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from headend.drivers.decoding import translate

NAMES = {
    "GET": "c001c100030100010800ff0200",
    "GET of entries": "c001c100070100630100ff0201020204060000000106000000021200001200 00",
    "GET of a range": "c001c100070100630100ff0201010204020412000809060000010000ff0f02120000090c07e80101010c0000ff800000"
    "090c07e80102020c0000ff8000000100",
    "GET next": "c002c100000005",
    "GET list": "c003c10200030100010800ff020000080000010000ff0200",
    "GET answer": "c401c1000600000539",
    "GET refused": "c401c10103",
    "GET block": "c402c10000000001000401020304",
    "GET block refused": "c402c101000000010113",
    "every type": "c401c10001120003010401f0050000000106000000010901aa0a01610c01610d120fff10fffe1101120102"
    "14ffffffffffffffff1500000000000000011605173f800000183ff0000000000000",
    "bits": "c401c1000409abcd80".replace("abcd80", "ab80"),
    "rows": "c401c1000102020309060100010800ff0f02160f0203090c07e80101010c0000ff80000005000000010301",
    "a long array": "c401c1000118" + "1105" * 24,
    "SET": "c101c100080000010000ff0200090c07e80101010c0000ff800000",
    "SET list": "c104c10200010100010800ff020000010100010801ff02000211011102",
    "SET done": "c501c100",
    "SET refused": "c501c10d",
    "SET block taken": "c502c100000001",
    "SET last block": "c503c10000000002",
    "SET list done": "c505c1020003",
    "ACTION": "c301c100460000600300ff01010f00",
    "ACTION without parameters": "c301c100460000600300ff0100",
    "ACTION done": "c701c10000",
    "ACTION answer": "c701c100010009050102030405",
    "AARQ": "601da109060760857405080101be10040e01000000065f1f0400001e1dffff",
    "AARQ with every bit": "601da109060760857405080101be10040e01000000065f1f04007effff04b0",
    "AARQ with a challenge": "6042a109060760857405080103a60a04084d4d4d0000bc614e8a0207808b0760857405080205"
    "ac0a80083132333435363738be10040e01000000065f1f0400007e1f04b0",
    "AARE": "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007",
    "AARE refused": "6129a109060760857405080101a203020101a305a10302010dbe10040e0800065f1f040000501f01f40007",
    "AARE with a challenge": "614ea109060760857405080101a203020100a305a10302010ea40a04084d4d4d0000000001"
    "88020780890760857405080205aa0a80084142434445464748be10040e0800065f1f040000501f01f40007",
    "RLRQ": "6203800100",
    "RLRE": "6303800100",
    "push": "0f00000001000101020309060100010700ff060000055302020f00161b",
    "push with a time": "0f000000010c07e80101010c0000ff80000002010600000001",
    "event": "c20000030100010800ff020600000001",
    "exception": "d80102",
    "service error": "0e010600",
    "ACCESS": "d94000000000020100010000600100ff020200080000010000ff0202000f00",
    "ACCESS answer": "da400000000000021105000201000300",
    "READ": "0501020708",
    "READ answer": "0c0100050000002a",
    "WRITE done": "0d0100",
    "information report": "180001020110011105",
    "ciphered": "c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b",
    "general ciphering": "db084d4d4d0000bc614e1e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b",
    "block of general block transfer": "e0400001000003c401c1",
}
HIDDEN = {
    "a password": "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738"
    "be10040e01000000065f1f0400007e1f04b0",
    "the first block of a SET": "c102c100080000010000ff020000000000010401020304",
    "a block of a SET": "c103c101000000020401020304",
    "WRITE": "0601020110011105",
}
"""What we do not show, and the peer does: only names and structure are compared."""


def shape(element: ET.Element, *, values: bool) -> object:
    """An element that can be compared: the peer writes how many there are in three ways."""
    attributes = (
        {name: int(value, 16) if name == "Qty" else value for name, value in element.attrib.items()} if values else ()
    )
    return element.tag, attributes, [shape(each, values=values) for each in element]


@pytest.fixture(scope="module")
def peer(peers_python: str) -> dict[str, ET.Element]:
    """What the peer makes of each, in a process of its own."""
    script = Path(__file__).with_name("peers") / "gurux_translator.py"
    given = NAMES | HIDDEN
    lines = "".join(octets.replace(" ", "") + "\n" for octets in given.values())
    said = subprocess.run(
        [peers_python, str(script)], input=lines, capture_output=True, text=True, check=True, timeout=60
    )
    answers = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    failed = {name: answer["error"] for name, answer in zip(given, answers, strict=True) if "error" in answer}
    assert not failed
    return {name: ET.fromstring(answer["xml"]) for name, answer in zip(given, answers, strict=True)}  # noqa: S314 - ditto


@pytest.mark.peers
@pytest.mark.parametrize("name", [*NAMES, *HIDDEN])
def test_both_translators_write_the_same(peer: dict[str, ET.Element], name: str) -> None:
    octets = (NAMES | HIDDEN)[name].replace(" ", "")
    ours = ET.fromstring(translate(octets))  # noqa: S314 - ditto
    if name in NAMES:
        assert shape(ours, values=True) == shape(peer[name], values=True)
    else:
        assert "Hidden" in translate(octets)
        listed = shape(peer[name], values=False)
        assert str(shape(ours, values=False)).replace("OctetString", "UInt8") == str(listed).replace(
            "OctetString", "UInt8"
        )
