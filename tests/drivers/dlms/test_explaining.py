"""Frames and APDUs in words; every vector is written from the standard or taken from the sources named beside it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headend.drivers.base import Layer
from headend.drivers.dlms import driver
from headend.protocols.base import Role
from headend.protocols.hdlc import Address, HdlcConnection
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame
from headend.protocols.mbus import encode_apdu
from headend.protocols.wrapper import wrap

from .layers import check_places, errors, field, names, readings, walk

AARQ = "601da109060760857405080101be10040e01000000065f1f0400001e1dffff"
LLS = "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738be10040e01000000065f1f0400007e1f04b0"
AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
SNRM = "7ea0070321930f017e"
UA = "7ea01e210373c37a81801205018006018007040000000108040000000153 3b7e"
# In the form of Aidon's push on Norwegian consumer ports (NEK HAN list 1): the active power alone.
AIDON = "7ea02a410883130413e6e7000f4000000000010102030906 0100010700ff060000055302020f00161b6e6a7e"
# A data-notification as Kaifa MA304 sends it (NEK HAN list 1).
KAIFA = "e6e7000f40000000090c07e3020401173416ff8000000201060000 16dc"
# Rows with bare descriptors, as EG.D publishes them for its meters.
BARE = "0f00000001000202160101020202000100002a0000ff02090345474402020003010001 0700ff0206000007a4"


def explain(octets: str) -> Layer:
    return driver.explain(bytes.fromhex(octets))


def test_a_wrapper_message() -> None:
    layer = explain("0001 0010 0001 001f" + AARQ)
    assert names(layer) == ["wrapper", "AARQ", "initiate-request"]
    assert field(layer, "source wPort") == "16 (public client)"
    assert field(layer, "maximum PDU of the client") == "65535 octets"
    assert "block-transfer-with-get, " in field(layer, "proposed conformance")
    assert layer.layers[0].layers[0].offset == 8 + 17
    assert not errors(layer)


def test_several_wrapper_messages() -> None:
    message = "0001 0010 0001 001f" + AARQ
    layer = explain(message + "0001 0001 0010 002b" + AARE)
    assert [each.offset for each in layer.layers] == [0, 39]
    assert field(layer, "result") == "0 (accepted)"
    assert errors(explain(message + "0203")) == [
        "2 octets follow that are no wrapper message (at octet 39, expected 0001)"
    ]
    assert "tells 32 octets, 31 follow (at octet 39)" in errors(explain("0001 0010 0001 0020" + AARQ))[0]
    assert "cut short (at octet 39" in errors(explain(message + "0001 0010"))[0]
    assert "empty" in errors(explain("0001 0010 0001 0000"))[0]


def test_a_password_is_not_shown() -> None:
    layer = explain(LLS)
    assert field(layer, "calling authentication value") == "8 octets, not shown"
    for text in ("12345678", "3132333435", "31 32 33"):
        assert text not in repr(layer)
        assert text not in repr(explain(LLS[:90]))


@pytest.mark.parametrize(
    "octets",
    [
        "c101c1000f0000280000ff070009085345435245543132",  # LLS secret of an association
        "c301c1000f0000280000ff020109085345435245543132",  # change_HLS_secret
        "c102c1000f0000280000ff070000000000010a09085345435245543132",
        "c104c101000f0000280000ff0700010a09085345435245543132",
        "01010853454352455431320000065f1f0400001e1dffff",  # a dedicated key, in an AARQ below
    ],
)
def test_secrets_are_not_shown(octets: str) -> None:
    if octets.startswith("01"):
        octets = f"60{0x26:02x}a109060760857405080101be{0x19:02x}04{0x17:02x}" + octets
    layer = explain(octets)
    assert not errors(layer)
    assert "SECRET" not in repr(layer)
    assert "534543" not in repr(layer)


def test_an_association_response() -> None:
    layer = explain(AARE)
    assert names(layer) == ["AARE", "initiate-response"]
    assert field(layer, "result source diagnostic") == "of the user: 0 (null)"
    assert field(layer, "VAA name") == "0007 (logical names)"
    assert field(layer, "negotiated conformance").startswith("00501F: ")


def test_a_refused_association() -> None:
    layer = explain("611fa109060760857405080101a203020101a305a10302010dbe0604040e01060100")
    assert field(layer, "result") == "1 (rejected-permanent)"
    assert field(layer, "result source diagnostic") == "of the user: 13 (authentication-failure)"
    assert field(layer, "error") == "1 (dlms-version-too-low)" or errors(layer)


@pytest.mark.parametrize(
    ("octets", "shown", "name", "value"),
    [
        ("c001c100030100010800ff0200", ["get-request-normal"], "logical name", "1-0:1.8.0.255 (Active energy, import)"),
        ("c001c100030100010800ff0200", ["get-request-normal"], "class id", "3 (Register)"),
        ("c001c100030100010800ff0200", ["get-request-normal"], "attribute id", "2 (value)"),
        ("c001c100030100010800ff02", ["get-request-normal"], "selective access", "left out, as some clients do"),
        ("c002c100000005", ["get-request-next"], "block number", "5"),
        ("c003c101 0008 0000010000ff 0200", ["get-request-with-list"], "attributes", "1"),
        ("c401c10006000004d2", ["get-response-normal", "data"], "value", "double-long-unsigned 1234"),
        ("c401c10104", ["get-response-normal"], "data-access-result", "4 (object-undefined)"),
        ("c401c10002020fff1623", ["get-response-normal", "data: structure of 2"], "[0]", "integer -1"),
        ("c401c100020209034142430a0141", ["get-response-normal", "data: structure of 2"], "[0]", 'octet-string "ABC"'),
        ("c401c10002010902ffff", ["get-response-normal", "data: structure of 1"], "[0]", "octet-string ff ff"),
        ("c401c10001010201110a", ["get-response-normal", "data: array of 1"], "[0]", "{10}"),
        ("c403c10200110501 03", ["get-response-with-list", "[0] data"], "[1] data-access-result",
         "3 (read-write-denied)"),
        ("c101c100080000010000ff02001105", ["set-request-normal", "data"], "value", "unsigned 5"),
        ("c501c100", ["set-response-normal"], "result", "0 (success)"),
        ("c301c1004600006003 0aff01010f00", ["action-request-normal", "parameters"], "method id",
         "1 (remote_disconnect)"),
        ("c701c1000100 1105", ["action-response-normal", "data"], "action result", "0 (success)"),
        ("0f00000001001105", ["data-notification", "notification body"], "value", "unsigned 5"),
        ("c2000007000063 6201ff021105", ["event-notification-request", "attribute value"], "logical name",
         "0-0:99.98.1.255 (event log fraud)"),
        ("d801 02", ["exception-response"], "service error", "2 (service-not-supported)"),
        ("d8010600000010", ["exception-response"], "invocation counter expected", "16"),
        ("0e010601", ["confirmed-service-error"], "error", "1 (dlms-version-too-low)"),
        ("6203800100", ["RLRQ"], "reason", "0 (normal)"),
        ("6303800100", ["RLRE"], "reason", "0 (normal)"),
        ("e6e600c002c100000005", ["LLC", "get-request-next"], "LLC", "E6 E6 00 (command)"),
        ("e7030c323130363030343032393431c501c100", ["gateway prefix", "set-response-normal"], "address",
         '"210600402941"'),
        ("0501020008", ["read-request"], "[0] short name", "0008"),
        ("020211050600000001", ["data: structure of 2"], "[1]", "double-long-unsigned 1"),
    ],
)  # fmt: skip
def test_apdus_without_framing(octets: str, shown: list[str], name: str, value: str) -> None:
    layer = explain(octets)
    assert errors(layer) == []
    assert [each.split(" (")[0] for each in names(layer)] == shown
    assert field(layer, name) == value


def test_date_times_are_told_with_deviation_and_status() -> None:
    value = field(explain("c401c100090c07e3 0c1001073b28ffffc480"), "value")
    assert value == "octet-string 2019-12-16 07:59:40+01:00 (deviation -60 min, status 80: daylight saving)"
    value = field(explain("c401c100090c07e30c1001073b28ff8000ff"), "value")
    assert value == "octet-string 2019-12-16 07:59:40 (deviation not specified, status not specified)"


OBJECT_LIST = "FA08 (12 (Association SN) 0-0:40.0.0.255, attribute 2 (object_list))"


@pytest.mark.parametrize(
    ("octets", "shown", "fields"),
    [
        # READ of the energy of a real meter over an optical head, and its answer
        ("0501020708", ["read-request"], {"[0] short name": "0708"}),
        ("0c0100050000002a", ["read-response", "[0] data"], {"value": "double-long 42"}),
        ("0c010103", ["read-response"], {"[0] data-access-error": "3 (read-write-denied)"}),
        # object list of an association with short names, whose base name is the same in every meter (IEC 62056-6-2)
        ("050102fa08", ["read-request"], {"[0] short name": OBJECT_LIST}),
        ("0501040110021101", ["read-request", "[0] access parameters"], {"[0] selector": "2", "value": "unsigned 1"}),
        ("0501050001", ["read-request"], {"[0] block number": "1"}),
        ("0c010200000103000201", ["read-response"], {"[0] last block": "no", "[0] raw data": "00 02 01"}),
        ("0c01030001", ["read-response"], {"[0] block number": "1"}),
        ("050106010001020201", ["read-request"], {"[0] last block": "yes"}),
        ("06010201100109021234", ["write-request", "values"], {"value": "5 octets, not shown: a secret"}),
        ("060107010002010903010203", ["write-request", "values"], {"[0] block number": "2"}),
        ("0d03000103020001", ["write-response"], {"[0] result": "0 (success)", "[2] block number": "1"}),
        ("1601020110011105", ["unconfirmed-write-request", "values"], {}),
        ("180001020110011105", ["information-report-request", "[0] data"], {"value": "unsigned 5"}),
    ],
)
def test_services_of_short_names(octets: str, shown: list[str], fields: dict[str, str]) -> None:
    layer = explain(octets)
    assert errors(layer) == []
    assert names(layer) == shown
    assert {name: field(layer, name) for name in fields} == fields


def wrapped(*apdus: str) -> str:
    return "".join(f"0001 0010 0001 {len(apdu) // 2:04x} {apdu}" for apdu in apdus)


LISTED = "0c01000103" + "".join(
    "020410" + base + "12" + class_id + "1100" + "0906" + name
    for base, class_id, name in [
        ("0700", "0003", "0100010800ff"),
        ("2000", "0046", "000060030aff"),
        ("fa00", "000c", "0000280000ff"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("in_blocks", [False, True])
def test_short_names_are_explained_once_the_meter_has_told_them(*, in_blocks: bool) -> None:
    told = [LISTED]
    if in_blocks:  # cut within a base name
        first, rest = LISTED[2:40], LISTED[40:]
        told = [
            f"0c0102000001{len(first) // 2:02x}{first}", "0501050001", f"0c0102010002{len(rest) // 2:02x}{rest}"
        ]  # fmt: skip
    after = [
        "0501020708",
        "0601022020010f00",  # remote_disconnect
        "060102fa40010903313233",  # change_LLS_secret
        "0601029000010903313233",  # what nobody knows
        "180001020710" + "01" + "02020f00161e",
    ]
    frames = explain(wrapped("0501020708", "050102fa08", *told, *after)).layers
    apdus = [frame.layers[0] for frame in frames]
    assert [error for apdu in apdus for error in errors(apdu)] == []
    assert field(apdus[0], "[0] short name") == "0708"
    assert field(apdus[1], "[0] short name") == OBJECT_LIST
    read, method, secret, unknown, report = apdus[-5:]
    assert field(read, "[0] short name") == "0708 (3 (Register) 1-0:1.8.0.255, attribute 2 (value))"
    assert (
        field(method, "[0] short name")
        == "2020 (70 (Disconnect control) 0-0:96.3.10.255, method 1 (remote_disconnect))"
    )
    assert field(method, "value") == "integer 0"
    assert "method 5 (change_" in field(secret, "[0] short name")
    assert field(secret, "value") == field(unknown, "value") == "6 octets, not shown: a secret"
    assert field(report, "[0] short name") == "0710 (3 (Register) 1-0:1.8.0.255, attribute 3 (scaler_unit))"


def test_what_only_looks_like_an_object_list_names_nothing() -> None:
    frames = explain(wrapped("0c0100010102021100", "0c01000100", "0501020708")).layers
    assert field(frames[-1].layers[0], "[0] short name") == "0708"


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("05010307", "[0] variable (at octet 2, expected 02, 04, 05, 06, 07, got 03)"),
        ("0c01041100", "[0] result (at octet 2, expected 00, 01, 02, 03, got 04)"),
        ("05010207", "short name (at octet 3"),
    ],
)
def test_services_of_short_names_that_are_malformed(octets: str, error: str) -> None:
    assert error in errors(explain(octets))[0]


def test_selective_access() -> None:
    layer = explain("c001c100070100630100ff0201020204060000000106000000051200011200 00")
    assert field(layer, "selects") == "rows 1 to 5"
    column = "020412000809060000010000ff0f02120000"
    start, end = "090c07e90b010600000000ffc400", "090c07e90b020700000000ffc400"
    layer = explain(f"c001c100070100630100ff02010102 04{column}{start}{end}0100")
    assert field(layer, "selects") == "rows whose 0-0:1.0.0.255 (Meter clock) lies in a range"
    assert not errors(layer)


def test_access() -> None:
    # Green Book, ACCESS request of the general-ciphering example: the first two of its attributes.
    layer = explain("d9400000000002010001 0000600100ff02 0100080000010000ff02 020000")
    assert (errors(layer), field(layer, "requests")) == ([], "2")
    layer = explain("da4000000000000211050002010001 03")
    assert (errors(layer), field(layer, "[1] result")) == ([], "3 (read-write-denied)")


def test_an_access_response_that_repeats_the_request() -> None:
    layer = explain("da7000000700 01 02 010001 0000600100ff02 030046 000060030aff01 02 110500 02 0100 0303")
    assert errors(layer) == []
    assert field(layer, "long-invoke-id-and-priority") == (
        "7 (confirmed, normal priority, self-descriptive, break on error)"
    )
    assert field(layer, "[1] service") == "action"
    assert field(layer, "[1] result") == "3 (read-write-denied)"
    secret = explain("da5000000700 01 01 02000f 0000280000ff07 01 0903414141 01 0100")
    assert "414141" not in str(secret)


@pytest.mark.parametrize(
    ("octets", "shown", "fields"),
    [
        # Green Book, table of ciphered APDUs: authentication only, then authenticated encryption.
        ("c81e1001234567c0010000080000010000ff020006725d910f9221d263877516", ["glo-get-request", "get-request-normal"],
         {"invocation counter": "19088743", "authentication tag": "06725d910f9221d263877516"}),
        ("c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b", ["glo-get-request"],
         {"security control": "30 (suite 0, authenticated, encrypted, unicast key)",
          "ciphertext": "13 octets, ciphered: give the key to read them"}),
        ("db084b464d675000000907200000002388d5", ["general-glo-ciphering"],
         {"system title": "4B464D6750000009 (KFM, Shenzhen Kaifa Technology Co., Ltd)"}),
        ("dd0802030405060708090008 4d4d4d00000000010000010006 2000000001aa", ["general-ciphering"],
         {"transaction id": "0203040506070809"}),
        ("e0400001000003c401c1", ["general-block-transfer"],
         {"block control": "40 (more blocks follow, streaming, window 0)", "block number": "1"}),
    ],
)  # fmt: skip
def test_what_can_be_read_without_a_key(octets: str, shown: list[str], fields: dict[str, str]) -> None:
    layer = explain(octets)
    for name, value in fields.items():
        assert field(layer, name).startswith(value.split(",")[0]), name
    if shown[0] != "general-ciphering":
        assert shown[0] in names(layer)
        assert shown[-1] in names(layer)


def test_hdlc_parameters() -> None:
    layer = explain(UA)
    assert names(layer) == ["HDLC UA", "parameters"]
    assert field(layer, "maximum information field, transmit") == "128"
    assert field(layer, "window size, receive") == "1"
    assert (field(layer, "HCS"), field(layer, "FCS")) == ("C37A (right)", "533B (right)")


def test_hdlc_frames() -> None:
    layer = explain(SNRM)
    assert names(layer) == ["HDLC SNRM"]
    assert (field(layer, "destination"), field(layer, "control")) == ("1 (management)", "93 (SNRM, P/F)")
    layer = explain(SNRM + SNRM[2:])
    assert names(layer) == ["HDLC", "HDLC SNRM", "HDLC SNRM"]
    assert [inner.offset for inner in layer.layers] == [0, 8]
    assert not errors(explain(SNRM[2:]))  # the opening flag was not recorded
    assert not errors(explain(SNRM[:-2]))  # nor the closing one


def pushed(apdu: bytes, size: int = 40) -> tuple[bytes, list[bytes]]:
    """An APDU in segments, from HDLC's own framing rule: LLC once, the segmentation bit in all frames but the last."""
    octets = b"\xe6\xe7\x00" + apdu
    parts = [octets[at : at + size] for at in range(0, len(octets), size)]
    frames = [
        encode_frame(
            Frame(
                destination=Address(103),
                source=Address(1, 17, 2),
                kind=Kind.UI,
                segmented=part is not parts[-1],
                information=part,
            )
        )
        for part in parts
    ]
    return b"".join(frames), frames


def test_segments_are_put_together_and_explained_once() -> None:
    apdu = bytes.fromhex("0f0000000100 0109") + b"".join(
        bytes.fromhex(f"02030906010001070{at}ff06000000640202 0f00161b") for at in range(9)
    )
    stream, frames = pushed(apdu)
    layer = driver.explain(stream)
    assert errors(layer) == []
    assert names(layer)[-4:] == [
        "put together from segments",
        "data-notification",
        "notification body: array of 9",
        "Readings",
    ]
    assert names(layer).count("data-notification") == 1
    assert readings(layer)["1-0:1.7.8.255"] == "100 W"
    rows = next(each for each in walk(layer) if each.name == "Readings").fields
    assert all(stream[offset] == 0x06 for _, _, offset, _ in rows)  # each value is where its tag is in the input
    check_places(layer, len(stream))
    incomplete = driver.explain(b"".join(frames[:2]))
    assert "more segments were announced after segment 2" in errors(incomplete)[0]
    assert "Readings (incomplete)" in names(incomplete)


def test_a_stream_that_begins_and_ends_within_a_frame() -> None:
    layer = explain(AIDON[-20:] + AIDON + "29121314")
    assert not errors(layer)
    assert [each.name.split(" (")[0] for each in layer.layers] == [
        "skipped, before the first frame",
        "HDLC UI",
        "skipped, after the last frame",
    ]


def test_damaged_frames_are_told_and_shown() -> None:
    octets = bytearray.fromhex(AIDON)
    octets[-3] ^= 1
    layer = driver.explain(bytes(octets))
    assert "FCS wrong (at octet 41, expected 6e6a, got 6f6a)" in layer.error
    assert readings(layer) == {"1-0:1.7.0.255": "1363 W"}
    octets = bytearray.fromhex(AIDON + AIDON + AIDON)
    octets[len(AIDON) // 2 + 7] ^= 1
    layer = driver.explain(bytes(octets))
    assert ["HCS wrong" in each.error for each in layer.layers] == [False, True, False]


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("", "no octets"),
        ("99", "neither"),
        ("c4", "type (at octet 1"),
        ("c404c1", "GET"),
        ("c401c1000600", "cut short (at octet 6"),
        ("c401c100110500", "1 octets follow the data (at octet 6)"),
        ("7ea0", "cut short (at octet 2)"),
        ("7ea00703219300007e", "FCS wrong (at octet 6"),
        ("7e5555", "no HDLC frame (at octet 0"),
        (AIDON[:40], "cut short: 42 octets are told, 19 are there"),
        ("601da109060760857405080101be10040e01000000065f1f0400001e1dff", "length (at octet 1"),
        ("cc0330", "length of the ciphered APDU (at octet 1"),
        ("c81e30012345", "length of the ciphered APDU (at octet 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(octets: str, error: str) -> None:
    found = errors(explain(octets))
    assert error.lower() in " ".join(found).lower()
    assert "at octet" in " ".join(found) or "octets are told" in found[0]


def test_blocks_are_put_together() -> None:
    inner = bytes.fromhex("0f00000001000101020309060100010700ff060000055302020f00161b")
    blocks = [
        b"\xe0"
        + bytes((0x40 | (0x80 if last else 0),))
        + number.to_bytes(2, "big")
        + b"\0\0"
        + bytes((len(part),))
        + part
        for number, part, last in ((1, inner[:10], False), (2, inner[10:20], False), (3, inner[20:], True))
    ]
    stream = b"".join(wrap(block, 1, 102) for block in blocks)
    layer = driver.explain(stream)
    assert errors(layer) == []
    assert readings(layer) == {"1-0:1.7.0.255": "1363 W"}
    check_places(layer, len(stream))
    messages = [wrap(block, 1, 102) for block in blocks]
    incomplete = driver.explain(messages[0] + messages[1])
    assert errors(incomplete)[0] == "the blocks after number 2 are missing"
    assert "put together from 2 blocks (incomplete)" in names(incomplete)
    assert "block 2 is missing" in errors(driver.explain(messages[0] + messages[2]))[0]
    repeated = driver.explain(messages[0] + messages[1] + messages[1] + messages[2])
    assert (errors(repeated), readings(repeated)) == ([], {"1-0:1.7.0.255": "1363 W"})
    assert field(repeated, "peculiarity") == "1 of the blocks came again"
    other = wrap(blocks[1][:-1] + b"\x99", 1, 102)
    assert "block 2 comes again with other octets" in errors(driver.explain(messages[0] + messages[1] + other))[0]


def test_a_block_transfer_with_a_window_and_a_lost_block() -> None:
    """Acknowledgements of the other side are no blocks; what was lost comes again, and with it what came after it."""
    inner = bytes.fromhex("c401c1000118" + "1105" * 24)

    def block(number: int, start: int, end: int, *, last: bool = False) -> bytes:
        return wrap(bytes((0xE0, 0xC3 if last else 0x43, 0, number, 0, 0, end - start)) + inner[start:end], 1, 16)

    def acknowledge(number: int, acknowledged: int) -> bytes:
        return wrap(bytes((0xE0, 0x83, 0, number, 0, acknowledged, 0)), 16, 1)

    first, second, third, fourth = block(1, 0, 15), block(2, 15, 30), block(3, 30, 45), block(4, 45, 54, last=True)
    for stream in (
        first + acknowledge(1, 1) + second + third + acknowledge(2, 3) + fourth + acknowledge(3, 4),
        first + third + acknowledge(1, 1) + second + third + acknowledge(2, 3) + fourth,
        first + second + fourth + acknowledge(1, 2) + third + fourth + acknowledge(2, 4),
    ):
        layer = driver.explain(stream)
        assert errors(layer) == []
        at = names(layer).index("put together from 4 blocks")
        assert names(layer)[at + 1 : at + 3] == ["get-response-normal", "data: array of 24"]
        check_places(layer, len(stream))
    assert "out of order: block 4 comes, block 3 is missing" in field(layer, "peculiarity")
    incomplete = errors(driver.explain(first + second + fourth))
    assert incomplete[0].startswith("block 4 comes, block 3 is missing (at octet ")
    assert "the blocks after number 2 are missing" in incomplete[0]


def test_get_blocks_are_put_together() -> None:
    data = bytes.fromhex("0102110511 06")
    blocks = [
        bytes.fromhex(f"c402c1{last:02x}{number:08x}00{len(part):02x}") + part
        for number, part, last in ((1, data[:3], 0), (2, data[3:], 1))
    ]
    layer = driver.explain(b"".join(wrap(block, 1, 16) for block in blocks))
    assert names(layer)[-2:] == ["put together from 2 blocks", "data: array of 2"]


def test_results_of_a_list_in_blocks() -> None:
    """Two results, the first with data; with the request, and without it where the octets can be nothing else."""
    request = wrap(bytes.fromhex("c003c10200030100010800ff020000080000010000ff0200"), 16, 1)
    results = bytes.fromhex("0200060000053901 03".replace(" ", ""))
    blocks = b"".join(
        wrap(bytes.fromhex(f"c402c1{last:02x}{number:08x}00{len(part):02x}") + part, 1, 16)
        for number, part, last in ((1, results[:4], 0), (2, results[4:], 1))
    )
    more = wrap(bytes.fromhex("c002c100000001"), 16, 1)
    for stream in (request + blocks[:22] + more + blocks[22:], blocks):
        layer = driver.explain(stream)
        assert errors(layer) == []
        assert field(layer, "[1] data-access-result") == "3 (read-write-denied)"
        check_places(layer, len(stream))


def test_mbus_frames() -> None:
    apdu = bytes.fromhex("0f00000001000101020309060100010700ff060000055302020f00161b")
    stream = encode_apdu(apdu, 1, 0x67)
    layer = driver.explain(stream)
    assert names(layer)[:2] == ["M-Bus long frame (EN 13757-2)", "data-notification"]
    assert (errors(layer), readings(layer)) == ([], {"1-0:1.7.0.255": "1363 W"})
    long = apdu[:5] + b"\0" + b"\x01\x0f" + apdu[8:] * 15
    stream = encode_apdu(long, 1, 0x67)
    layer = driver.explain(stream)
    check_places(layer, len(stream))
    assert errors(layer) == []
    assert names(layer).count("data-notification") == 1
    assert "put together from frames" in names(layer)
    assert "more frames were announced" in errors(driver.explain(stream[:261]))[0]
    damaged = stream[:-2] + b"\0" + stream[-1:]
    assert "checksum wrong (at octet" in errors(driver.explain(damaged))[0]
    assert "are no frame" in errors(driver.explain(stream + b"\x99" + stream))[0]
    assert "cut short: 261 octets are told" in " ".join(errors(driver.explain(stream[:20])))


def test_gateway_prefixes_within_wrapper_messages() -> None:
    layer = driver.explain(wrap(bytes.fromhex("e60003414243 c002c100000005"), 16, 1))
    assert names(layer) == ["wrapper", "gateway prefix", "get-request-next"]
    assert field(layer, "address") == '"ABC"'


def test_peculiarities_of_meters_are_named() -> None:
    layer = explain(KAIFA)
    assert field(layer, "peculiarity").startswith("date-time as tagged octet-string, as some meters send it")
    assert readings(layer) == {"1-0:1.7.0.255": "5852 W"}
    layer = explain(BARE)
    assert errors(layer) == []
    assert field(layer, "peculiarity").startswith("attribute descriptor without tags")
    assert readings(layer)["0-0:42.0.0.255"] == '"EGD"'
    assert readings(layer)["1-0:1.7.0.255"].startswith("1956 (raw")
    swapped = explain("0f000000010001010203060901000108 00ff060000000502020f00161e")
    assert field(swapped, "peculiarity").startswith("tag and length")
    assert readings(swapped) == {"1-0:1.8.0.255": "5 Wh"}


def test_apdus_in_apdus_have_a_bottom() -> None:
    nested = b""
    for _ in range(3000):
        nested = b"\xdf\0\0\0\0\0" + bytes((0x83, *len(nested).to_bytes(3, "big"))) + nested + b"\0"
    assert any("APDUs within APDUs" in error for error in errors(driver.explain(nested)))


def test_apdus_in_hdlc_links() -> None:
    client = HdlcConnection(Role.CLIENT, client=Address.client(16), server=Address.server(1, 17))
    client.open()
    server = HdlcConnection(Role.SERVER, server=Address.server(1, 17))
    server.receive_data(client.data_to_send())
    server.next_event()
    client.receive_data(server.data_to_send())
    client.next_event()
    client.send_apdu(bytes.fromhex("c001c100030100010800ff0200"))
    layer = driver.explain(client.data_to_send())
    assert names(layer) == ["HDLC I", "get-request-normal"]
    assert field(layer, "destination") == "1/17 (upper 1, lower 17)"
    assert field(layer, "control") == "10 (I, N(S) 0, N(R) 0, P/F)"


VALID = [
    bytes.fromhex(text)
    for text in (
        AIDON,
        AIDON + AIDON,
        UA,
        SNRM,
        LLS,
        AARE,
        KAIFA,
        BARE,
        "00010010000100 1f" + AARQ,
        "c001c100070100630100ff02010204060000000106000000051200011200 00",
        "c81e1001234567c0010000080000010000ff020006725d910f9221d263877516",
        "dd0802030405060708090008 4d4d4d00000000010000010006 2000000001aa",
        "e0c00001000004c501c100",
        "68 0d0d68 53ff100167 0f00000001001105 f116 680808 68 53ff000167 0f0000 c916",
        "e60003414243 c002c100000005",
        "d9400000000002010001 0000600100ff02 0100080000010000ff02 020000",
        "0f00000001000101020309060100010700ff060000055302020f00161b",
    )
]


@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255), st.sampled_from("sdi")), max_size=6),
    st.integers(0, 400),
)
@example(VALID[0], [], 400)
def test_malformed_input_ends_in_layers_whose_places_are_right(
    octets: bytes, changes: list[tuple[int, int, str]], cut: int
) -> None:
    mutated = bytearray(octets)
    for at, value, how in changes:
        place = at % max(len(mutated), 1)
        if how == "d":
            del mutated[place : place + 1]
        elif how == "i":
            mutated.insert(place, value)
        elif mutated:
            mutated[place] = value
    data = bytes(mutated[:cut])
    check_places(driver.explain(data), len(data))


@given(
    st.binary(max_size=120),
    st.sampled_from([b"", b"\x7e", b"\x7e\xa0", b"\x00\x01\x00\x10\x00\x01\x00\x05", b"\xc4\x01\xc1\x00"]),
)
def test_nothing_breaks_it(octets: bytes, head: bytes) -> None:
    data = head + octets
    check_places(driver.explain(data), len(data))
