"""What real meters do in their own way, one test each: it is tolerated, named, and what it carries is read all the same.

Each input is written after the behaviour that captures of the named meters show; the captures themselves are in the corpus.
"""

from __future__ import annotations

import pytest

from headend.drivers.base import Layer
from headend.drivers.dlms import driver
from headend.model.meter import Secret
from headend.protocols.dlms.security.ciphering import encode_general
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.hdlc import Address
from headend.protocols.hdlc.frame import Frame, Kind, encode_frame
from headend.protocols.mbus import encode_apdu

from .layers import check_places, errors, field, names, readings, walk

EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
TITLE = bytes.fromhex("4c475a0000000001")
PUSH = bytes.fromhex("0f00000001000101020309060100010700ff060000055302020f00161b")
POWER = {"1-0:1.7.0.255": "1363 W"}
RESPONSE = b"\xe6\xe7\x00"


def explain(octets: bytes, **keys: bytes) -> Layer:
    layer = driver.explain(octets, {name: Secret(value) for name, value in keys.items()})
    check_places(layer, len(octets))
    return layer


def peculiarities(layer: Layer) -> list[str]:
    return [value for each in walk(layer) for name, value, _, _ in each.fields if name == "peculiarity"]


def ui(information: bytes, *, segmented: bool = False) -> bytes:
    stations = {"destination": Address.client(0x67), "source": Address.server(1, 1)}
    frame = Frame(**stations, kind=Kind.UI, information=information, segmented=segmented)
    return encode_frame(frame)


def blocks(apdu: bytes, size: int) -> list[bytes]:
    parts = [apdu[at : at + size] for at in range(0, len(apdu), size)]
    last = len(parts)
    heads = [bytes((0xE0, 0x80 if number == last else 0, 0, number, 0, 0)) for number in range(1, last + 1)]
    return [head + bytes((len(part),)) + part for head, part in zip(heads, parts, strict=True)]


def ciphered(control: int, key: GcmKey) -> bytes:
    return encode_general(0xDB, TITLE, key.seal(control, TITLE, 7, PUSH))


def test_a_ciphered_apdu_in_blocks_in_ui_frames() -> None:
    """Landis+Gyr E450 and E570: each block is a frame of its own, the LLC header is in the first alone."""
    inner = ciphered(0x30, GcmKey(EK, AK))
    first, *others = blocks(inner, 20)
    stream = ui(RESPONSE + first) + b"".join(map(ui, others))
    layer = explain(stream, ek=EK, ak=AK)
    assert (errors(layer), readings(layer)) == ([], POWER)
    named = peculiarities(layer)
    assert any(each.startswith("a ciphered APDU in blocks") for each in named)
    assert sum(each.startswith("no LLC header: only the first frame") for each in named) == len(others)
    assert "give ek" in field(explain(stream), "ciphertext")


def test_segments_in_ui_frames() -> None:
    """Iskraemeco AM550."""
    stream = ui(RESPONSE + PUSH[:12], segmented=True) + ui(PUSH[12:])
    layer = explain(stream)
    assert (errors(layer), readings(layer)) == ([], POWER)
    assert peculiarities(layer)[0].startswith("segments in UI frames")


def test_long_frames_of_wired_mbus() -> None:
    """Sagemcom T210-D: several long frames, the control information counts them, and the first has 257 octets."""
    long = PUSH[:5] + b"\0" + b"\x01\x0f" + PUSH[8:] * 15
    stream = encode_apdu(long, 1, 0x67)
    layer = explain(stream)
    assert errors(layer) == []
    assert peculiarities(layer) == ["an APDU in several frames: the control information counts them"]
    body = b"\x53\xff\x00\x01\x67" + long[:252]
    wrapped = b"\x68\x01\x01\x68" + body + bytes((sum(body) & 0xFF, 0x16))
    rest = long[252:]
    body = b"\x53\xff\x11\x01\x67" + rest
    last = bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    layer = explain(wrapped + last)
    assert errors(layer) == []
    assert any(each.startswith("a frame of 257 octets") for each in peculiarities(layer))
    assert names(layer).count("data-notification") == 1


def test_a_date_time_with_a_tag() -> None:
    """Kaifa MA105, MA304: 09 0C where the standard has 0C alone."""
    layer = explain(bytes.fromhex("0f40000000090c07e3020401173416ff800000020106000016dc"))
    assert errors(layer) == []
    assert peculiarities(layer)[0].startswith("date-time as tagged octet-string")
    assert field(layer, "date-time").startswith("2019-02-04 23:52:22")


def test_a_stream_that_starts_within_a_frame() -> None:
    frame = ui(RESPONSE + PUSH)
    layer = explain(frame[-20:] + frame)
    assert (errors(layer), readings(layer)) == ([], POWER)
    assert peculiarities(layer) == ["the recording begins within a frame: these octets are its end"]


def test_flags_within_a_frame() -> None:
    """A payload or check sequence that holds 7E: the length tells where the frame ends."""
    octets = PUSH.replace(b"\x00\x00\x05\x53", b"\x7e\x7e\x05\x7e")
    layer = explain(ui(RESPONSE + octets))
    assert errors(layer) == []
    assert peculiarities(layer)[0].startswith("7E within the frame")


@pytest.mark.parametrize(("control", "keys"), [(0x20, ["ek"]), (0x21, ["ek"]), (0x31, ["ek", "ak"])])
def test_security_controls_that_few_send(control: int, keys: list[str]) -> None:
    """20: encrypted, without a tag; 21 and 31: suite 1, whose keys have 128 bits all the same."""
    apdu = ciphered(control, GcmKey(EK, AK if control & 0x10 else b""))
    layer = explain(apdu, **{name: {"ek": EK, "ak": AK}[name] for name in keys})
    assert (errors(layer), readings(layer)) == ([], POWER)
    named = " ".join(peculiarities(layer))
    assert ("encrypted without an authentication tag" in named) is not bool(control & 0x10)
    assert ("security suite 1" in named) is bool(control & 1)


def test_a_general_apdu_without_a_system_title() -> None:
    apdu = encode_general(0xDB, b"", GcmKey(EK, AK).seal(0x30, TITLE, 7, PUSH))
    layer = explain(apdu, ek=EK, ak=AK, server_title=TITLE)
    assert (errors(layer), readings(layer)) == ([], POWER)
    assert peculiarities(layer)[0].startswith("no system title in a general APDU")


def test_descriptors_without_tags() -> None:
    """Sagemcom XT211 as EG.D has it: class, logical name and attribute as bare octets in a structure."""
    bare = "0f00000001000202160101020202000100002a0000ff0209034547440202000301000107 00ff0206000007a4"
    layer = explain(bytes.fromhex(bare))
    assert errors(layer) == []
    assert peculiarities(layer)[0].startswith("attribute descriptor without tags")
    assert readings(layer)["0-0:42.0.0.255"] == '"EGD"'


def test_tag_and_length_swapped() -> None:
    """Landis+Gyr ZMF100: 06 09 where 09 06 is meant."""
    layer = explain(bytes.fromhex("0f00000001000101020306090100010800ff060000000502020f00161e"))
    assert peculiarities(layer)[0].startswith("tag and length")
    assert readings(layer) == {"1-0:1.8.0.255": "5 Wh"}


def test_values_without_codes() -> None:
    """Iskraemeco in Slovenia, Croatia and Austria: the place in the list tells what a value is."""
    layer = explain(bytes.fromhex("0f0000000100020309083132333435363738 0600000553 0600000001"))
    assert errors(layer) == []
    assert any(each.startswith("values without OBIS codes") for each in peculiarities(layer))


def test_parity_recorded_as_data() -> None:
    octets = bytes(octet & 0x7F | (0x80 if (octet & 0x7F).bit_count() % 2 else 0) for octet in ui(RESPONSE + PUSH))
    layer = explain(octets)
    assert any("every octet has even parity" in error for error in errors(layer))
