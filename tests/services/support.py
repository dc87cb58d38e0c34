"""What the tests of the services share: a clock that jumps, a link in memory, a line-based protocol and its meters."""

# ruff: noqa: ARG002 - a driver takes what the contract says, needed or not

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from headend.drivers.base import Capability, Layer, MeterModel, Notification, Overheard, Secrets, Sniff
from headend.drivers.ground import Ground, Probe
from headend.drivers.knowledge import Knowledge
from headend.errors import (
    AccessDenied,
    AuthenticationFailed,
    Busy,
    CapabilityError,
    ConnectRefused,
    HeadendError,
    LinkError,
    RemoteProtocolError,
)
from headend.model.discovery import Examination, Sighting
from headend.model.event import Event
from headend.model.job import Command, Outcome, Verdict
from headend.model.meter import Endpoint, EndpointKind, Meter, MeterIdentity
from headend.model.objects import HistoryBlock, HistoryRequest, ObjectEntry, ObjectInfo, ObjectRef, ReadPlan, ReadResult
from headend.model.profile import MeterProfile, ProfileState
from headend.model.reading import ReadingBatch
from headend.services.acquisition.lanes import Lanes
from headend.services.acquisition.poller import Poller
from headend.services.bus import Bus
from headend.services.roster import Roster
from headend.transport.exchange import Exchange
from headend.transport.link import Link
from headend.transport.memory import MemoryLink, memory_pair

EPOCH = 1_700_000_000.0
SWITCH_STATES = {"disconnect": "1", "allow-reconnect": "2", "reconnect": "3"}
"""what a unit says of its relay after a command"""


class _JumpingSelector(selectors.SelectSelector):
    """Where others would wait, the clock jumps; except while a thread is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or (self.threads and timeout > 0):
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by jumps to the next timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _future: object) -> None:
        self._jumping.threads -= 1


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in virtual time; afterwards no task may be left and no callback may have failed."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        failures: list[str] = []

        async def guarded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(str(context)))
            await test(*args, **kwargs)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(guarded())
        assert not failures, failures

    return run


def clock() -> int:
    """Milliseconds since the epoch, in step with the loop."""
    return round((EPOCH + asyncio.get_running_loop().time()) * 1000)


class Site:
    """A wire and the meters on it, by unit. `moods` says how a unit misbehaves; `log` is what was asked of them."""

    def __init__(self, values: Mapping[str, int] | None = None) -> None:
        self.values = dict(values or {"1": 230})
        self.moods: dict[str, str] = {}
        self.password = "open-sesame"
        self.log: list[str] = []
        self.switched: dict[str, str] = {}
        """the last command that each relay has carried out"""
        self.links: list[MemoryLink] = []
        self.absent = False
        self.delay: float | Callable[[], float] = 0.0
        self.connects = 0
        self.connect_delay = 0.0

    def accept(self, far: MemoryLink) -> None:
        self.links.append(far)
        far.set_receiver(_Server(self, far))

    @property
    def open_links(self) -> int:
        return sum(link.is_open for link in self.links)


class _Server:
    def __init__(self, site: Site, link: MemoryLink) -> None:
        self._site = site
        self._link = link
        self._buffer = b""

    def link_lost(self, error: LinkError) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._site.log.append(line.decode())
            self._answer(*line.decode().split())

    def _answer(self, verb: str, unit: str, *arguments: str) -> None:
        site = self._site
        mood = site.moods.get(unit, "")
        if unit not in site.values or mood == "silent":
            return
        answer = f"{unit} {site.values[unit] + 1000 * (arguments == ('f',))}\n"
        if verb == "LOGIN":
            answer = f"{unit} {'OK' if arguments == (site.password,) else 'BAD-PASSWORD'}\n"
        elif verb == "PASSWORD":
            site.password = arguments[0]
            answer = f"{unit} OK\n"
        elif verb == "SWITCH":
            if arguments[0] in SWITCH_STATES:
                site.switched[unit] = arguments[0]
            answer = f"{unit} OK\n"
        elif verb == "SWITCHED":
            answer = f"{unit} {SWITCH_STATES.get(site.switched.get(unit, ''), '0')}\n"
        if mood == "closes":
            self._link.abort()
            return
        if mood in ("busy-once", "silent-once", "closes-once"):
            del site.moods[unit]
            if mood == "closes-once":
                self._link.abort()
            elif mood == "busy-once":
                self._link.write(f"{unit} BUSY\n".encode())
            return
        answer = {
            "garbage": "\x00\xff\x01\n",
            "wrong": f"{unit} abc\n",
            "flood": "x" * 5000,
            "refuses": f"{unit} DENIED\n",
            "busy": f"{unit} BUSY\n",
        }.get(mood, answer)
        if delay := site.delay() if callable(site.delay) else site.delay:
            asyncio.get_running_loop().call_later(delay, self._link.write, answer.encode())
        else:
            self._link.write(answer.encode())


class TextSession(Exchange):
    """`READ unit address` -> `unit value`; answers of other units are ignored."""

    capabilities = frozenset({Capability.READ, Capability.RELAY})

    def __init__(self, link: Link, unit: str, timeout: float) -> None:
        super().__init__(link)
        self.unit = unit
        self.said: list[Notification] = []
        self.timeout = timeout
        self.closed = False
        self._buffer = b""

    @property
    def sound(self) -> bool:
        return self.lost is None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 1000:
            self._buffer = b""
            self.poison(RemoteProtocolError("too many octets without a line"))
            return
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            unit, _, text = line.decode("latin-1").partition(" ")
            if not unit.isdigit():
                self.poison(RemoteProtocolError("no unit in front of the line"))
            elif unit != self.unit:
                continue
            elif text == "BUSY":
                self.fail(Busy("busy"))
            elif text == "DENIED":
                self.fail(AccessDenied("denied"))
            elif text == "BAD-PASSWORD":
                self.poison(AuthenticationFailed("bad password"))
            elif text == "OK" or text.isdigit():
                self.complete(text)
            else:
                self.poison(RemoteProtocolError("neither a number nor a word of the protocol", got=text))

    async def ask(self, *words: str) -> str:
        answer: str = await self.transact((" ".join(words) + "\n").encode(), self.timeout)
        return answer

    async def identify(self) -> MeterIdentity:
        return MeterIdentity(serial=self.unit)

    async def read(self, plan: ReadPlan) -> ReadResult:
        return ReadResult(values=[int(await self.ask("READ", self.unit, entry.ref.address)) for entry in plan.entries])

    async def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        raise NotImplementedError
        yield

    async def objects(self) -> Sequence[ObjectInfo]:
        return ()

    async def execute(self, command: Command) -> Outcome:
        if command.secret is not None:
            await self.ask("PASSWORD", self.unit, command.secret.reveal().decode())
        else:
            await self.ask("SWITCH", self.unit, command.kind.value)
        return Outcome(verdict=Verdict.CONFIRMED)

    async def verify(self, command: Command, since: int) -> Outcome:
        switched = await self.ask("SWITCHED", self.unit)
        done = switched == SWITCH_STATES.get(command.kind.value)
        return Outcome(verdict=Verdict.CONFIRMED if done else Verdict.REFUSED, observed=switched)

    def forget(self) -> None:
        """Lines have nothing to remember."""

    def notifications(self) -> Sequence[Notification]:
        said, self.said = self.said, []
        return said

    async def aclose(self) -> None:
        self.closed = True
        self.stop()
        await self.link.aclose()


class TextDriver:
    name = "text"
    ports = (7,)
    capabilities = TextSession.capabilities

    def __init__(self) -> None:
        self.sessions: list[TextSession] = []

    async def attach(
        self,
        link: Link,
        meter: Meter,
        profile: MeterProfile | None,
        secrets: Secrets,
        *,
        buffered: bytes = b"",
        timeout: float = 5.0,
        knowledge: Knowledge | None = None,
    ) -> TextSession:
        session = TextSession(link, meter.params["unit"], timeout)
        self.sessions.append(session)
        session.start(buffered)
        if "secret" in secrets:
            try:
                await session.ask("LOGIN", session.unit, secrets["secret"].reveal().decode())
            except HeadendError:
                session.stop()
                raise
        return session

    def probes(self) -> Sequence[Probe]:
        return ()

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Any = None) -> Examination:
        raise CapabilityError("nothing to examine")

    def parse_ref(self, text: str) -> ObjectRef:
        return ObjectRef("text", text)

    def holds_secret(self, ref: ObjectRef) -> bool:
        return ref.address == "password"

    def check_params(self, params: Mapping[str, Any]) -> None: ...

    def serve(self, link: Link, model: MeterModel) -> None:
        raise NotImplementedError

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniff:
        return Sniff.NO

    def spoken(self, secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
        """The secrets stand in the lines as they are."""
        return [(secret.reveal(), b"*" * len(secret.reveal())) for secret in secrets.values()]

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """Words with commas between."""
        return (ObjectEntry(ref=self.parse_ref(word)) for word in text.split(",") if word)

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
        """Lines have no numbers."""
        return None

    def reseal(self, data: bytes) -> bytes:
        """Lines have no check octets."""
        return data

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """Lines are not overheard."""
        raise CapabilityError("lines are not overheard")

    def explain(self, data: bytes, secrets: Mapping[str, Any]) -> Layer:
        return Layer(name="text", offset=0, length=len(data))

    def translate(self, data: bytes, secrets: Mapping[str, Any]) -> str:
        raise CapabilityError("text has no notation in XML")


PROFILE = MeterProfile(
    id="text",
    vendor="Text",
    model="T1",
    protocol="text",
    state=ProfileState.EMULATED,
    source="tests",
    objects=(
        ObjectEntry(ref=ObjectRef("text", "u"), quantity="voltage_l1"),
        ObjectEntry(ref=ObjectRef("text", "n"), name="no quantity"),
        ObjectEntry(ref=ObjectRef("text", "f"), quantity="frequency", poll=False),
    ),
)


def meter(meter_id: str, host: str, unit: str = "1", **fields: Any) -> Meter:
    values: dict[str, Any] = {"poll_seconds": 60.0, "params": {"unit": unit}} | fields
    endpoint = Endpoint(kind=EndpointKind.TCP, host=host, port=7)
    return Meter(id=meter_id, protocol="text", framing="", endpoint=endpoint, **values)


class World:
    """A roster, lanes and a bus over sites in memory, by host."""

    def __init__(self, sites: Mapping[str, Site], **options: Any) -> None:
        self.sites = sites
        self.driver = TextDriver()
        self.bus = Bus()
        self.seen: list[Any] = []
        self.roster = Roster(self.bus, clock)
        self.secrets: dict[str, Secrets] = {}
        self.lanes = Lanes(
            self.roster,
            open_link=self.open_link,
            driver=lambda _name: self.driver,
            profile=lambda _meter: PROFILE,
            secrets=self._secrets,
            **options,
        )
        self.tape = self.bus.subscribe("tape", ReadingBatch, Event, maxsize=100_000)

    def poller(self, **options: Any) -> Poller:
        return Poller(self.roster, self.lanes, self.bus, profile=lambda _meter: PROFILE, clock=clock, **options)

    def published(self) -> list[Any]:
        """Everything published since the last call."""
        items = list(self.tape._items)
        self.tape._items.clear()
        self.tape.size = 0
        return items

    async def open_link(self, endpoint: Endpoint, timeout: float) -> Link:
        site = self.sites[endpoint.host]
        site.connects += 1
        if site.absent:
            raise ConnectRefused(f"nobody listens at {endpoint.wire}")
        await asyncio.sleep(site.connect_delay)
        near, far = memory_pair()
        site.accept(far)
        return near

    async def _secrets(self, meter: Meter) -> Secrets:
        return self.secrets.get(meter.id, {})

    async def read(self, meter_id: str, **options: Any) -> int:
        """The one value of a meter, through the door."""
        result = await self.lanes.run_job(meter_id, lambda session: session.read(PLAN), **options)
        value = result.values[0]
        assert isinstance(value, int)
        return value


PLAN = ReadPlan(entries=(PROFILE.objects[0],))
