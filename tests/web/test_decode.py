"""Decoding over REST: what comes back, how much may be asked, and that keys go nowhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend.drivers.registry import driver
from headend.model.access import Role
from tests.drivers.captures.traffic import CLIENT, METER, pcap, tcp

from .support import world

# Green Book, ciphered APDUs: GET of the clock, authenticated and encrypted with suite 0
CIPHERED = "c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b"
EK, AK, TITLE = "000102030405060708090a0b0c0d0e0f", "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf", "4d4d4d0000bc614e"
GET = bytes.fromhex("00010010 0001000d c001c100030100010800ff0200")


@asynccontextmanager
async def head_end(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a head-end with the installed drivers."""
    async with world(folder) as made, made.client(Role.VIEWER) as client:
        object.__setattr__(made.app.state.parts, "driver", driver)
        yield client


async def ask(client: httpx.AsyncClient, status: int = HTTPStatus.OK, **body: Any) -> Any:
    response = await client.post("/api/v1/decode", json=body)
    assert response.status_code == status, response.text
    return response.json()


def found(layer: Any) -> dict[str, str]:
    """The first field of every name, at any depth."""
    fields = {field["name"]: field["value"] for field in reversed(layer["fields"])}
    for inner in layer["layers"]:
        fields = found(inner) | fields
    return fields


async def test_octets_come_back_as_they_were_read(tmp_path: Path) -> None:
    async with head_end(tmp_path) as client:
        dump = "0000  00 01 00 10 00 01 00 0d  c0 01 c1 00 03 01 00 01  |................|\n0010  08 00 ff 02 00\n"
        for body in ({"hex": GET.hex(":")}, {"hex": dump}, {"base64": b64encode(GET).decode()}):
            answer = await ask(client, **body)
            assert (answer["protocol"], answer["length"], answer["octets"]) == ("dlms", len(GET), GET.hex())
            assert found(answer["layer"])["logical name"].startswith("1-0:1.8.0.255")


async def test_a_capture_is_explained(tmp_path: Path) -> None:
    data = b64encode(pcap([tcp(CLIENT, ("192.0.2.7", 7777), 1, GET), tcp(CLIENT, METER, 1, GET)], link=101)).decode()
    async with head_end(tmp_path) as client:
        answer = await ask(client, base64=data)
        assert answer["protocol"] == "dlms"
        assert [each["name"][:3] for each in answer["layer"]["layers"]] == ["TCP", "TCP"]
        only = await ask(client, base64=data, ports=[4059])
        assert "logical name" not in found(only["layer"]["layers"][0])
        assert "logical name" in found(only["layer"]["layers"][1])


async def test_apdus_in_xml(tmp_path: Path) -> None:
    async with head_end(tmp_path) as client:
        assert (await ask(client, hex="c401c10103"))["xml"] == ""
        assert 'Value="ReadWriteDenied"' in (await ask(client, hex="c401c10103", xml=True))["xml"]
        capture = b64encode(pcap([tcp(CLIENT, METER, 1, GET)], link=101)).decode()
        assert "<Conversation Name=" in (await ask(client, base64=capture, xml=True))["xml"]
        for nothing in ("c401c1", "000100000006010400000006"):
            assert (await ask(client, hex=nothing, xml=True))["xml"] == ""


async def test_keys_open_and_are_not_told_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keys = {"ek": f"hex:{EK}", "ak": f"hex:{AK}", "client_title": f"hex:{TITLE}"}
    async with head_end(tmp_path) as client:
        response = await client.post("/api/v1/decode", json={"hex": CIPHERED, "keys": keys})
        assert found(response.json()["layer"])["authentication tag"].endswith("(verified)")
        assert response.headers["cache-control"] == "no-store"
        said = response.text
        for wrong in (
            {"ek": EK},
            {"ek": f"hex:{EK}00"},
            {"ek": f"hex:{EK}", "ak": "hex:" + "d0" * 5000},
            {"ek": f"hex:{EK}zz"},
        ):
            response = await client.post("/api/v1/decode", json={"hex": CIPHERED, "keys": wrong})
            assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
            said += response.text
    said += "".join(capfd.readouterr())
    assert EK not in said.lower()
    assert AK not in said.lower()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"hex": "ab" * 100_001}, "200000"),
        ({"base64": "A" * 400_004}, "400000"),
        ({"base64": "a=bc"}, "expected octets in base64"),
        ({"base64": "AAAA", "hex": "00"}, "either hex or base64"),
        ({"hex": "00", "keys": {"zz": "hex:00"}, "protocol": "dlms"}, "no key of DLMS is called 'zz'"),
        ({"hex": "00", "ports": [0]}, "ports"),
        ({"hex": "00", "keys": {str(at): "hex:00" for at in range(17)}}, "16"),
        ({}, "got nothing"),
        ({"hex": "00", "protocol": "smoke"}, "smoke"),
    ],
)
async def test_what_is_too_much_or_makes_no_sense_is_refused(tmp_path: Path, body: dict[str, Any], words: str) -> None:
    async with head_end(tmp_path) as client:
        assert words in str(await ask(client, HTTPStatus.UNPROCESSABLE_ENTITY, **body))
