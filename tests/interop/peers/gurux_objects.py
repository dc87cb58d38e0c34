"""A head-end that works with the functions of a meter, played by gurux_dlms in a process of its own: `gurux_objects.py PORT`.

Prints what each step gave, one line of JSON for each: {"step": NAME, "value": …}, or with "error": TEXT where the stack raised.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

from gurux_asking import Asking
from gurux_dlms.enums import Authentication, DataType, InterfaceType
from gurux_dlms.objects import (
    GXDLMSActionSchedule,
    GXDLMSActivityCalendar,
    GXDLMSClock,
    GXDLMSDisconnectControl,
    GXDLMSImageTransfer,
    GXDLMSLimiter,
    GXDLMSProfileGeneric,
    GXDLMSPushSetup,
    GXDLMSRegisterMonitor,
    GXDLMSScriptTable,
    GXDLMSSpecialDaysTable,
)
from gurux_dlms.secure import GXDLMSSecureClient

IMAGE = bytes(range(256)) * 5


class HeadEnd(Asking):
    """One association over the wrapper, without security."""

    def __init__(self, port: int) -> None:
        self.client = GXDLMSSecureClient(True, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER)  # noqa: FBT003
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.client.parseAareResponse(self.ask(self.client.aarqRequest()).data)

    def read(self, item: Any, attribute: int) -> Any:
        return self.client.updateValue(item, attribute, self.ask(self.client.read(item, attribute)[0]).value)

    # --- the steps ---

    def relay(self) -> list[Any]:
        relay, seen = GXDLMSDisconnectControl("0.0.96.3.10.255"), []
        for mode in (4, 3):
            relay.controlMode = mode
            self.ask(self.client.write(relay, 4))
            for act in (relay.remoteDisconnect, relay.remoteReconnect):
                self.ask(act(self.client))
                seen.append([int(self.read(relay, 3)), self.read(relay, 2)])
        return seen

    def clock(self) -> list[str]:
        clock, seen = GXDLMSClock("0.0.1.0.0.255"), []
        for act in (
            lambda: clock.shiftTime(self.client, 125),
            lambda: clock.adjustToMinute(self.client),
            lambda: clock.adjustToQuarter(self.client),
        ):
            self.ask(act())
            seen.append(self.read(clock, 2).value.strftime("%H:%M:%S"))
        return seen

    def scripts(self) -> list[Any]:
        table = GXDLMSScriptTable("0.0.10.0.106.255")
        self.read(table, 2)
        relay = GXDLMSDisconnectControl("0.0.96.3.10.255")
        relay.controlMode = 4
        self.ask(self.client.write(relay, 4))
        seen = [[script.id, [int(action.type_), action.index]] for script in table.scripts for action in script.actions]
        for number in (2, 1, 2):
            self.ask(table.execute(self.client, number))
            seen.append(int(self.read(relay, 3)))
        return seen

    def calendar(self) -> list[Any]:
        calendar = GXDLMSActivityCalendar("0.0.13.0.0.255")
        for attribute in range(2, 6):
            self.read(calendar, attribute)
        return [
            calendar.calendarNameActive,
            [text(season.name) for season in calendar.seasonProfileActive],
            [[week.monday, week.sunday] for week in calendar.weekProfileTableActive],
            [
                [day.dayId, [action.scriptSelector for action in day.daySchedules]]
                for day in calendar.dayProfileTableActive
            ],
        ]

    def special_days(self) -> list[Any]:
        table = GXDLMSSpecialDaysTable("0.0.11.0.0.255")
        self.read(table, 2)
        entry = table.entries[0]
        entry.index, entry.dayId = 9, 1
        self.ask(table.insert(self.client, entry))
        self.read(table, 2)
        return [[each.index, each.dayId] for each in table.entries]

    def schedule(self) -> list[Any]:
        schedule = GXDLMSActionSchedule("0.0.15.0.0.255")
        self.read(schedule, 2)
        self.read(schedule, 4)
        return [schedule.target.logicalName, schedule.executedScriptSelector]

    def monitors(self) -> list[Any]:
        monitor, limiter = GXDLMSRegisterMonitor("0.0.16.0.0.255"), GXDLMSLimiter("0.0.17.0.0.255")
        self.read(monitor, 2)
        self.read(limiter, 4)
        self.read(limiter, 6)
        return [list(monitor.thresholds), limiter.thresholdNormal, limiter.minOverThresholdDuration]

    def push(self) -> list[Any]:
        setup = GXDLMSPushSetup("0.0.25.9.0.255")
        setup.version = 0
        self.read(setup, 2)
        self.read(setup, 6)
        return [[item.logicalName for item, _ in setup.pushObjectList], setup.numberOfRetries]

    def profile(self) -> list[int]:
        billing, seen = GXDLMSProfileGeneric("0.0.98.1.0.255"), []
        for act in (billing.capture, billing.capture, billing.reset):
            self.ask(act(self.client))
            seen.append(self.read(billing, 7))
        loads = GXDLMSProfileGeneric("1.0.99.1.0.255")
        loads.capturePeriod = 300
        loads.setDataType(4, DataType.UINT32)
        self.ask(self.client.write(loads, 4))
        return [*seen, self.read(loads, 4)]

    def events(self) -> list[Any]:
        seen = []
        for group in (0, 2):
            log = GXDLMSProfileGeneric(f"0.0.99.98.{group}.255")
            self.read(log, 3)
            seen.append([[row[0].value.strftime("%H:%M"), row[1]] for row in self.read(log, 2)])
        return seen

    def image(self) -> list[Any]:
        transfer, seen = GXDLMSImageTransfer("0.0.44.0.0.255"), []
        self.read(transfer, 2)
        self.ask(transfer.imageTransferInitiate(self.client, "firmware 3", len(IMAGE)))
        seen.append(int(self.read(transfer, 6)))
        for block in transfer.imageBlockTransfer(self.client, IMAGE, []):
            self.ask(block)
        seen += [transfer.imageBlockSize, self.read(transfer, 4)]
        for act in (transfer.imageVerify, transfer.imageActivate):
            with contextlib.suppress(PermissionError):  # the meter is busy
                self.ask(act(self.client))
            while (status := int(self.read(transfer, 6))) in (2, 5):
                pass
            seen.append(status)
        self.read(transfer, 7)
        (info,) = transfer.imageActivateInfo
        return [*seen, info.size, text(info.identification), bytes(info.signature).hex()]


def text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode()


def step(name: str, act: Callable[[], Any]) -> None:
    said: dict[str, Any] = {"step": name}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            said["value"] = act()
    except Exception as error:  # noqa: BLE001 - whatever the stack raises is the result
        said["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said, default=str), flush=True)  # noqa: T201 - the answer to who started us


def main() -> None:
    peer = HeadEnd(int(sys.argv[1]))
    for name in STEPS:
        step(name, getattr(peer, name))


STEPS = (
    *(
        "relay",
        "scripts",
        "calendar",
        "special_days",
        "schedule",
        "monitors",
        "push",
        "profile",
        "image",
        "clock",
        "events",
    ),
)
main()
