"""Logins and heartbeats in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.drivers.base import Layer
from headend.drivers.decoding import decode
from headend.drivers.pasted import errors

LOGIN = "0001000100010012 0A020C323130363030343032393431005A4C"
ACKNOWLEDGED = "0001000100010012 AA030C323130363030343032393431007004"
HEARTBEAT = "0001000100010011 0C010C3231313230303530343337374002"
EVENT = "000100010066000E C2000007000060010 0FF02090101".replace("10 0", "100")
BLANK = "0001000100010012 0A020C303030303030303030303030 00A3D0"
FAMILY = "LONGi, MOMAS and IVY: 0A login, 0C heartbeat"


def fields(layer: Layer) -> dict[str, str]:
    return {name: value for name, value, _, _ in layer.fields}


def test_a_login() -> None:
    found = decode(LOGIN)
    assert (found.layer.name, found.layer.error) == (f"login ({FAMILY})", "")
    assert fields(found.layer) == {
        "source wPort": "1",
        "destination wPort": "1",
        "length": "18",
        "octets": "0A",
        "sent by": "meter",
        "length of the number": "12",
        "number": "210600402941",
        "option": "00",
        "check octets": "5A 4C (right)",
        "acknowledgement": bytes.fromhex(ACKNOWLEDGED).hex(" "),
    }
    assert {name: (at, size) for name, _, at, size in found.layer.fields}["number"] == (11, 12)


def test_wrong_check_octets() -> None:
    layer = decode(LOGIN[:-2] + "00").layer
    assert layer.error == "check octets wrong (at octet 24, got 5A 00)"
    assert fields(layer)["acknowledgement"] == "none, by the rule when-right"


def test_a_number_that_nobody_has_set() -> None:
    assert fields(decode(BLANK).layer)["identity"] == "none: nobody has set the number"


def test_an_acknowledgement() -> None:
    layer = decode(ACKNOWLEDGED).layer
    assert (layer.name, layer.error) == (f"acknowledgement of a login ({FAMILY})", "")
    assert fields(layer)["sent by"] == "head-end"


def test_a_dialogue() -> None:
    found = decode(LOGIN + ACKNOWLEDGED + EVENT + HEARTBEAT + EVENT)
    assert found.protocol == "dlms"
    names = [layer.name.partition(" (")[0] for layer in found.layer.layers]
    assert names == ["login", "acknowledgement of a login", "wrapper", "heartbeat", "wrapper"]
    at = 0
    for layer in found.layer.layers:
        assert layer.offset == at
        at += layer.length
    assert at == len(found.octets)


def test_what_is_wrong_behind_a_heartbeat_is_told_with_its_place() -> None:
    layer = decode(HEARTBEAT + EVENT[:-4]).layer
    assert any("octet 25" in error or "octet 44" in error or "octet 45" in error for error in errors(layer))


@pytest.mark.parametrize(
    ("octets", "name"),
    [(b"355837089512343", "login (a number in digits)"), (b"Eport-HF2411", "login (a name)")],
)
def test_a_text(octets: bytes, name: str) -> None:
    assert decode(octets).layer.name == name


@given(
    st.lists(
        st.one_of(st.sampled_from([LOGIN, HEARTBEAT, EVENT, ACKNOWLEDGED]).map(bytes.fromhex), st.binary(max_size=9))
    )
)
def test_places_lie_inside(parts: list[bytes]) -> None:
    data = b"".join(parts)
    pending = [decode(data).layer]
    while pending:
        layer = pending.pop()
        assert 0 <= layer.offset <= layer.offset + layer.length <= len(data)
        assert all(0 <= at <= at + size <= len(data) for _, _, at, size in layer.fields)
        pending += layer.layers
