"""The driver: all that services, the emulator, the CLI and the console know of a protocol.

A protocol package exports one `Driver` under the entry point group `headend.drivers`. One link has one owner: `attach`
makes a Session that owns a link we opened (or that a meter opened), `serve` makes a virtual meter own one.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from headend.drivers.ground import Ground, Probe
from headend.drivers.knowledge import Knowledge
from headend.errors import RemoteProtocolError
from headend.model.discovery import Examination, Sighting
from headend.model.job import Command, Outcome
from headend.model.meter import EndpointKind, Meter, MeterIdentity, Secret
from headend.model.objects import (
    HistoryBlock,
    HistoryRequest,
    ObjectEntry,
    ObjectInfo,
    ObjectRef,
    RawValue,
    ReadPlan,
    ReadResult,
)
from headend.model.profile import LoadProfile, MeterProfile
from headend.model.reading import Value
from headend.protocols.base import CounterStore
from headend.transport.link import Link

Secrets: TypeAlias = Mapping[str, Secret]
"""Secrets of one meter by URL parameter: `secret`, `ek`, `ak`, `mk`."""
NO_SECRETS: Final[Secrets] = MappingProxyType({})


class Capability(enum.Enum):
    """What a driver, a meter profile or a session can do. Asking for one that is absent raises CapabilityError."""

    READ = "read"
    HISTORY = "history"
    OBJECTS = "objects"
    RELAY = "relay"
    CLOCK = "clock"
    FREEZE = "freeze"
    RESET = "reset"
    """of demand, meter or events"""
    SECRETS = "secrets"
    """changes of passwords and keys"""
    WRITE = "write"
    PUSH = "push"


class Defect(enum.Enum):
    """What can be wrong with a frame that only those see who know the framing."""

    HEADER_CHECK = "header-check"
    """the check of its header, where that has one of its own"""
    FRAME_CHECK = "frame-check"
    ADDRESS = "address"
    """it is addressed to, or comes from, somebody else, with right checks"""


class Trouble(enum.Enum):
    """What can be wrong with a virtual meter that its driver's meter role does on purpose, where the protocol has such a thing."""

    REFUSES_ASSOCIATION = "refuses-association"
    """for good, and without a reason"""
    NO_ASSOCIATION_LEFT = "no-association-left"
    """all that it can have are taken: later, perhaps"""
    ABORTS_BLOCKS = "aborts-blocks"
    """gives up every answer after its first block"""
    COUNTS_ANEW = "counts-anew"
    """what it counts its ciphered messages by begins at 1 with each association"""
    WRONG_SCALER = "wrong-scaler"
    """it says of each register that its value is ten times as much"""


class Sniff(enum.Enum):
    """What a driver says to octets of a link that a meter opened, when it does not recognise them."""

    NO = "no"
    NEED_DATA = "need-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniffed:
    """What a driver recognises in octets of a link that a meter opened.

    What was told by octets up to `end` is told by any that begin with the same: a driver looks no further than it must.
    """

    framing: str
    """as `Meter.framing` names it"""
    end: int
    """the offset behind the octets that told it, or made it likely"""
    whole: bool = True
    """False where it is only likely, and octets must come that make it certain: what else begins in it has to wait"""
    sure: bool = False
    """by check octets, or more structure than noise has: to be believed where noise comes first, too"""
    address: str = ""
    """of the meter, where the frame says it"""
    label: str = ""
    """a word for it; without one, the name of the driver and the framing"""


PushList: TypeAlias = Sequence[ObjectRef | None]
"""What the values of a push are that does not say it itself, in its order; None for what is no attribute alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a meter said unasked: `values` by object, or a plain body where the meter names no objects.

    `scales` holds power of ten and base unit of those values whose scaler the push itself tells and the meter file does not.
    """

    kind: str
    body: RawValue
    measured_at: int | None = None
    values: Mapping[ObjectRef, RawValue] = field(default_factory=dict)
    scales: Mapping[ObjectRef, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What somebody sent to a listener, out of its frames and blocks; `identity` is what it says about its sender."""

    octets: bytes
    identity: MeterIdentity
    address: str
    """of the sender in its framing, for people"""
    sealed: bool = True
    """False for one that is in plain, whose unsealing waits for nothing"""


class Ear(Protocol):
    """Takes what comes over one link, or in the datagrams of one peer, from whoever speaks there. Never raises."""

    named: bool
    """it is known who speaks there: what a push says of its sender need not be looked for"""

    def receive(self, data: bytes) -> Sequence[Push | RemoteProtocolError]:
        """The pushes that these octets complete, and what was wrong between them."""

    def boundary(self) -> None:
        """A datagram ends here: a frame that is incomplete stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a decoded frame: a name, where it lies in the input, its fields, what it carries, what is wrong in it."""

    name: str
    offset: int
    length: int
    fields: Sequence[tuple[str, str, int, int]] = ()
    """(name, value as text, offset, length) in the order of the octets"""
    layers: Sequence[Layer] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheard:
    """What a meter told somebody else: `seen` holds raw value, power of ten and base unit by object.

    `infos` are the objects, where the protocol says more of them than their meter file; `params` how the meter was asked.
    """

    seen: Mapping[ObjectRef, tuple[RawValue, int, str]]
    infos: Mapping[ObjectRef, ObjectInfo] = field(default_factory=dict)
    framing: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


class Session(Protocol):
    """A conversation with one meter, opened by `Driver.attach`; lives in a lane. One call at a time.

    Every call raises errors of the tree in `headend.errors`. After a LinkError or a ProtocolError the session is not
    `sound` any more and must be closed; after a MeterError it goes on.
    """

    capabilities: frozenset[Capability]

    @property
    def sound(self) -> bool:
        """False when the session must not be used again."""

    async def identify(self) -> MeterIdentity:
        """Ask the meter who it is."""

    async def read(self, plan: ReadPlan) -> ReadResult:
        """Read all entries of a plan. An entry that the meter refuses is an error in the result, not an exception."""

    def read_history(self, request: HistoryRequest) -> AsyncIterator[HistoryBlock]:
        """Read a load profile block by block; never the whole of it in memory."""

    async def objects(self) -> Sequence[ObjectInfo]:
        """The meter's own object list, or the profile's where the protocol has none."""

    async def clock(self) -> int:
        """What the meter's clock shows, in milliseconds; raises CapabilityError where there is none that tells the time."""

    def forget(self) -> None:
        """Ask the meter anew for what it does not change (scalers, columns, object list), when that is needed next."""

    async def execute(self, command: Command) -> Outcome:
        """Carry out a command and verify it by reading back. Never repeats a command by itself."""

    async def verify(self, command: Command, since: int) -> Outcome:
        """See by reading alone whether a command that was sent at `since` (milliseconds) has taken effect; changes nothing.

        CONFIRMED: the meter is as the command leaves it. REFUSED: it is not. UNKNOWN: reading cannot tell.
        """

    def notifications(self) -> Sequence[Notification]:
        """Take what the meter said unasked since the last call."""

    async def push_lists(self) -> Sequence[PushList]:
        """Ask the meter what it pushes; none where the protocol has no such thing."""

    async def aclose(self) -> None:
        """Release the association and close the link, within two seconds whatever the meter does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What a meter sends of its own accord, between two times of its clock; `delay` seconds pass between tries."""

    kind: EndpointKind
    host: str
    port: int
    octets: bytes = field(repr=False)
    not_before: int
    not_after: int
    retries: int = 0
    delay: int = 0


class MeterModel(Protocol):
    """A virtual meter as a driver's meter role sees it. All times are milliseconds, all values in base units."""

    @property
    def profile(self) -> MeterProfile:
        """The meter file."""

    @property
    def identity(self) -> MeterIdentity:
        """Who it says it is. May be made anew at each call: ask once per association."""

    @property
    def params(self) -> Mapping[str, str]:
        """Addressing of this one meter, as in Meter.params."""

    @property
    def secrets(self) -> Secrets:
        """Its secrets by parameter; must not be shown."""

    troubles: frozenset[Trouble]
    """What is wrong with it on purpose; changes at any time."""
    keyring: object
    """What the driver's meter role keeps of the meter's security beyond a link; None until it keeps something."""
    memory: object
    """What it keeps of what was written and done, likewise."""

    @property
    def began_at(self) -> int:
        """Since when the meter runs, by its clock: before that nothing was due."""

    def now(self) -> int:
        """The meter's own clock."""

    def turn_back(self, at: int | None) -> None:
        """Let the clock show a time that has gone by, so that what is overdue is done at its time; None: the present again."""

    def wake_at(self, at: int, call: Callable[[], None]) -> None:
        """Call at a time of the meter's clock, instead of what was asked for before; where a meter has no outside, never."""

    def post(self, outgoing: Outgoing) -> None:
        """Send something, without waiting for it; raises HeadendError when that cannot be."""

    def value(self, index: int, at: int) -> Value:
        """The value of `profile.objects[index]` at a time, in the base unit of its quantity (texts as they are)."""

    def current_value(self, index: int) -> Value:
        """The same now."""

    def write(self, index: int, value: Value) -> None:
        """Set a writable object; raises AccessDenied."""

    def set_clock(self, at: int) -> None:
        """Set the meter's clock."""

    def relay_closed(self) -> bool:
        """True while the load is supplied."""

    def switch_relay(self, *, closed: bool) -> None:
        """Open or close the load relay."""

    def entries_in_use(self, load_profile: LoadProfile, at: int) -> int:
        """How many rows the load profile holds at a time."""

    def row(self, load_profile: LoadProfile, entry: int, at: int) -> tuple[int, Sequence[Value]]:
        """Row `entry` (1 = oldest held at time `at`): its time and the values of its columns without the clock column."""

    def entry_range(self, load_profile: LoadProfile, start: int, end: int, at: int) -> tuple[int, int]:
        """First and last entry whose time t holds start <= t <= end; (1, 0) when there is none."""


class Driver(Protocol):
    """A protocol, as everybody above the drivers sees it."""

    name: str
    ports: tuple[int, ...]
    """default ports, most likely first"""
    capabilities: frozenset[Capability]

    def parse_ref(self, text: str) -> ObjectRef:
        """Check and canonicalise an object address (without the protocol's name); raises ConfigError."""

    def holds_secret(self, ref: ObjectRef) -> bool:
        """Is this an object whose value goes into no record? It is changed by change-secret alone, never by a write."""

    def candidates(self, text: str) -> Iterator[ObjectEntry]:
        """Objects that a meter may have, for a probe: the curated list for an empty text, else a range or pattern of them.

        Raises ConfigError that says how ranges of this protocol are written.
        """

    def check_params(self, params: Mapping[str, Value]) -> None:
        """Check link and association parameters of a profile or a meter; raises ConfigError naming the parameter."""

    def use_counters(self, store: CounterStore) -> None:
        """From now on keep there what must never repeat, not even after a restart; a protocol without security keeps nothing."""

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
    ) -> Session:
        """Own an open link, establish whatever the protocol needs, and return the session; `timeout` is per request.

        With `knowledge` the session begins with what earlier ones have learned of the meter, and adds to it.
        """

    def probes(self) -> Sequence[Probe]:
        """The questions of discovery whether somebody speaks this protocol, cheap and harmless first. None holds a secret."""

    async def examine(self, ground: Ground, sighting: Sighting, secrets: Secrets = NO_SECRETS) -> Examination:
        """Learn all that somebody shows who was sighted, within the budget; with secrets of its owner, more.

        Never tries a secret that was not given, and one that was given only once. What ends it early is told in the result:
        it raises LinkError alone, when the place cannot be reached any more at its beginning.
        """

    def serve(self, link: Link, model: MeterModel) -> None:
        """Play the meter on a link until it closes. Returns at once; holds no task and no timer while the link is idle."""

    def spoil(self, data: bytes, defect: Defect) -> bytes:
        """Whole frames of a meter with a defect; as they are where its framing has no such thing."""

    def imitate(self, profile: MeterProfile) -> MeterProfile:
        """The profile of a meter whose object list is known: `listed` with values and load profiles, where their kind is told.

        The same profile where the protocol has no object lists. Raises ConfigError for an object that cannot be.
        """

    def check_file(self, profile: MeterProfile) -> None:
        """Check what only virtual meters of a meter file need: types, clients, functions; raises ConfigError."""

    def begin(self, model: MeterModel) -> None:
        """A virtual meter that does something of its own accord begins to do it, though nobody has met it yet."""

    def sniff(self, data: bytes, at: int = 0, *, silent: bool = False) -> Sniffed | Sniff:
        """Does a frame of this protocol begin at an offset of what came over an inbound link?

        `silent`: nothing more came for a while. Otherwise the answer to octets and to what begins with them is the same,
        unless it is NEED_DATA.
        """

    def listen(self, max_octets: int) -> Ear:
        """Hear pushes of at most so many octets on a link that somebody opened; raises CapabilityError."""

    def unseal(self, push: Push, meter: Meter, profile: MeterProfile | None, secrets: Secrets) -> Push:
        """The push of a known meter without its protection. It may wait for a disk: not for the event loop.

        Raises SecurityError, also for one that came before or is less protected than the meter's parameters ask for.
        """

    def understand(
        self, push: Push, meter: Meter | None, profile: MeterProfile | None, lists: Sequence[PushList] = ()
    ) -> Notification:
        """What a push says. `lists` are those that the meter may push; raises KeyMissing for one that is ciphered."""

    def spoken(self, secrets: Secrets) -> Sequence[tuple[bytes, bytes]]:
        """How those of the secrets that are ever sent stand in frames, and what takes their place, of the same length."""

    def reseal(self, data: bytes) -> bytes:
        """The same frames, of which octets were masked, with check octets that are right again."""

    def renumber(self, request: bytes, recorded: bytes, answer: bytes) -> bytes | None:
        """The recorded answer with the number of a request that differs from the recorded one by its number alone."""

    def overhear(self, exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
        """What was read in recorded exchanges of one conversation, in plain: requests and what answered them, in their order.

        Octets that are something else are passed over. Raises CapabilityError for a protocol that needs a meter file, without one.
        """

    def explain(self, data: bytes, secrets: Secrets = NO_SECRETS) -> Layer:
        """Decode any frames of the protocol, layer by layer. Malformed input ends in a layer with `error` set.

        `secrets` decipher it; one that cannot be right raises ConfigError, and nothing else is raised.
        """

    def translate(self, data: bytes, secrets: Secrets = NO_SECRETS) -> str:
        """The same frames as XML, in the notation that tools of the protocol share.

        Raises DecodeError for what is malformed, ConfigError as `explain` does, and CapabilityError where there is none.
        """
