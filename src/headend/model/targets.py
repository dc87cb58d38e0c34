"""What a scan goes through: addresses times ports, in an order that is shuffled, repeatable and never held in memory.

```text
10.0.0.0/16   10.0.0.7   10.0.0.1-10.0.3.250   10.0.0.1-99   fd00::/120   fd00::1-fd00::ff   meter-17.example
```

Addresses are kept as spans, with the excluded ones cut out, so that every number below `Targets.count` is a target. A
permutation of these numbers, made of a seed, spreads neighbours in time over all networks; a position in it is all that a scan
needs to go on later. Every address of a network counts, the first and the last, too: in a larger network they are hosts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import accumulate
from math import isqrt
from typing import Final, NamedTuple, TypeAlias

from headend.errors import ConfigError, PermissionDenied

MAX_TARGETS: Final = 1 << 24
"""addresses times ports of one scan: all of 10.0.0.0/8 on one port"""

PRIVATE: Final = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
)
"""Networks that may be scanned where nothing else is configured: private (RFC 1918), loopback, link-local, unique local."""

_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_OCTETS: Final = tuple(str(octet) for octet in range(256))
_EXPECTED: Final = "expected a network (10.0.0.0/16), an address, a range (10.0.0.1-10.0.3.250, 10.0.0.1-99) or a name"


class Span(NamedTuple):
    """Addresses from `first` to `last`, both included, as numbers of IP version 4 or 6."""

    version: int
    first: int
    last: int

    def __str__(self) -> str:
        first, last = address_text(self.version, self.first), address_text(self.version, self.last)
        return first if first == last else f"{first}-{last}"

    @property
    def size(self) -> int:
        """How many addresses."""
        return self.last - self.first + 1


Target: TypeAlias = tuple[int, str, int, int]
"""Position in the order, address or name, port, and the /24 or /64 as a number (UNKNOWN for a name)."""
UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Disjoint spans in ascending order, names, and the ports that are tried at each of them."""

    spans: tuple[Span, ...] = ()
    names: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Addresses and names, times ports."""
        return (sum(span.size for span in self.spans) + len(self.names)) * len(self.ports)

    def walk(self, seed: int, start: int = 0) -> Iterator[Target]:
        """All targets once, in the order of the seed, from a position on."""
        spans, names, ports, width = self.spans, self.names, self.ports, len(self.ports)
        starts = [0, *accumulate(span.size for span in spans)]
        addresses = starts.pop()
        networks: dict[int, str] = {}
        for position, index in order(self.count, seed, start):
            host = index // width
            port = ports[index - host * width]
            if host >= addresses:
                yield position, names[host - addresses], port, UNKNOWN
                continue
            at = bisect_right(starts, host) - 1
            version, first, _ = spans[at]
            number = first + host - starts[at]
            if version == 4:
                prefix = number >> 8
                network = networks.get(prefix)
                if network is None:
                    network = networks[prefix] = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}."
                yield position, network + _OCTETS[number & 255], port, prefix
            else:
                yield position, str(IPv6Address(number)), port, prefix6(number)


def prefix6(number: int) -> int:
    """The /64 of an IPv6 address, as a number that no /24 of IPv4 has."""
    return (number >> 64) + (1 << 24)


def prefix_of(address: str) -> int:
    """The /24 or /64 of an address, as `Targets.walk` numbers it."""
    parsed = ip_address(address.partition("%")[0])
    return int(parsed) >> 8 if parsed.version == 4 else prefix6(int(parsed))


def order(size: int, seed: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Positions from `start` on, each with its number: a permutation of range(size) that a seed makes, one at a time.

    Four rounds of a Feistel network over the smallest rectangle that holds `size`; what falls outside is sent through again until
    it falls inside, which keeps it a permutation (Black and Rogaway, 2002).
    """
    if not size:
        return
    columns = isqrt(size - 1) + 1
    rows = -(-size // columns)
    first, third = _table(seed, 1, rows, columns), _table(seed, 3, rows, columns)
    second, fourth = _table(seed, 2, columns, rows), _table(seed, 4, columns, rows)
    for position in range(start, size):
        index = position
        while True:
            row = index // columns
            column = index - row * columns
            column = (column + first[row]) % columns
            row = (row + second[column]) % rows
            column = (column + third[row]) % columns
            row = (row + fourth[column]) % rows
            index = row * columns + column
            if index < size:
                break
        yield position, index


def _table(seed: int, number: int, length: int, below: int) -> Sequence[int]:
    """The function of one round, as a table; the same for ever, because stored scans go on by it."""
    octets = shake_256(f"{seed}/{number}".encode()).digest(4 * length)
    return [int.from_bytes(octets[at : at + 4], "big") % below for at in range(0, 4 * length, 4)]


# --- from text ---


def read_list(text: str) -> tuple[str, ...]:
    """The entries of a list: one a line, `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def parse_targets(
    entries: Iterable[str], ports: Sequence[int], *, excluded: Iterable[str] = (), limit: int = MAX_TARGETS
) -> Targets:
    """The targets that entries name, without the excluded ones; raises ConfigError that names the entry that is wrong.

    The address behind a name is known only when it is resolved: whether it is excluded is to be asked then, of
    `parse_spans(excluded)`.
    """
    spans, names = _parse(entries)
    left_out, names_left_out = _parse(excluded)
    kept = subtract(merge(spans), merge(left_out))
    targets = Targets(
        spans=kept,
        names=tuple(name for name in dict.fromkeys(names) if name not in names_left_out),
        ports=tuple(dict.fromkeys(ports)),
    )
    if not targets.ports:
        raise ConfigError("a scan needs a port", hint="name ports, or a protocol that has some")
    if not targets.count:
        raise ConfigError("no target is left to scan", hint="name networks, addresses or hosts that are not excluded")
    if targets.count > limit:
        raise ConfigError(
            f"{targets.count} targets (addresses times ports) are more than the {limit} of one scan",
            hint="scan smaller networks or fewer ports",
        )
    return targets


def parse_spans(entries: Iterable[str]) -> tuple[Span, ...]:
    """The addresses that entries name, as spans; names among them are left out."""
    return merge(_parse(entries)[0])


def parse_ports(text: str, protocols: Mapping[str, Sequence[int]] | None = None) -> tuple[int, ...]:
    """Ports as `4059,4060,8000-8010`; a name of `protocols` stands for its ports. Raises ConfigError."""
    ports: list[int] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        if protocols is not None and item in protocols:
            ports += protocols[item]
            continue
        first, dash, last = (part.strip() for part in item.partition("-"))
        last = last if dash else first
        if not (_digits(first, 5) and _digits(last, 5) and 1 <= int(first) <= int(last) <= 65535):
            known = f" or one of {', '.join(sorted(protocols))}" if protocols else ""
            raise ConfigError(f"port {item!r}: expected 1 to 65535, as 4059 or 8000-8010{known}")
        ports += range(int(first), int(last) + 1)
        if len(ports) > 2 * 65535:
            raise ConfigError("ports: the same ones are named again and again")
    return tuple(dict.fromkeys(ports))


def _digits(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most


def _parse(entries: Iterable[str]) -> tuple[list[Span], list[str]]:
    """The spans and the names among entries."""
    spans: list[Span] = []
    names: list[str] = []
    for entry in (entry.strip() for entry in entries):
        span = _span(entry)
        if span is not None:
            spans.append(span)
        elif "%" in entry and _address(entry.partition("%")[0]) is not None:
            names.append(entry)  # the zone has a meaning on this machine only: resolved like a name
        elif not _NAME.fullmatch(entry) or re.fullmatch(r"[0-9.-]+", entry):
            raise ConfigError(f"target {entry!r}: {_EXPECTED}")
        else:
            names.append(entry.lower().removesuffix("."))
    return spans, names


def _span(entry: str) -> Span | None:
    """The span that an entry names; None where it may be a name."""
    if "%" in entry:
        return None
    if "/" in entry:
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            raise ConfigError(f"target {entry!r}: {_EXPECTED}") from None
        return Span(network.version, int(network[0]), int(network[-1]))
    left, dash, right = (part.strip() for part in entry.partition("-"))
    first = _address(left)
    if first is None or not dash:
        return None if first is None else Span(first.version, int(first), int(first))
    if first.version == 4 and _digits(right, 3):
        right = f"{left.rpartition('.')[0]}.{int(right)}"
    last = _address(right)
    if last is None or last.version != first.version or int(last) < int(first):
        raise ConfigError(
            f"target {entry!r}: expected the last address of the range behind the -, not before the first"
        )
    return Span(first.version, int(first), int(last))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def address_text(version: int, number: int) -> str:
    """An address as it is written."""
    return str(IPv4Address(number) if version == 4 else IPv6Address(number))


# --- sets of addresses ---


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same addresses in ascending, disjoint spans that do not touch."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and merged[-1].version == span.version and span.first <= merged[-1].last + 1:
            merged[-1] = merged[-1]._replace(last=max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)


def subtract(spans: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What is in `spans` and not in `others`; both as `merge` makes them."""
    left: list[Span] = []
    following = iter(others)
    other = next(following, None)
    for span in spans:
        version, first, last = span
        while other is not None and (other.version, other.last) < (version, first):
            other = next(following, None)
        while other is not None and other.version == version and other.first <= last:
            if other.first > first:
                left.append(Span(version, first, other.first - 1))
            first = other.last + 1
            if other.last >= last:
                break
            other = next(following, None)
        if first <= last:
            left.append(Span(version, first, last))
    return tuple(left)


def holds(spans: Sequence[Span], address: str) -> bool:
    """Whether an address is in spans as `merge` makes them."""
    parsed = ip_address(address.partition("%")[0])
    at = bisect_right(spans, (parsed.version, int(parsed), 1 << 128)) - 1
    return at >= 0 and spans[at].version == parsed.version and int(parsed) <= spans[at].last


def check_allowed(spans: Sequence[Span], allowed: Sequence[Span]) -> None:
    """Raise PermissionDenied that names the first addresses that are outside of what may be scanned."""
    outside = subtract(spans, allowed)
    if outside:
        raise refused(str(outside[0]))


def refused(place: str) -> PermissionDenied:
    """The error that a place is outside of what may be scanned."""
    return PermissionDenied(
        f"{place} is outside the networks that may be scanned",
        hint="the configuration names the networks that may be scanned; nothing was sent",
    )
