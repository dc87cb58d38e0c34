"""APDUs in XML: framing, ciphering, secrets, what is malformed; tests/interop compares names and values with another stack."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.decoding import translate
from headend.errors import CapabilityError, ConfigError, DecodeError, HeadendError
from headend.protocols.wrapper import wrap
from tests.drivers.captures.traffic import CLIENT, METER, pcap, tcp

EK = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
AK = bytes.fromhex("d0d1d2d3d4d5d6d7d8d9dadbdcdddedf")
TITLE = bytes.fromhex("4d4d4d0000bc614e")
CIPHERED = "c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b"
GET = bytes.fromhex("c001c100030100010800ff0200")


def parse(octets: str | bytes, **keys: bytes) -> ET.Element:
    return ET.fromstring(translate(octets, keys=keys))  # noqa: S314 - ditto


def brief(element: ET.Element) -> Any:
    """Name and value, or name and what is inside."""
    inside = [brief(each) for each in element]
    return (element.tag, inside) if inside else (element.tag, next(iter(element.attrib.values()), ""))


def test_the_document_as_it_is_written() -> None:
    assert translate("c4 01 c1 01 03") == (
        "<GetResponse>\n"
        "  <GetResponseNormal>\n"
        '    <InvokeIdAndPriority Value="C1" />\n'
        "    <Result>\n"
        '      <DataAccessError Value="ReadWriteDenied" />\n'
        "    </Result>\n"
        "  </GetResponseNormal>\n"
        "</GetResponse>\n"
    )


def test_framing_is_taken_off_and_all_apdus_are_told() -> None:
    assert translate(wrap(GET, 16, 1)) == translate(GET)
    both = parse(wrap(GET, 16, 1) + wrap(bytes.fromhex("c401c1000600000539"), 1, 16))
    assert (both.tag, both.attrib, [each.tag for each in both]) == (
        "Messages",
        {"Qty": "02"},
        ["GetRequest", "GetResponse"],
    )


def test_what_is_ciphered_is_opened() -> None:
    closed = parse(CIPHERED)
    assert (closed.tag, len(closed)) == ("glo_GetRequest", 0)
    opened = parse(CIPHERED, ek=EK, ak=AK, client_title=TITLE)
    assert opened.attrib == closed.attrib
    assert opened[0].find(".//InstanceId").attrib == {"Value": "0000010000FF"}  # type: ignore[union-attr]
    general = parse("db08" + TITLE.hex() + CIPHERED[2:], ek=EK, ak=AK)
    assert [each.tag for each in general] == ["SystemTitle", "CipheredService", "GetRequest"]
    # an AARQ whose user-information is the ciphered initiate-request of the Green Book, with a dedicated key
    initiate = "21303001234567801302ff8a7874133d414ced25b42534d28db0047720606b175bd52211be6841db204d39ee6fdb8e356855"
    aarq = "6041a109060760857405080103be3404" + "32" + initiate
    aarq = aarq.replace("6041", f"60{len(bytes.fromhex(aarq)) - 2:02x}")
    request = parse(aarq, ek=EK, ak=AK, client_title=TITLE).find("glo_InitiateRequest/InitiateRequest")
    assert request is not None
    assert brief(request)[1][0] == ("DedicatedKey", "16")
    assert "00112233445566778899" not in translate(aarq, keys={"ek": EK, "ak": AK, "client_title": TITLE})


@pytest.mark.parametrize(
    ("octets", "secret"),
    [
        # LLS password; change_HLS_secret of an association; key_transfer; secret of an association, written; blocks; WRITE
        ("6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f0400007e1f04b0",
         "3132333435363738"),
        ("c301c1000f0000280000ff02010908a1a2a3a4a5a6a7a8", "a1a2a3a4"),
        ("c301c1004000002b0000ff02010101020216000908a1a2a3a4a5a6a7a8", "a1a2a3a4"),
        ("c101c1000f0000280000ff07000908a1a2a3a4a5a6a7a8", "a1a2a3a4"),
        ("c104c1010f0000280000ff0700".replace("c1010f", "c101000f") + "010908a1a2a3a4a5a6a7a8", "a1a2a3a4"),
        ("c103c1010000000204a1a2a3a4", "a1a2a3a4"),
        ("c306c1010000000204a1a2a3a4", "a1a2a3a4"),
        ("d940000000000202000f0000280000ff0703000f0000280000ff02020904a1a2a3a40904a1a2a3a4", "a1a2a3a4"),
        ("0601020110010904a1a2a3a4", "a1a2a3a4"),
    ],
)  # fmt: skip
def test_secrets_are_not_written(octets: str, secret: str) -> None:
    document = translate(octets)
    assert "Hidden=" in document
    assert secret.upper() not in document


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        # what Gurux's translator does not do: a list of results, the next block of an ACTION, data of times, compact arrays
        ("c403c10200060000053901 04".replace(" ", ""),
         ("GetResponseWithList", [("InvokeIdAndPriority", "C1"),
          ("Result", [("Data", [("UInt32", "00000539")]), ("DataAccessError", "UndefinedObject")])])),
        ("c302c100000001", ("ActionRequestForNextPBlock", [("InvokeIdAndPriority", "C1"), ("BlockNumber", "00000001")])),
        ("c401c100 1907e80101010c0000ff800000".replace(" ", ""),
         ("GetResponseNormal", [("InvokeIdAndPriority", "C1"),
          ("Result", [("Data", [("DateTime", "07E80101010C0000FF800000")])])])),
        ("c401c100 1312 04 00010002".replace(" ", ""),
         ("GetResponseNormal", [("InvokeIdAndPriority", "C1"), ("Result", [("Data", [("CompactArray", "120400010002")])])])),
        ("c303c102 00460000600300ff01 00460000600300ff02 02 0f00 0f00".replace(" ", ""), None),
        ("c305c101 00460000600300ff01 00 00000001 02 0f00".replace(" ", ""), None),
        ("c304c1 00460000600300ff01 00 00000001 02 0f00".replace(" ", ""), None),
        ("c703c102 00 00 03 00".replace(" ", ""), None),
        ("c702c1 00 00000001 02 0f00".replace(" ", ""), None),
        ("c704c100000001", None),
        ("c105c101 00080000010000ff0200 00 00000001 02 0f00".replace(" ", ""), None),
        ("c504c1 01 00 00000002".replace(" ", ""), None),
        ("c201 0c 07e80101010c0000ff800000 00030100010800ff02 0600000001".replace(" ", ""), None),
    ],
)  # fmt: skip
def test_services_that_no_other_translator_here_writes(octets: str, shown: Any) -> None:
    document = parse(octets)
    if shown is not None:
        assert brief(document[0]) == shown


@pytest.mark.parametrize(
    "octets",
    [
        "0501040110021101", "0501050001", "05010601000102 0201", "0c0102000001 03000201", "0c01030001", "0c010103",
        "06010701000201 0903010203", "0d03000103020001", "1602020110020118021105 1105",
        "1801 0f 323032353131323131323030 30305a 01020110011105",
        "df000000000004c401c100 00", "d80206 00000007", "0e0605 01",
        "d9400000000002040001 0000600100ff02 02 1105 0500010000600100ff02 02 1105 02 00 1105",
        "da5000000000 01 01 03 00460000600300ff01 01 00 01 0302",
    ],
)  # fmt: skip
def test_everything_else_is_told_in_some_way(octets: str) -> None:
    assert len(parse(octets.replace(" ", ""))) or parse(octets.replace(" ", "")).attrib


def test_characters_that_xml_may_not_hold() -> None:
    text = parse("c401c100 0a0441003c22".replace(" ", "")).find(".//String")
    assert text is not None
    assert text.attrib == {"Value": 'A\ufffd<"'}


@pytest.mark.parametrize(
    ("octets", "error", "words"),
    [
        ("c401c100060000", DecodeError, "at octet 7"),
        ("c001c1", DecodeError, "at octet"),
        ("99", DecodeError, "expected frames or APDUs of DLMS"),
        ("7ea00703", DecodeError, "expected frames or APDUs of DLMS"),
        ("zz", ConfigError, "hexadecimal"),
    ],
)
def test_what_is_malformed_is_told(octets: str, error: type[HeadendError], words: str) -> None:
    with pytest.raises(error, match=words):
        translate(octets)


def test_what_has_no_notation() -> None:
    with pytest.raises(CapabilityError, match="no notation"):
        translate("00010000000601040000 0006".replace(" ", ""), protocol="modbus")


def test_conversations_of_a_capture() -> None:
    answer = bytes.fromhex("c401c1000600000539")
    packets = [tcp(CLIENT, METER, 1, wrap(GET, 16, 1)), tcp(METER, CLIENT, 1, wrap(answer, 1, 16))]
    packets += [
        tcp(CLIENT, ("192.0.2.9", 4059), 1, wrap(GET, 16, 1)),
        tcp(CLIENT, ("192.0.2.9", 80), 1, b"GET / HTTP/1.1"),
    ]
    found = parse(pcap(packets, link=101))
    assert [each.attrib["Name"] for each in found] == [
        "TCP 192.0.2.1:50000 → 192.0.2.7:4059", "TCP 192.0.2.1:50000 → 192.0.2.9:4059",
    ]  # fmt: skip
    assert [[each.tag for each in conversation[0]] for conversation in found] == [
        ["GetRequest", "GetResponse"], ["GetRequestNormal"],
    ]  # fmt: skip
    assert len(ET.fromstring(translate(pcap(packets, link=101), ports=[1]))) == 0  # noqa: S314 - ditto


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xc0\x01", b"\xc4\x01\xc1\x00", b"\x60", b"\x0f", b"\xc3\x01", b"\x05"]),
)
def test_nothing_but_errors_of_the_project(octets: bytes, head: bytes) -> None:
    with suppress(HeadendError):
        ET.fromstring(translate(head + octets))  # noqa: S314 - ditto


@pytest.mark.parametrize("kind", [*range(12), 30, 255])
def test_confirmed_service_errors_of_any_kind_are_well_formed(kind: int) -> None:
    error = parse(bytes((0x0E, 1, kind, 1)))
    inside = error.find("ServiceError")
    assert inside is not None
    assert len(inside) == 1
    assert inside[0].get("Value")
