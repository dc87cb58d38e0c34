from __future__ import annotations

import errno
import json
import resource
import select
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from itertools import islice

import pytest

from headend.model.discovery import PortState
from headend.model.targets import Target, Targets, parse_targets
from headend.transport.pace import Pace
from headend.transport.poller import Poller, Selecting
from headend.transport.scanning import BATCH, BEHIND, FLUSH_SECONDS, Batch, ConnectScan, affordable

Listen = Callable[..., int]


@pytest.fixture
def listen() -> Generator[Listen]:
    """Listens on all of 127.0.0.0/8; `silent`: with a full backlog, so that the kernel drops what comes."""
    opened: list[socket.socket] = []

    def listening(*, silent: bool = False) -> int:
        listener = socket.socket()
        listener.bind(("127.0.0.1" if silent else "0.0.0.0", 0))  # noqa: S104 - in a test, on a port that nobody knows
        listener.listen(0 if silent else 4096)
        opened.append(listener)
        port: int = listener.getsockname()[1]
        for _ in range(64 if silent else 0):
            waiting = socket.socket()
            opened.append(waiting)
            waiting.settimeout(0)
            if waiting.connect_ex(("127.0.0.1", port)) and waiting.connect_ex(("127.0.0.1", port)):
                return port
        assert not silent, "a backlog that never fills"
        return port

    yield listening
    for sock in opened:
        sock.close()


@pytest.fixture
def closed() -> Generator[int]:
    """A port that nobody listens on, and that nobody else is given meanwhile."""
    with socket.socket() as bound:
        bound.bind(("0.0.0.0", 0))  # noqa: S104 - it does not listen
        yield bound.getsockname()[1]


class VirtualTime:
    """A clock and pollers over the real sockets: where nothing is ready, time goes on at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.idle: Callable[[], object] | None = None

    def clock(self) -> float:
        return self.now

    def poller(self) -> Poller:
        return TimedPoller(self)


class TimedPoller(Selecting):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def poll(self, timeout: float, maxevents: int, /) -> list[tuple[int, int]]:
        ready = super().poll(0, maxevents)
        if not ready:
            self._time.now += timeout
            if timeout > 1 and self._time.idle:
                self._time.idle()
        return ready


POLLERS = [pytest.param(Selecting, id="selectors")]
if hasattr(select, "epoll"):
    POLLERS.append(pytest.param(select.epoll, id="epoll"))


def scan(targets: Targets, *, start: int = 0, seed: int = 1, **options: object) -> list[Batch]:
    batches: list[Batch] = []
    made: ConnectScan

    def deliver(batch: Batch) -> None:
        batches.append(batch)
        made.taken()

    made = ConnectScan(Pace(targets.walk(seed, start)), deliver, start=start, **options)  # type: ignore[arg-type] # tests
    made.run()
    return batches


def answered(batches: Sequence[Batch]) -> dict[tuple[str, int], PortState]:
    answers = [(target[1:3], state) for batch in batches for target, state, _ in batch.answers]
    assert len(answers) == len(dict(answers))
    return dict(answers)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("banner", [0.0, 0.02])
def test_open_and_closed_are_told_apart(
    listen: Listen, closed: int, poller: Callable[[], Poller], banner: float
) -> None:
    port = listen()
    targets = parse_targets(["127.9.0.0/24"], [port, closed])
    batches = scan(targets, poller=poller, banner=banner, window=100)
    assert answered(batches) == {
        (host, at): PortState.OPEN if at == port else PortState.CLOSED for _, host, at, _ in targets.walk(1)
    }
    assert batches[-1].cursor == batches[-1].done == targets.count == 512
    assert batches[-1].counts[PortState.OPEN] == batches[-1].counts[PortState.CLOSED] == 256
    assert batches[-1].window == 100


@pytest.mark.parametrize("banner", [0.0, 7.0])
def test_silence_is_waited_for_as_long_as_the_window_allows(listen: Listen, banner: float) -> None:
    """Three windows of silent targets, five seconds each; an open one that says nothing takes the place of a silent one."""
    silent, port = listen(silent=True), listen()
    time = VirtualTime()
    targets = [(at, "127.0.0.1", silent if at % 2 else port, 0) for at in range(120)]
    batches: list[Batch] = []
    made = ConnectScan(
        Pace(iter(targets)),
        lambda batch: (batches.append(batch), made.taken()),
        window=20,
        timeout=5.0,
        banner=banner,
        clock=time.clock,
        poller=time.poller,
    )
    made.run()
    assert batches[-1].counts[PortState.OPEN] == batches[-1].counts[PortState.SILENT] == 60
    if banner:
        assert 120 / 20 * 5 <= time.now - 1000 <= 120 / 20 * 7 + 5
    else:
        assert time.now - 1000 == pytest.approx(15.0, abs=FLUSH_SECONDS)


def test_what_the_network_does_not_carry_is_unreachable() -> None:
    """No TCP to a broadcast address: the kernel refuses, nothing is sent."""
    targets = parse_targets(["255.255.255.255", "224.0.0.1"], [4059])
    assert set(answered(scan(targets)).values()) == {PortState.UNREACHABLE}


def test_ipv6_or_its_absence_is_told(closed: int) -> None:
    targets = parse_targets(["::1"], [closed])
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        here = not probe.connect_ex(("::1", closed)) or probe.connect_ex(("::1", closed)) == errno.ECONNREFUSED
    found = answered(scan(targets, patience=0.0))["::1", closed]
    assert (found is PortState.CLOSED) == here


def test_a_target_without_an_address_is_left_out(closed: int) -> None:
    batches: list[Batch] = []
    source: list[Target] = [(0, "", closed, 0), (1, "127.0.0.1", closed, 0), (2, "fe80::1%nowhere", closed, 0)]
    ConnectScan(Pace(iter(source)), batches.append).run()
    assert answered(batches) == {
        ("127.0.0.1", closed): PortState.CLOSED,
        ("fe80::1%nowhere", closed): PortState.UNREACHABLE,
    }
    assert batches[-1].done == batches[-1].cursor == 3


def test_states_that_are_not_kept_are_counted(listen: Listen, closed: int) -> None:
    port = listen()
    batches = scan(parse_targets(["127.0.0.0/28"], [port, closed]), kept=frozenset({PortState.OPEN}))
    assert Counter(answered(batches).values()) == {PortState.OPEN: 16}
    assert batches[-1].counts[PortState.CLOSED] == 16


def test_it_waits_for_a_consumer_that_is_behind(closed: int) -> None:
    time, batches, drawn = VirtualTime(), [], 0
    targets = parse_targets(["127.0.0.0/18"], [closed])
    bounds = []

    def source() -> Generator[Target]:
        nonlocal drawn
        for target in targets.walk(1):
            drawn += 1
            yield target

    def idle() -> None:
        bounds.append(drawn - sum(len(batch.answers) for batch in batches))
        assert len(batches) - len(bounds) < BEHIND
        made.taken()

    time.idle = idle
    made = ConnectScan(Pace(source()), batches.append, window=50, clock=time.clock, poller=time.poller)
    made.run()
    assert len(answered(batches)) == targets.count
    assert len(bounds) >= targets.count // (BATCH + 50) - BEHIND, "it stopped for each batch"
    assert max(bounds) <= BATCH + 50, "what is under way is all that is not handed over"


def test_cancelled_and_resumed_nothing_is_lost(closed: int, listen: Listen) -> None:
    targets = parse_targets(["127.0.0.0/20"], [closed, listen()])
    first: list[Batch] = []

    def deliver(batch: Batch) -> None:
        first.append(batch)
        made.taken()
        made.cancel()

    made = ConnectScan(Pace(targets.walk(5)), deliver, window=64)
    made.run()
    assert 0 < first[-1].cursor < targets.count
    before = answered(first)
    assert {target[1:3] for target in islice(targets.walk(5), first[-1].cursor)} <= before.keys()
    after = answered(scan(targets, start=first[-1].cursor, seed=5))
    assert len(after) == targets.count - first[-1].cursor
    assert len(before | after) == targets.count


SHORT = """
import resource, socket, sys
from headend.model.targets import parse_targets
from headend.transport.pace import Pace
from headend.transport.scanning import ConnectScan
resource.setrlimit(resource.RLIMIT_NOFILE, (700, 700))
port, patience = int(sys.argv[1]), float(sys.argv[2])
targets = parse_targets(["127.0.0.0/28"], [port])
taken, answers = [], []
def deliver(batch):
    answers.extend(batch.answers)
    counts.append(batch.counts)
    if patience > 1 and len(counts) == 2:
        for each in taken: each.close()
    made.taken()
counts = []
made = ConnectScan(Pace(targets.walk(1)), deliver, patience=patience)
assert made._window < 200, made._window
while True:
    try: taken.append(socket.socket())
    except OSError: break
made.run()
assert len(answers) == 16
print(*sorted({state.name for _, state, _ in answers}))
"""


@pytest.mark.parametrize(("patience", "expected"), [(600.0, "CLOSED"), (0.05, "LIMITED")])
def test_want_of_descriptors_is_waited_out_and_never_an_answer(closed: int, patience: float, expected: str) -> None:
    """In a process that has none left until later, or at all."""
    said = subprocess.run(
        [sys.executable, "-c", SHORT, str(closed), str(patience)], capture_output=True, text=True, check=False
    )
    assert (said.stdout.strip(), said.stderr) == (expected, "")


def test_the_window_leaves_descriptors_to_everything_else() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert affordable(10) == min(10, max(1, limit - 600))
    if limit != resource.RLIM_INFINITY:
        assert affordable(1 << 30) <= max(1, limit - 500)


NAMESPACE = """
import fcntl, json, socket, struct
from pathlib import Path
from headend.transport.pace import Pace
from headend.transport.scanning import ConnectScan

with socket.socket() as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40007")

def scan(ports, **options):
    batches = []
    made = ConnectScan(Pace((at, "127.0.0.1", port, 0) for at, port in enumerate(ports)), batches.append, **options)
    made.run()
    print(json.dumps({state.name: count for state, count in batches[-1].counts.items() if count}))

scan([40000 + at % 8 for at in range(4000)])
silent, waiting = socket.socket(), [socket.socket() for _ in range(3)]
silent.bind(("127.0.0.1", 39000))
silent.listen(0)
for each in waiting:
    each.settimeout(0)
    each.connect_ex(("127.0.0.1", 39000))
scan([39000] * 20, timeout=0.2, patience=600)
scan([39000] * 20, timeout=1, patience=0)
"""


def test_a_machine_with_eight_local_ports() -> None:
    """A connection from a port to itself is no open port, and want of local ports is no answer."""
    inside = ("unshare", "--map-root-user", "--net")
    try:
        subprocess.run([*inside, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.xfail("no network namespace can be made here")
    command = [*inside, sys.executable, "-c", NAMESPACE]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    itself, waited_out, lasting = (json.loads(line) for line in made.stdout.splitlines())
    assert itself == {"CLOSED": 4000}
    assert waited_out == {"SILENT": 20}
    assert lasting.keys() == {"SILENT", "LIMITED"}
    assert sum(lasting.values()) == 20
