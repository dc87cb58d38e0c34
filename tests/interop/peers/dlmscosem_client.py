"""A DLMS head-end played by dlms-cosem, in a process of its own: `dlmscosem_client.py < PLAN.json`.

Plan and output are those of gurux_client.py; what this stack cannot do at all gives "unsupported": true.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog
from dlms_cosem import cosem, dlms_data, utils
from dlms_cosem.client import DlmsClient
from dlms_cosem.connection import DlmsConnectionSettings
from dlms_cosem.cosem import CosemAttributeWithSelection
from dlms_cosem.cosem.capture_object import CaptureObject
from dlms_cosem.cosem.selective_access import RangeDescriptor
from dlms_cosem.enumerations import CosemInterface
from dlms_cosem.io import BlockingTcpIO, HdlcTransport, TcpTransport
from dlms_cosem.parsers import AssociationObjectListParser, ProfileGenericBufferParser
from dlms_cosem.security import (
    HighLevelSecurityGmacAuthentication,
    LowLevelSecurityAuthentication,
    NoSecurityAuthentication,
)
from dlms_cosem.time import datetime_from_bytes

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # it logs every APDU

CLIENT, SERVER = 16, 1


def attribute(kind: CosemInterface, name: tuple[int, ...], number: int = 2) -> cosem.CosemAttribute:
    return cosem.CosemAttribute(interface=kind, instance=cosem.Obis(*name), attribute=number)


CLOCK = attribute(CosemInterface.CLOCK, (0, 0, 1, 0, 0, 255))
ENERGY = attribute(CosemInterface.REGISTER, (1, 0, 1, 8, 0, 255))
VOLTAGE = attribute(CosemInterface.REGISTER, (1, 0, 32, 7, 0, 255))
TEXT = attribute(CosemInterface.DATA, (0, 0, 96, 13, 0, 255))
LOADS = (1, 0, 99, 1, 0, 255)
RELAY = (0, 0, 96, 3, 10, 255)


class HeadEnd:
    """One association."""

    def __init__(self, meeting: dict[str, Any]) -> None:
        line = BlockingTcpIO(host="127.0.0.1", port=meeting["port"], timeout=5)
        transport = HdlcTransport if meeting["framing"] == "hdlc" else TcpTransport
        password, keys = meeting.get("password", ""), {}
        if "ek" in meeting:
            keys = {
                "encryption_key": bytes.fromhex(meeting["ek"]),
                "authentication_key": bytes.fromhex(meeting["ak"]),
                "security_suite": meeting["suite"],
                "client_system_title": b"DLC\x00\x00\x00\x00\x01",
                "client_initial_invocation_counter": 1,
            }
        authentication = {
            "none": NoSecurityAuthentication,
            "lls": lambda: LowLevelSecurityAuthentication(password.encode()),
            "gmac": HighLevelSecurityGmacAuthentication,
        }[meeting["auth"]]()
        self.client = DlmsClient(
            transport=transport(client_logical_address=CLIENT, server_logical_address=SERVER, io=line),
            authentication=authentication,
            connection_settings=DlmsConnectionSettings(),
            max_pdu_size=meeting["max_pdu"],
            **keys,
        )

    def read(self, what: cosem.CosemAttribute) -> Any:
        return utils.parse_as_dlms_data(self.client.get(what))

    # --- the steps ---

    def connect(self) -> str:
        self.client.connect()
        self.client.associate()
        return "associated"

    def view(self) -> list[str]:
        raw = self.client.get(attribute(CosemInterface.ASSOCIATION_LN, (0, 0, 40, 0, 0, 255)))
        objects = AssociationObjectListParser.parse_bytes(raw)
        return [f"{int(item.interface)}/{item.logical_name.to_string('.')}" for item in objects]

    def with_list(self) -> list[Any]:
        wanted = [CosemAttributeWithSelection(what, None) for what in (ENERGY, VOLTAGE)]
        return list(self.client.get_many(wanted).result)

    def columns(self) -> list[str]:
        found = self.read(attribute(CosemInterface.PROFILE_GENERIC, LOADS, 3))
        return [f"{kind}/{'.'.join(map(str, name))}" for kind, name, *_ in found]

    def rows(self, selection: Any = None) -> list[Any]:
        raw = self.client.get(attribute(CosemInterface.PROFILE_GENERIC, LOADS), access_descriptor=selection)
        parser = ProfileGenericBufferParser(capture_objects=[CLOCK, ENERGY, VOLTAGE], capture_period=15)
        return [
            [row[0].value.astimezone(dt.UTC).isoformat(), *(cell.value for cell in row[1:])]
            for row in parser.parse_bytes(raw)
        ]

    def by_range(self, start: str, end: str) -> list[Any]:
        first, last = (dt.datetime.fromisoformat(text) for text in (start, end))
        column = CaptureObject(cosem_attribute=CLOCK)
        return self.rows(RangeDescriptor(restricting_object=column, from_value=first, to_value=last))

    def write(self) -> str:
        self.client.set(TEXT, dlms_data.OctetStringData(b"written by dlms-cosem").to_bytes())
        return bytes(self.read(TEXT)).decode()

    def switch(self, *, closed: bool) -> list[Any]:
        method = cosem.CosemMethod(CosemInterface.DISCONNECT_CONTROL, cosem.Obis(*RELAY), 2 if closed else 1)
        self.client.action(method, dlms_data.IntegerData(0).to_bytes())
        return [self.read(attribute(CosemInterface.DISCONNECT_CONTROL, RELAY, number)) for number in (2, 3)]

    def release(self) -> str:
        self.client.release_association()
        self.client.disconnect()
        return "released"


def say(said: dict[str, Any]) -> None:
    print(json.dumps(said, default=str), flush=True)  # noqa: T201 - the answer to who started us


def step(number: int, name: str, act: Callable[[], Any]) -> None:
    try:
        say({"meeting": number, "step": name, "value": act()})
    except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
        say({"meeting": number, "step": name, "error": f"{type(error).__name__}: {error}"})


def meet(number: int, meeting: dict[str, Any], plan: dict[str, Any]) -> None:
    peer = HeadEnd(meeting)
    step(number, "connect", peer.connect)
    step(number, "view", peer.view)
    step(number, "scaler_unit", lambda: peer.read(attribute(CosemInterface.REGISTER, (1, 0, 32, 7, 0, 255), 3)))
    step(number, "value", lambda: peer.read(ENERGY))
    step(number, "name", lambda: bytes(peer.read(attribute(CosemInterface.DATA, (0, 0, 42, 0, 0, 255)))).decode())
    step(number, "clock", lambda: datetime_from_bytes(bytes(peer.read(CLOCK)))[0].astimezone(dt.UTC).isoformat())
    step(number, "with_list", peer.with_list)
    step(number, "columns", peer.columns)
    step(number, "entries_in_use", lambda: peer.read(attribute(CosemInterface.PROFILE_GENERIC, LOADS, 7)))
    step(number, "rows", peer.rows)
    say({"meeting": number, "step": "rows_by_entry", "unsupported": True})
    step(number, "rows_by_range", lambda: peer.by_range(plan["start"], plan["end"]))
    step(number, "write", peer.write)
    step(number, "disconnect", lambda: peer.switch(closed=False))
    step(number, "reconnect", lambda: peer.switch(closed=True))
    step(number, "unknown", lambda: peer.read(attribute(CosemInterface.DATA, (9, 9, 9, 9, 9, 255))))
    step(number, "release", peer.release)


def main() -> None:
    plan = json.load(sys.stdin)
    for number, meeting in enumerate(plan["meetings"]):
        meet(number, meeting, plan)


main()
