"""Remote calls: what the platform asks of a meter, in the words of our requests, and what it is answered.

The methods are those of MQTT requests (`read`, `disconnect`, `reconnect`, `set-clock` …), also written as `setClock` or
`set_clock`; `setValue` and `getValue` are the habit of the platform's switches, and mean the relay.

The platform numbers its calls from zero when it restarts, and sends a call that it keeps for a device again when the device
comes back. So a number names a call only for a while: the same number with the same content, within that time, is the same
call, and is answered again without being done again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from headend.errors import (
    Busy,
    CapabilityError,
    ConfigError,
    Conflict,
    HeadendError,
    LinkTimeout,
    NotFound,
    PermissionDenied,
    RemoteProtocolError,
)
from headend.model.jsontext import dumps
from headend.model.meter import NO_PARAMS
from headend.northbound.topics import MAX_REQUEST, Request, UnknownMethod, UnknownRegister
from headend.services.roster import Clock

SAME_CALL_MS: Final = 600_000
REMEMBERED: Final = 10_000
CALLS_AT_ONCE: Final = 200
AROUND: Final = 512
"""octets around an answer: the device's name, the number"""
RELAY_OBIS: Final = "0-0:96.3.10.255"
SWITCH: Final = "set_value"
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")

Answer = Callable[[Request], Awaitable[object]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A remote call: for a device, by its name; for the gateway itself where that is None."""

    device: str | None
    id: int
    method: str
    params: Any


def parse_gateway_call(payload: bytes) -> Call:
    """`{"device": …, "data": {"id": …, "method": …, "params": …}}`; raises RemoteProtocolError."""
    document = parse_object(payload)
    data = document.get("data")
    if not isinstance(document.get("device"), str) or not isinstance(data, dict):
        raise RemoteProtocolError("a remote call without device or data")
    return _call(document["device"], data.get("id"), data)


def parse_device_call(topic: str, payload: bytes) -> Call:
    """`{"method": …, "params": …}` on `…/rpc/request/ID`; raises RemoteProtocolError."""
    number = topic.rpartition("/")[2]
    return _call(None, int(number) if number.isdecimal() else None, parse_object(payload))


def parse_gateway_attributes(payload: bytes) -> tuple[str, Mapping[str, Any]]:
    """A device and shared attributes of it that were set; raises RemoteProtocolError."""
    document = parse_object(payload)
    device, data = document.get("device"), document.get("data")
    if not isinstance(device, str) or not isinstance(data, dict):
        raise RemoteProtocolError("attributes without device or data")
    return device, data


def parse_object(payload: bytes) -> dict[str, Any]:
    """A JSON object from the platform; raises RemoteProtocolError."""
    try:
        document = orjson.loads(payload) if len(payload) <= MAX_REQUEST else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise RemoteProtocolError("expected a JSON object from the platform")
    return document


def _call(device: str | None, number: object, said: Mapping[str, Any]) -> Call:
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(said.get("method"), str):
        raise RemoteProtocolError("a remote call without number or method")
    return Call(device=device, id=number, method=said["method"], params=said.get("params"))


def request_of(call: Call, meter_id: str, name: str, seconds: float) -> Request:
    """The request that a call means; `name` is unique among the calls of all times. Raises ConfigError."""
    method, params = _snake(call.method), call.params
    if method == SWITCH:
        switch = params.get("value") if isinstance(params, Mapping) else params
        if not isinstance(switch, bool):
            raise ConfigError("setValue switches the relay: expected true (connected) or false")
        method, params = ("reconnect" if switch else "disconnect"), {}
    elif method == "get_value":
        method, params = "read_register", params if isinstance(params, Mapping) and params else {"obis": RELAY_OBIS}
    if isinstance(params, str):
        with suppress(orjson.JSONDecodeError):
            params = orjson.loads(params) if params.strip() else {}
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise ConfigError('expected "params" to be an object')
    return Request(meter_id=meter_id, id=name, method=method, params=params, deadline=seconds)


def _snake(method: str) -> str:
    return _HUMP.sub(r"_\1", method).lower()


def result_of(call: Call, result: object) -> object:
    """What a call is answered."""
    if call.method == "getValue" and isinstance(result, Mapping) and "value" in result:
        return result["value"]
    return {"success": True} if result is None else result


def bounded(result: object, octets: int) -> object:
    """An answer that fits into a message: the platform hangs up on a longer one."""
    length = len(dumps(result))
    if length + AROUND <= octets:
        return result
    return {"error": f"the answer has {length} octets: ask for less", "code": 413, "reason": "too-long"}


def refusal_of(error: HeadendError) -> dict[str, Any]:
    """What a call is answered that came to nothing: the words and a code as HTTP has them, and the code of our tree."""
    return {"error": str(error), "code": _code(error), "reason": error.code}


def _code(error: HeadendError) -> int:
    if isinstance(error, NotFound | UnknownMethod | UnknownRegister):
        return 404
    if isinstance(error, PermissionDenied):
        return 403
    if isinstance(error, LinkTimeout):
        return 408
    if isinstance(error, ConfigError | CapabilityError):
        return 400
    return 409 if isinstance(error, Conflict) else 503 if isinstance(error, Busy) else 500


class Calls:
    """Does what calls ask, each once. Outlives connections."""

    def __init__(
        self, name: str, answer: Answer, clock: Clock, seconds: float, shared: Mapping[str, str] = NO_PARAMS
    ) -> None:
        """`name` of the sink; `seconds` that a call may take; `shared` attributes and what is called when they are set."""
        self.shared = shared
        self._marks: dict[tuple[str, str], str] = {}
        """by device and shared attribute: the value that was done last"""
        self._name = name
        self._answer = answer
        self._clock = clock
        self._seconds = seconds
        self._since = clock()
        self._number = 0
        self._running = 0
        self._done: OrderedDict[bytes, tuple[int, asyncio.Task[object]]] = OrderedDict()

    async def answer(self, call: Call, meter_id: str | None) -> object:
        """What the platform is answered; never raises an error of the tree."""
        if meter_id is None:
            return refusal_of(NotFound(f"no meter stands behind the device {call.device!r}"))
        try:
            task = self._same(call, meter_id) or self._begin(call, meter_id)
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
            if done:
                return result_of(call, task.result())
            return refusal_of(LinkTimeout(f"not done within {self._seconds:g} s; it goes on"))
        except HeadendError as error:
            return refusal_of(error)
        except Exception:
            log.exception("a remote call failed", sink=self._name, meter=meter_id)
            return refusal_of(HeadendError("an internal error; the log says more"))

    async def attributes(self, said: Mapping[str, Any], device: str, meter_id: str | None) -> dict[str, Any]:
        """Do what shared attributes that were set ask for; returns attributes that say how it went, and what was done."""
        outcomes = {}
        for name, value in said.items():
            if name in self.shared:
                self._number += 1  # no number of the platform's: each time that it is set is another call
                call = Call(device=device, id=-self._number, method=self.shared[name], params=value)
                mark = self._marks[device, name] = _mark(value)
                outcomes[f"{name}_outcome"] = await self.answer(call, meter_id)
                outcomes[f"{name}_done"] = mark
        return outcomes

    async def catch_up(
        self,
        name: str,
        value: object,
        device: str,
        meter_id: str | None,
        told: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> dict[str, Any]:
        """Do what a shared attribute asks for that was set while nobody heard it, and no value twice.

        What was done last is known here or, after a restart, by the platform: `told` asks it for our attributes
        `NAME_done` and `NAME_outcome`. Where there is an outcome alone nobody knows what was done, and nothing is repeated.
        """
        mark = _mark(value)
        done = self._marks.get((device, name))
        if done is None:
            said = await told()
            done = self._marks.get((device, name)) or said.get(f"{name}_done")
            if done is None and f"{name}_outcome" in said:
                done = mark
        if done == mark:
            self._marks[device, name] = mark
            return {}
        return await self.attributes({name: value}, device, meter_id)

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [task for _, task in self._done.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _same(self, call: Call, meter_id: str) -> asyncio.Task[object] | None:
        """What does this very call already, or has done it."""
        now = self._clock()
        while self._done:
            at, task = next(iter(self._done.values()))
            if not task.done() or (at > now - SAME_CALL_MS and len(self._done) <= REMEMBERED):
                break
            self._done.popitem(last=False)
        found = self._done.get(_content(call, meter_id))
        return found[1] if found is not None and found[0] > now - SAME_CALL_MS else None

    def _begin(self, call: Call, meter_id: str) -> asyncio.Task[object]:
        if self._running >= CALLS_AT_ONCE:
            raise Busy(f"more than {CALLS_AT_ONCE} calls at once")
        self._number += 1
        request = request_of(call, meter_id, f"{self._name}:{self._since}:{self._number}", self._seconds)
        self._running += 1
        do = self._switch if _snake(call.method) == SWITCH else self._do
        task = asyncio.create_task(do(request), name="thingsboard-call")
        task.add_done_callback(_seen)
        content = _content(call, meter_id)
        self._done.pop(content, None)
        self._done[content] = self._clock(), task
        return task

    async def _do(self, request: Request) -> object:
        try:
            return await self._answer(request)
        finally:
            self._running -= 1

    async def _switch(self, request: Request) -> object:
        """A switch has no second step: whoever turned it has confirmed it, where a code is enough for that."""
        told = await self._do(request)
        match told:
            case {"confirmation": "required", "job": str(job), "code": str(code)} if code:
                params = {"job": job, "code": code}
                return await self._answer(Request(meter_id=request.meter_id, id="", method="confirm", params=params))
        return told


def _mark(value: object) -> str:
    """A value in a few letters, which no platform takes for a number."""
    return f"v{hashlib.sha256(dumps(value)).hexdigest()[:16]}"


def _seen(task: asyncio.Task[object]) -> None:
    """Whoever asked may have gone: how it ended is known all the same."""
    if not task.cancelled():
        task.exception()


def _content(call: Call, meter_id: str) -> bytes:
    return dumps([meter_id, call.id, call.method, call.params])
