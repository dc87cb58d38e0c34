"""The quarantine: callers that nobody knows. Bounded, kept beyond a restart by `save`.

One entry for each number or name that is said, else for each address. When there are too many, those that made no sense go
first, then those that were not seen for longest; who is blocked stays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final

from headend.errors import NotFound
from headend.model.caller import UnknownCaller
from headend.model.meter import MeterIdentity
from headend.services.gateway.caller import Caller

NOBODY: Final = MeterIdentity()
MAX_BLOCKED: Final = 10_000


def id_of(key: str) -> str:
    """The id of an entry: the same for the same key, always."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


def by_name(name: str) -> str:
    """The key of who says a number or name."""
    return f"name {name}"


def by_address(host: str) -> str:
    """The key of who says nothing of itself."""
    return f"address {host}"


def key_of(caller: Caller) -> str:
    """What an unknown caller is known by: what it says, else where it comes from."""
    identity = caller.identity or NOBODY
    names = (identity.system_title, identity.logical_device_name, identity.serial, identity.meter_address)
    name = next((name for name in names if name and name != caller.host), "")
    return by_name(name) if name else by_address(caller.host)


class Quarantine:
    """All entries, the one that was seen last at the end; and the callers of which the connection is open."""

    def __init__(self, size: int, kept: int) -> None:
        """At most so many entries, and so many open connections."""
        self._size = size
        self._kept = kept
        self._open: dict[str, dict[int, Caller]] = {}
        self._count = 0
        self._sense: OrderedDict[str, UnknownCaller] = OrderedDict()
        self._noise: OrderedDict[str, UnknownCaller] = OrderedDict()
        self._blocked: dict[str, UnknownCaller] = {}
        self._changed: dict[str, UnknownCaller | None] = {}
        """what the store does not know yet; None: removed"""

    def __len__(self) -> int:
        return len(self._sense) + len(self._noise) + len(self._blocked)

    def load(self, entries: Iterable[UnknownCaller]) -> None:
        """Take over what the store has, the oldest first."""
        for entry in entries:
            self._table(entry)[entry.id] = entry

    def find(self, entry_id: str) -> UnknownCaller:
        """One entry; raises NotFound."""
        for table in (self._sense, self._noise, self._blocked):
            if entry_id in table:
                return table[entry_id]
        raise NotFound(f"no caller {entry_id!r} is in quarantine")

    def all(self) -> Sequence[UnknownCaller]:
        """All entries, the one that was seen last first."""
        every = [*self._sense.values(), *self._noise.values(), *self._blocked.values()]
        return sorted(every, key=lambda entry: (-entry.last_seen, entry.id))

    def is_blocked(self, key: str) -> bool:
        """True for a number, name or address that somebody has blocked."""
        return bool(self._blocked) and id_of(key) in self._blocked

    def waiting(self, entry_id: str) -> Sequence[Caller]:
        """The open connections of an entry."""
        return tuple(self._open.get(entry_id, {}).values())

    def waits_for(self, identity: MeterIdentity, host: str) -> Iterator[Caller]:
        """The open connections of all who may say this, or come from there."""
        if not self._open:
            return
        names = {
            *(host, identity.serial, identity.meter_address, identity.system_title, identity.logical_device_name)
        } - {""}
        for name in names:
            for key in (by_name(name), by_address(name)):
                yield from self.waiting(id_of(key))

    def keep(self, caller: Caller, entry: UnknownCaller) -> bool:
        """Let a caller wait; False when too many do."""
        if self._count >= self._kept:
            return False
        caller.entry_id = entry.id
        self._open.setdefault(entry.id, {})[caller.number] = caller
        self._count += 1
        return True

    def leave(self, caller: Caller) -> None:
        """A caller waits no more, if it did."""
        entry_id, caller.entry_id = caller.entry_id, ""
        waiting = self._open.get(entry_id)
        if waiting is None:
            return
        del waiting[caller.number]
        self._count -= 1
        if not waiting:
            del self._open[entry_id]

    def note(self, caller: Caller, reason: str, now: int) -> UnknownCaller:
        """It came (again); returns the entry, with what is known by now."""
        key = key_of(caller)
        seen = UnknownCaller(
            id=id_of(key),
            key=key,
            address=caller.host,
            first_seen=now,
            last_seen=now,
            label=caller.label,
            protocol=caller.protocol,
            framing=caller.framing,
            registration=caller.registration,
            number=caller.said,
            trusted=caller.trusted,
            identity=caller.identity or NOBODY,
            octets=caller.first.hex(),
            reason=reason,
        )
        try:
            before = self.find(seen.id)
        except NotFound:
            pass
        else:
            self._table(before).pop(seen.id)
            seen.first_seen = before.first_seen
            seen.count = before.count + 1
            seen.blocked = before.blocked
        self._table(seen)[seen.id] = seen
        self._changed[seen.id] = seen
        self._shrink()
        return seen

    def block(self, entry_id: str) -> UnknownCaller:
        """Close whoever comes with this key from now on; raises NotFound."""
        entry = self.find(entry_id)
        self._table(entry).pop(entry_id)
        entry.blocked = True
        self._blocked[entry_id] = entry
        self._changed[entry_id] = entry
        self._shrink()
        return entry

    def remove(self, entry_id: str) -> UnknownCaller:
        """Forget an entry, also that it was blocked; raises NotFound."""
        entry = self.find(entry_id)
        self._table(entry).pop(entry_id)
        self._changed[entry_id] = None
        return entry

    def take_changes(self) -> tuple[Sequence[UnknownCaller], Sequence[str]]:
        """Entries that were changed since the last call, and ids of those that were removed."""
        changed, self._changed = self._changed, {}
        return (
            [entry for entry in changed.values() if entry is not None],
            [entry_id for entry_id, entry in changed.items() if entry is None],
        )

    def _table(self, entry: UnknownCaller) -> dict[str, UnknownCaller]:
        if entry.blocked:
            return self._blocked
        return self._sense if entry.label else self._noise

    def _shrink(self) -> None:
        while len(self._sense) + len(self._noise) > self._size:
            gone, _ = (self._noise or self._sense).popitem(last=False)
            self._changed[gone] = None
        while len(self._blocked) > MAX_BLOCKED:
            gone = next(iter(self._blocked))
            del self._blocked[gone]
            self._changed[gone] = None
