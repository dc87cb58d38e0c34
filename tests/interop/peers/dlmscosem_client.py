"""A DLMS head-end played by dlms-cosem, in a process of its own: `dlmscosem_client.py PORT wrapper|hdlc [PASSWORD] < PLAN.json`.

Plan and output are those of gurux_client.py; what this stack cannot do at all gives {"step": NAME, "unsupported": true}.
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
from dlms_cosem.security import LowLevelSecurityAuthentication, NoSecurityAuthentication
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

    def __init__(self, port: int, framing: str, password: str, max_pdu: int) -> None:
        line = BlockingTcpIO(host="127.0.0.1", port=port, timeout=5)
        transport = HdlcTransport if framing == "hdlc" else TcpTransport
        authentication = LowLevelSecurityAuthentication(password.encode()) if password else NoSecurityAuthentication()
        self.client = DlmsClient(
            transport=transport(client_logical_address=CLIENT, server_logical_address=SERVER, io=line),
            authentication=authentication,
            connection_settings=DlmsConnectionSettings(),
            max_pdu_size=max_pdu,
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


def step(name: str, act: Callable[[], Any]) -> None:
    try:
        say({"step": name, "value": act()})
    except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
        say({"step": name, "error": f"{type(error).__name__}: {error}"})


def main() -> None:
    port, framing, *password = sys.argv[1:]
    plan = json.load(sys.stdin)
    peer = HeadEnd(int(port), framing, password[0] if password else "", plan["max_pdu"])
    step("connect", peer.connect)
    step("view", peer.view)
    step("scaler_unit", lambda: peer.read(attribute(CosemInterface.REGISTER, (1, 0, 32, 7, 0, 255), 3)))
    step("value", lambda: peer.read(ENERGY))
    step("name", lambda: bytes(peer.read(attribute(CosemInterface.DATA, (0, 0, 42, 0, 0, 255)))).decode())
    step("clock", lambda: datetime_from_bytes(bytes(peer.read(CLOCK)))[0].astimezone(dt.UTC).isoformat())
    step("with_list", peer.with_list)
    step("columns", peer.columns)
    step("entries_in_use", lambda: peer.read(attribute(CosemInterface.PROFILE_GENERIC, LOADS, 7)))
    step("rows", peer.rows)
    say({"step": "rows_by_entry", "unsupported": True})
    step("rows_by_range", lambda: peer.by_range(plan["start"], plan["end"]))
    step("write", peer.write)
    step("disconnect", lambda: peer.switch(closed=False))
    step("reconnect", lambda: peer.switch(closed=True))
    step("unknown", lambda: peer.read(attribute(CosemInterface.DATA, (9, 9, 9, 9, 9, 255))))
    step("release", peer.release)


main()
