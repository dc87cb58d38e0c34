"""The scanner against nmap: ports of loopback that are open or closed, and ports that a firewall makes silent.

The silent ones are in a network namespace of their own, where a rule drops what comes in for a port. nmap's time is what it says
itself, without its start. What is wanting here (nmap, nft, ip, the right to make a namespace) is said, and left out.

    python -m bench.scanner listen               accepts on two ports of all addresses of loopback
    python -m bench.scanner scan WINDOW TIMEOUT NETWORKS PORTS    what our scanner finds
"""

from __future__ import annotations

import hashlib
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

from bench.common import CLIENT_CORE, Result, Settings, client, module, pin, say, server
from headend.model.discovery import Hit, PortState
from headend.model.targets import parse_ports, parse_targets
from headend.services.discovery.scanner import Scanner, ScanPlan
from headend.transport.loop import run as run_loop

NETWORK: Final = "127.20.0.0/18"
"""16,384 addresses, with two open and two closed ports each"""
ANSWERING: Final = "65,536 ports of loopback, half of them open, half closed"
WINDOW: Final = 4000
TIMEOUT: Final = 0.5
SILENT: Final = "127.21.0.0-127.21.156.63"
"""40,000 addresses: ten full windows"""
SILENT_NMAP: Final = "127.21.0.0/20"
"""4,096 addresses, which nmap takes as one group"""
SILENT_PORT: Final = 4061
NMAP: Final = ("nmap", "-sT", "-n", "-Pn")
PATIENT: Final = 30.0
"""seconds that nmap has for silent targets"""
_WIDE: Final = ("-T5", "--max-retries", "0", "--min-hostgroup", "4096", "--min-parallelism")
TUNED: Final = (
    (*_WIDE, "1000"),
    (*_WIDE, "4000"),
    (*_WIDE, "4000", "--min-rate", "50000"),
    (*_WIDE, "4000", "--initial-rtt-timeout", "500ms", "--max-rtt-timeout", "500ms"),
)
"""the best of many that were tried; by itself -T5 waits 300 ms at most, and finishes no silent network in a minute"""
QUIET: Final = (
    *("unshare", "--map-root-user", "--net", "sh", "-ec"),
    f"""ip link set lo up
    nft add table ip quiet
    nft 'add chain ip quiet input {{ type filter hook input priority 0; }}'
    nft add rule ip quiet input tcp dport {SILENT_PORT} drop
    exec "$@" """,
    "sh",
)
"""runs a command where a port is silent"""


def digest(answers: Iterable[tuple[str, int, str]]) -> str:
    """Equal for the same answers in any order."""
    return hashlib.sha256(repr(sorted(answers)).encode()).hexdigest()


# --- processes ---


def listen() -> None:
    """Accept and drop."""
    poll = select.epoll()
    listeners = {}
    for _ in range(2):
        listener = socket.socket()
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - so that all of loopback is open, on ports that nobody else knows
        listener.listen(65535)
        listener.setblocking(False)  # noqa: FBT003 - its name says what it is
        listeners[listener.fileno()] = listener
        poll.register(listener.fileno(), select.EPOLLIN)
    bound = [socket.socket() for _ in range(2)]
    for closed in bound:
        closed.bind(("0.0.0.0", 0))  # noqa: S104 - it does not listen
    say(
        open=[listener.getsockname()[1] for listener in listeners.values()],
        closed=[closed.getsockname()[1] for closed in bound],
    )
    poll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
    while True:
        for fd, _ in poll.poll():
            if fd not in listeners:
                return
            try:
                for _ in range(256):
                    listeners[fd].accept()[0].close()
            except OSError:
                continue


async def scan(window: int, timeout: float, networks: str, ports: str) -> None:
    scanner = Scanner(clock=lambda: 0)
    targets = parse_targets(networks.split(","), parse_ports(ports))
    plan = ScanPlan(
        targets=targets,
        seed=1,
        rate=None,
        network_rate=None,
        window=window,
        timeout=timeout,
        kept=frozenset(PortState),
    )
    hits: list[Hit] = []
    since, cpu = time.perf_counter(), time.process_time()
    async for batch in scanner.run(plan):
        hits += batch
    seconds, cpu = time.perf_counter() - since, time.process_time() - cpu
    say(
        per_second=targets.count / seconds,
        per_cpu=targets.count / cpu,
        window=scanner.progress.window,
        counts={state.value: count for state, count in scanner.progress.counts.items() if count},
        digest=digest((hit.host, hit.port, hit.state.value) for hit in hits),
    )


def nmap(
    options: Iterable[str], network: str, ports: str, prefix: tuple[str, ...] = (), limit: float = 300
) -> dict[str, Any]:
    """What nmap finds, and how fast it says that it was; of what it did not finish in time, the hosts that it did."""
    command = [*prefix, *NMAP, *options, "-p", ports, "-oG", "-", network]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pin(child.pid, CLIENT_CORE)
    since, spent = time.perf_counter(), children_seconds()
    try:
        text, _ = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()
        text, _ = child.communicate()
    seconds, spent = time.perf_counter() - since, children_seconds() - spent
    if said := re.search(r"scanned in ([0-9.]+) seconds", text):
        seconds = float(said[1])
    answers = [
        (line.split()[1], int(port), "silent" if state == "filtered" else state)
        for line in text.splitlines()
        if "Ports: " in line
        for port, state in re.findall(r"(\d+)/(open|closed|filtered)/", line)
    ]
    counts = Counter(state for *_, state in answers)
    return {
        "per_second": len(answers) / seconds,
        "per_cpu": len(answers) / spent,
        "digest": digest(answers),
        "counts": dict(counts),
    }


def children_seconds() -> float:
    """Processor time of the children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# --- the table ---


def run(settings: Settings) -> list[Result]:
    results = both_answer(settings) if shutil.which("nmap") else [alone()]
    trial = subprocess.run([*QUIET, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        print(f"scanner: no silent targets here: {trial.stderr.strip()}", file=sys.stderr)
        return results
    return results + silent(settings)


def listening() -> Any:
    return server(module("bench.scanner", "listen"))


def ours(ports: Iterable[int]) -> dict[str, Any]:
    return client(module("bench.scanner", "scan", WINDOW, 1.0, NETWORK, ",".join(map(str, ports))))


def alone() -> Result:
    with listening() as (_, said):
        figures = ours(said["open"] + said["closed"])
    return Result(benchmark="scanner", what=ANSWERING, figure=figures["per_second"], unit="/s", note="no nmap here")


def both_answer(settings: Settings) -> list[Result]:
    with listening() as (_, said):
        ports = said["open"] + said["closed"]
        pairs = [(ours(ports), nmap(("-T5",), NETWORK, ",".join(map(str, ports)))) for _ in range(settings.repeats)]
    unlike = sum(here["digest"] != there["digest"] for here, there in pairs)
    clock, their_clock = (median(each["per_second"] for each in side) for side in zip(*pairs, strict=True))
    return [
        Result(
            benchmark="scanner",
            what=ANSWERING,
            figure=median(here["per_cpu"] for here, _ in pairs),
            unit="/s",
            against="nmap -sT -T5 -n",
            reference=median(there["per_cpu"] for _, there in pairs),
            target=0.75,
            note=f"by the clock {clock:,.0f} and {their_clock:,.0f}",
        ),
        Result(
            benchmark="scanner",
            what="runs in which nmap answers otherwise for any of them",
            figure=unlike,
            unit=f"of {len(pairs)}",
            target=0,
            at_most=True,
        ),
    ]


def silent(settings: Settings) -> list[Result]:
    command = [*QUIET, *module("bench.scanner", "scan", WINDOW, TIMEOUT, SILENT, SILENT_PORT)]
    pairs = [(client(command), best_nmap()) for _ in range(settings.repeats)]
    assert all(set(here["counts"]) == {"silent"} for here, _ in pairs)
    figure = median(here["per_second"] for here, _ in pairs)
    per_core = median(here["per_cpu"] for here, _ in pairs)
    window = min(here["window"] for here, _ in pairs)
    results = [
        Result(
            benchmark="scanner",
            what="silent targets",
            figure=figure,
            unit="/s",
            against="window / time-out",
            reference=window / TIMEOUT,
            target=0.6,
            note=f"by the clock; {window:,} at once, {TIMEOUT:g} s each; {per_core:,.0f} per second of a core",
        )
    ]
    if shutil.which("nmap"):
        results.append(
            Result(
                benchmark="scanner",
                what="silent targets",
                figure=figure,
                unit="/s",
                against="nmap, the best of its tunings",
                reference=median(there["per_second"] for _, there in pairs),
                target=2.0,
                note=" ".join(pairs[0][1]["options"]),
            )
        )
    return results


def best_nmap() -> dict[str, Any]:
    """The fastest of the tunings, by this run."""
    if not shutil.which("nmap"):
        return {}
    tried = [nmap(options, SILENT_NMAP, str(SILENT_PORT), QUIET, PATIENT) | {"options": options} for options in TUNED]
    return max(tried, key=lambda figures: float(figures["per_second"]))


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen()
    else:
        run_loop(scan(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]))
