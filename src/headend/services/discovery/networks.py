"""Which of the networks that a scan was asked for an address belongs to: what its counts and its report are grouped by. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from headend.model.device import DeviceState
from headend.model.discovery import PortState
from headend.model.scan import NetworkReport
from headend.model.targets import Span, parse_spans


class Networks:
    """The entries of a scan. Counts are kept by /24 (or /64) where all of that is in one entry, else by the entry."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = tuple(dict.fromkeys(entries))
        found = sorted((span, entry) for entry in self.entries for span in parse_spans([entry]))
        self._spans: Sequence[Span] = [span for span, _ in found]
        self._owners = [entry for _, entry in found]
        self._known: dict[str, str] = {}

    def group(self, host: str) -> str:
        """What a host is counted under."""
        prefix = host.rpartition(".")[0]
        known = self._known.get(prefix)
        if known is not None:
            return known
        try:
            address = ip_address(host)
        except ValueError:
            return host
        network = ip_network((address, 24 if address.version == 4 else 64), strict=False)
        at = self._at(address.version, int(address))
        if at is None:
            return str(network)
        if int(network[0]) >= self._spans[at].first and int(network[-1]) <= self._spans[at].last:
            if address.version == 4:
                self._known[prefix] = str(network)
            return str(network)
        return self._owners[at]

    def entry(self, group: str) -> str:
        """The entry that a group belongs to."""
        if group in self.entries:
            return group
        try:
            first = ip_network(group)[0]
        except ValueError:
            return group
        at = self._at(first.version, int(first))
        return group if at is None else self._owners[at]

    def _at(self, version: int, number: int) -> int | None:
        at = bisect_right(self._spans, (version, number, 1 << 129)) - 1
        if at < 0 or self._spans[at].version != version or number > self._spans[at].last:
            return None
        return at


def reports(
    networks: Networks,
    counts: Mapping[tuple[str, PortState], int],
    devices: Iterable[tuple[str, str, DeviceState, str, int]],
) -> Sequence[NetworkReport]:
    """What a scan found, entry by entry. `devices` are (vendor, protocol, state, host, how many)."""
    states: defaultdict[str, Counter[PortState]] = defaultdict(Counter)
    vendors: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (group, state), count in counts.items():
        states[networks.entry(group)][state] += count
    for vendor, _, _, host, count in devices:
        vendors[networks.entry(networks.group(host))][vendor] += count
    return [
        NetworkReport(
            target=entry, states=dict(states[entry]), devices=vendors[entry].total(), vendors=dict(vendors[entry])
        )
        for entry in dict.fromkeys((*networks.entries, *states, *vendors))
    ]
