"""The control of a fleet from another process: one line of JSON for a request, one for its answer, on loopback only.

```text
 -> {"token": "…", "do": "break", "fault": {"kind": "silent", "meters": 0.1}, "selection": {"group": "flats"}}
 <- {"ok": true, "result": 103}
 <- {"ok": false, "code": "not-found", "message": "…", "hint": "…"}
```
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from headend.emulator.control import EVERYBODY, Control, FleetState, GroupState, MeterState, Selection
from headend.emulator.faults.kinds import Fault, FaultKind
from headend.emulator.outside import is_here
from headend.emulator.placed import Group
from headend.errors import ConfigError, ConnectRefused, HeadendError, LinkClosed, NotFound, PermissionDenied

LONGEST_LINE: Final = 1 << 22
SECONDS: Final = 30.0
"""for an answer"""
_ERRORS: Final[Mapping[str, type[HeadendError]]] = {
    kind.code: kind for kind in (ConfigError, NotFound, PermissionDenied, LinkClosed)
}

GroupReader = Callable[[str], Sequence[Group]]
"""From the text of a fleet file to its groups; see `fleet_file.load_groups`."""


def fault_of(said: Mapping[str, Any]) -> Fault:
    """A fault as JSON has it; raises ConfigError."""
    try:
        kind = FaultKind(said.get("kind"))
    except ValueError:
        raise ConfigError(
            f"there is no fault {said.get('kind')!r}", hint="one of " + ", ".join(kind.value for kind in FaultKind)
        ) from None
    numbers = {key: value for key, value in said.items() if key != "kind"}
    if not set(numbers) <= {"meters", "chance", "seconds"} or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 for value in numbers.values()
    ):
        raise ConfigError(f"fault {kind.value}: expected numbers for meters, chance and seconds")
    return Fault(kind=kind, **numbers)


def fault_as_json(fault: Fault) -> dict[str, Any]:
    """The other way round."""
    return {**asdict(fault), "kind": fault.kind.value}


def selection_of(said: Mapping[str, Any]) -> Selection:
    """A selection as JSON has it; raises ConfigError."""
    numbers = said.get("numbers", ())
    texts = said.get("group", ""), said.get("name", "")
    if not all(isinstance(text, str) for text in texts) or not (
        isinstance(numbers, list | tuple) and all(isinstance(number, int) for number in numbers)
    ):
        raise ConfigError("a selection has a group, a name and numbers")
    return Selection(group=texts[0], name=texts[1], numbers=tuple(numbers))


def _meters(control: Control, said: Mapping[str, Any], selection: Selection) -> object:
    found = control.meters(selection, offset=int(said.get("offset", 0)), limit=int(said.get("limit", 100)))
    return [{**asdict(meter), "faults": [fault_as_json(fault) for fault in meter.faults]} for meter in found]


def _clock(control: Control, said: Mapping[str, Any], _selection: Selection) -> object:
    at, speed = said.get("at"), said.get("speed")
    return asdict(control.set_clock(at=None if at is None else int(at), speed=None if speed is None else float(speed)))


_Deed = Callable[[Control, Mapping[str, Any], Selection], object]
_DEEDS: Final[Mapping[str, _Deed]] = {
    "state": lambda control, _said, _selection: asdict(control.state()),
    "groups": lambda control, _said, _selection: [asdict(group) for group in control.groups()],
    "meters": _meters,
    "count": lambda control, _said, selection: control.count(selection),
    "break": lambda control, said, selection: control.break_(fault_of(said["fault"]), selection),
    "mend": lambda control, said, selection: control.mend(
        selection, [FaultKind(kind) for kind in said.get("kinds", ())]
    ),
    "start": lambda control, _said, selection: control.start(selection),
    "stop": lambda control, _said, selection: control.stop(selection),
    "reboot": lambda control, said, selection: control.reboot(selection, float(said.get("seconds", 10.0))),
    "clock": _clock,
    "remove": lambda control, said, _selection: control.remove(str(said["group"])),
}
"""what can be asked, besides adding groups, which takes its time"""


class ControlServer:
    """Lets whoever knows the token control a fleet."""

    def __init__(self, control: Control, read_groups: GroupReader, token: str) -> None:
        self._control = control
        self._read_groups = read_groups
        self._token = token.encode()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen, and say at which port. Raises ConfigError for a place that is not on this machine, or is taken."""
        if not is_here(host):
            raise ConfigError(f"a fleet is controlled from this machine only, and not at {host}")
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LONGEST_LINE)
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        """Listen no more, and hang up."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, ValueError):
                while line := await reader.readline():
                    writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, "result": await self._do(line)}
        except HeadendError as error:
            return {"ok": False, "code": error.code, "message": error.message, "hint": error.hint}

    async def _do(self, line: bytes) -> object:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ConfigError("a request is a JSON object on a line of its own")
        token = said.get("token")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token):
            raise PermissionDenied(
                "the token is wrong", hint="it is in HEADEND_CONTROL_TOKEN, or was printed at the start"
            )
        do = str(said.get("do"))
        if do not in _DEEDS and do != "add":
            raise ConfigError(f"nobody knows how to {do!r}", hint="one of " + ", ".join((*_DEEDS, "add")))
        try:
            if do == "add":
                return [asdict(await self._control.add(group)) for group in self._read_groups(str(said["text"]))]
            return _DEEDS[do](self._control, said, selection_of(said.get("selection") or {}))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConfigError(f"{do}: a parameter is missing or wrong ({type(error).__name__})") from None


class RemoteControl:
    """The hands on a fleet in another process: the calls of `Control`, over its socket. Each raises what that raises.

    Besides LinkClosed when the process has ended, ConnectRefused when it is not there, PermissionDenied for a wrong token.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self._place = host, port
        self._token = token

    async def _ask(self, do: str, **said: object) -> Any:  # noqa: ANN401 - JSON
        host, port = self._place
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=LONGEST_LINE)
        except OSError as error:
            raise ConnectRefused(f"no fleet is controlled at {host}:{port}") from error
        try:
            writer.write(json.dumps({"token": self._token, "do": do, **said}).encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise LinkClosed(f"the fleet at {host}:{port} does not answer") from error
        finally:
            writer.close()
        if not line:
            raise LinkClosed(f"the fleet at {host}:{port} has ended")
        answer = json.loads(line)
        if not answer["ok"]:
            raise _ERRORS.get(answer["code"], HeadendError)(answer["message"], hint=answer["hint"])
        return answer["result"]

    async def state(self) -> FleetState:
        """The fleet as a whole."""
        return FleetState(**await self._ask("state"))

    async def groups(self) -> Sequence[GroupState]:
        """The groups, in the order of their numbers."""
        return [GroupState(**group) for group in await self._ask("groups")]

    async def meters(
        self, selection: Selection = EVERYBODY, *, offset: int = 0, limit: int = 100
    ) -> Sequence[MeterState]:
        """The meters of a selection, a page of them."""
        found = await self._ask("meters", selection=_said(selection), offset=offset, limit=limit)
        return [MeterState(**{**meter, "faults": tuple(map(fault_of, meter["faults"]))}) for meter in found]

    async def count(self, selection: Selection = EVERYBODY) -> int:
        """How many meters a selection has."""
        return int(await self._ask("count", selection=_said(selection)))

    async def break_(self, fault: Fault, selection: Selection = EVERYBODY) -> int:
        """Let a share of these meters have a fault; says how many."""
        return int(await self._ask("break", fault=fault_as_json(fault), selection=_said(selection)))

    async def mend(self, selection: Selection = EVERYBODY, kinds: Sequence[FaultKind] = ()) -> int:
        """Take faults away from meters; says how many had any."""
        return int(await self._ask("mend", selection=_said(selection), kinds=[kind.value for kind in kinds]))

    async def stop(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters off."""
        return int(await self._ask("stop", selection=_said(selection)))

    async def start(self, selection: Selection = EVERYBODY) -> int:
        """Switch meters on again."""
        return int(await self._ask("start", selection=_said(selection)))

    async def reboot(self, selection: Selection = EVERYBODY, seconds: float = 10.0) -> int:
        """Reboot meters."""
        return int(await self._ask("reboot", selection=_said(selection), seconds=seconds))

    async def set_clock(self, *, at: int | None = None, speed: float | None = None) -> FleetState:
        """Set the fleet's clock."""
        return FleetState(**await self._ask("clock", at=at, speed=speed))

    async def add(self, text: str) -> Sequence[GroupState]:
        """Let there be the groups of the text of a fleet file."""
        return [GroupState(**group) for group in await self._ask("add", text=text)]

    async def remove(self, group: str) -> int:
        """Let the meters of a group be no more; says how many there were."""
        return int(await self._ask("remove", group=group))


def _said(selection: Selection) -> dict[str, Any]:
    return {"group": selection.group, "name": selection.name, "numbers": list(selection.numbers)}
