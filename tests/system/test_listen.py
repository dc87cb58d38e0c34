"""Octets of real meters into a head-end that runs, by TCP and by UDP, and out of its database again."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headend.model.meter import Secret
from headend.model.url import parse_url
from headend.protocols.hdlc.frame import decode_header
from headend.protocols.wrapper import wrap
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings

from .served import HeadEnd, configured

MEASURED_AT = int(datetime(2026, 3, 12, 15, 24, 30, tzinfo=UTC).timestamp() * 1000)
"""as the meter says it, which tells no deviation"""

PROFILE = """
[meter]
vendor = "Kamstrup"
model = "Omnipower"
protocol = "dlms"
source = "a public capture"

[[object]]
ref = "3/1-1:1.8.0.255/2"
quantity = "active_energy_import_total"
unit = "Wh"
scaler = 1

[[object]]
ref = "3/1-1:1.7.0.255/2"
quantity = "active_power_import_total"
unit = "W"
scaler = "meter"
"""


def place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition("//")[2].rpartition(":")
    return host, int(port)


def information(frame: bytes) -> bytes:
    """What an HDLC frame carries, without its LLC header."""
    header = decode_header(frame[1:])
    assert header is not None
    return frame[1 + header.end + 3 : header.length - 1]


@pytest.mark.parametrize("way", ["tcp-hdlc", "tcp-wrapper", "udp-wrapper"])
def test_a_ciphered_push_becomes_readings(tmp_path: Path, real_pushes: SimpleNamespace, way: str) -> None:
    library = tmp_path / "profiles"
    library.mkdir()
    (library / "kamstrup-omnipower.toml").write_text(PROFILE)
    settings = '[listen]\nplaces = ["tcp://:0", "udp://127.0.0.1:0"]\n'
    keys = real_pushes.KAMSTRUP_KEYS
    url = f"inbound://{real_pushes.KAMSTRUP_TITLE}?protocol=dlms&profile=kamstrup-omnipower"
    with open_store(load_settings(configured(tmp_path, settings))) as store:
        store.meters.put(parse_url(url).meter("house", poll_seconds=0))
        for name, text in keys.items():
            store.secrets.put("house", name, Secret(bytes.fromhex(text)))
    octets = real_pushes.KAMSTRUP if way == "tcp-hdlc" else wrap(information(real_pushes.KAMSTRUP), 1, 0x66)
    with HeadEnd(tmp_path, settings, {"HEADEND_PROFILES": json.dumps([str(library)])}) as head_end:
        tcp, udp = map(place, head_end.listening)
        if way.startswith("tcp"):
            with socket.create_connection(tcp) as sender:
                sender.sendall(octets + octets + b"garbage" + real_pushes.AIDON[:50])
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(octets, udp)
                sender.sendto(octets, udp)
        head_end.wait_stored(2)
        shown = head_end.get("api/v1/readings/latest")
        rows = [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]]
        found = {row["quantity"]: (row["value"], row["measured_at"], row["source"]) for row in rows}
        assert found == {
            "active_energy_import_total": (63074980, MEASURED_AT, "push"),
            "active_power_import_total": (1083, MEASURED_AT, "push"),  # whose scaler the name of the list tells
        }
        told = head_end.wait(lambda: refused(head_end.get("api/v1/events")))
        assert (told["meter_id"], told["data"]["code"]) == ("house", "replay-detected")
        assert head_end.stop() == 0
        assert keys["ek"].lower() not in head_end.said.lower()


def refused(answer: dict[str, Any]) -> dict[str, Any] | None:
    return next((event for event in answer["items"] if event["type"] == "PUSH_REFUSED" and event["meter_id"]), None)
