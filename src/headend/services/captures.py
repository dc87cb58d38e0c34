"""Captures of what goes over the wires of meters: into files, and live to those who watch. Secrets are masked before.

A wire that nobody captures costs nothing. One that several capture is tapped once; each of them says how long.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from headend.drivers.base import NO_SECRETS, Driver, Secrets
from headend.drivers.masking import Piece
from headend.errors import Conflict, NotFound, StorageError
from headend.model.meter import Meter, Secret
from headend.services.acquisition.lanes import Lanes
from headend.services.roster import Clock, Roster
from headend.services.taps import Sink, Tapped, Watch
from headend.transport.capture import CaptureFile, Dialogue, FileLimits
from headend.transport.deadline import sweeper
from headend.transport.link import Link

_MASKED: Final = "secrets are masked"
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_FILE: Final = re.compile(r"(.+)-(\d{4,})\.pcapng")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLimits:
    """What captures may take: how many at a time, for how many seconds, octets of the folder, octets of one file."""

    at_once: int = 20
    seconds: float = 3600.0
    octets: int = 1 << 30
    file_octets: int = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureInfo:
    """A capture in the folder: of whom (as far as its file name tells, after a restart); times in milliseconds."""

    id: str
    name: str = ""
    started_at: int = 0
    running: bool = False
    octets: int = 0
    packets: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is captured: a wire, its link where it has one, who speaks there, and what is not to be shown of it."""

    name: str
    wire: str
    link: Link | None
    driver: Driver | None
    """None while nobody knows the protocol"""
    secrets: Secrets = field(default_factory=lambda: NO_SECRETS, repr=False)


class _Recording(Sink):
    """A capture into files."""

    __slots__ = ("_dialogue", "_end", "deadline", "error", "file", "id", "name", "packets", "started_at")

    def __init__(self, name: str, started_at: int, file: CaptureFile, end: Callable[[_Recording], None]) -> None:
        self.id = file.name
        self.name = name
        self.started_at = started_at
        self.file = file
        self.packets = 0
        self.error = ""
        self.deadline = 0.0
        self._end = end
        self._dialogue: Dialogue | None = None

    def opened(self, link: Link, at: int) -> None:
        self._dialogue = Dialogue(link.local, link.peer)
        self._write(self._dialogue.opening(at, f"{self.name}, {link.peer}"))

    def take(self, piece: Piece, at: int) -> None:
        if self._dialogue is not None:
            self.packets += 1
            self._write(
                self._dialogue.carried(piece.octets, at, sent=piece.sent, comment=_MASKED if piece.masked else "")
            )

    def expire(self) -> None:
        self._end(self)

    def _write(self, blocks: bytes) -> None:
        try:
            self.file.write(blocks)
        except StorageError as error:
            self.fail(error)

    def fail(self, error: StorageError) -> None:
        """The disk takes no more: the meter is not to suffer from it."""
        log.warning("capture ended", capture=self.id, reason=str(error))
        self.error = str(error)
        self._end(self)

    def info(self) -> CaptureInfo:
        """What is known of it."""
        return CaptureInfo(
            id=self.id,
            name=self.name,
            started_at=self.started_at,
            running=True,
            octets=self.file.octets,
            packets=self.packets,
            error=self.error,
        )


class Captures:
    """All captures of a head-end. Belongs to the event loop."""

    def __init__(
        self,
        folder: Path,
        roster: Roster,
        lanes: Lanes,
        *,
        driver: Callable[[str], Driver],
        secrets: Callable[[Meter], Awaitable[Secrets]],
        clock: Clock,
        limits: CaptureLimits | None = None,
    ) -> None:
        self._folder = folder
        self._roster = roster
        self._lanes = lanes
        self._driver = driver
        self.secrets = secrets
        """of a meter, for those who explain what they see"""
        self._clock = clock
        self.limits = limits or CaptureLimits()
        self._wires: dict[str, Tapped] = {}
        self._running: dict[str, _Recording] = {}
        lanes.tell_opened(self._opened)

    async def target(self, meter_id: str) -> Target:
        """The wire of a meter, with the secrets of all who share it; raises NotFound."""
        meter = self._roster.state(meter_id).meter
        wire = meter.endpoint.wire
        secrets: dict[str, Secret] = {}
        for state in self._roster:
            if state.meter.endpoint.wire == wire:
                found = await self.secrets(state.meter)
                secrets |= {f"{state.meter.id} {key}": secret for key, secret in found.items()}
        link, driver = self._lanes.link(wire), self._driver(meter.protocol)
        return Target(name=meter_id, wire=wire, link=link, driver=driver, secrets=secrets)

    def start(self, target: Target, *, seconds: float = 60.0, octets: int = 16 << 20) -> CaptureInfo:
        """Capture what goes over a wire; on a shared one that is what is said to all.

        `octets` are kept at most, the newest ones. Raises Conflict when too many run, StorageError.
        """
        if len(self._running) >= self.limits.at_once:
            raise Conflict(f"{self.limits.at_once} captures run already", hint="stop one first")
        now = self._clock()
        files = max(1, min(octets, self.limits.octets) // self.limits.file_octets)
        size = FileLimits(octets=min(octets, self.limits.file_octets), files=files)
        self._make_room(size.octets * size.files)
        name, number = _PLAIN.sub("-", target.name)[:64], now
        while f"{name}-{number}" in self._kept():
            number += 1
        file = CaptureFile(self._folder, f"{name}-{number}", size)
        recording = _Recording(target.name, now, file, self._end)
        recording.deadline = asyncio.get_running_loop().time() + min(seconds, self.limits.seconds)
        self._running[recording.id] = recording
        self._tapped(target).join(recording)
        sweeper().add(recording)
        return recording.info()

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(isinstance(sink, Watch) for wire in self._wires.values() for sink in wire.sinks)

    def watch(self, target: Target) -> Watch:
        """Follow what goes over a wire, until `unwatch`."""
        watch = Watch()
        self._tapped(target).join(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Nobody looks any more."""
        self._leave(watch)

    def stop(self, capture_id: str) -> CaptureInfo:
        """End a capture; its files stay. Raises NotFound for one that does not run."""
        recording = self._running.get(capture_id)
        if recording is None:
            raise NotFound(f"no capture {capture_id!r} is running")
        self._end(recording)
        return self.get(capture_id)

    def remove(self, capture_id: str) -> None:
        """End a capture and delete its files; raises NotFound."""
        paths = self.files(capture_id)
        if capture_id in self._running:
            self.stop(capture_id)
        for path in paths:
            path.unlink(missing_ok=True)

    def get(self, capture_id: str) -> CaptureInfo:
        """One capture; raises NotFound."""
        found = next((info for info in self.known() if info.id == capture_id), None)
        if found is None:
            raise NotFound(f"no capture {capture_id!r}")
        return found

    def known(self) -> Sequence[CaptureInfo]:
        """All that are running or have files, the newest first."""
        found = [recording.info() for recording in self._running.values()]
        for name, paths in self._kept().items():
            if name not in self._running:
                started = int(name.rpartition("-")[2])
                size = sum(path.stat().st_size for path in paths)
                found.append(CaptureInfo(id=name, name=name.rpartition("-")[0], started_at=started, octets=size))
        return sorted(found, key=lambda info: info.started_at, reverse=True)

    def files(self, capture_id: str) -> Sequence[Path]:
        """The files of a capture, oldest first, with all that it has taken so far; raises NotFound."""
        recording = self._running.get(capture_id)
        if recording is not None:
            try:
                recording.file.flush()
            except StorageError as error:
                recording.fail(error)
        found = self._kept().get(capture_id)
        if found is None:
            raise NotFound(f"no capture {capture_id!r}")
        return found

    def close(self) -> None:
        """End everything."""
        for recording in tuple(self._running.values()):
            self._end(recording)
        for wire in self._wires.values():
            wire.released()
        self._wires.clear()

    # wires

    def _tapped(self, target: Target) -> Tapped:
        """The wire of a target, tapped if it has a link."""
        if target.wire not in self._wires:
            wire = self._wires[target.wire] = Tapped(target.driver, target.secrets, self._clock)
            if target.link is not None:
                wire.opened(target.link)
        return self._wires[target.wire]

    def _opened(self, name: str, link: Link) -> None:
        wire = self._wires.get(name)
        if wire is not None:
            wire.opened(link)

    def _leave(self, sink: Sink) -> None:
        for name, wire in tuple(self._wires.items()):
            if wire.sinks == {sink}:
                wire.released()
                del self._wires[name]
            wire.sinks.discard(sink)

    def _end(self, recording: _Recording) -> None:
        if self._running.pop(recording.id, None) is None:
            return
        sweeper().discard(recording)
        self._leave(recording)
        try:
            recording.file.close()
        except StorageError as error:
            log.warning("capture ended", capture=recording.id, reason=str(error))

    # files

    def _kept(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("*.pcapng")):
            match = _FILE.fullmatch(path.name)
            if match and match[1].rpartition("-")[2].isdigit():
                found.setdefault(match[1], []).append(path)
        return found

    def _make_room(self, octets: int) -> None:
        """Delete the oldest captures that have ended until there is room for a new one; raises Conflict."""
        running = sum(self.limits.file_octets for _ in self._running)
        kept = sorted(
            (info for info in self.known() if not info.running), key=lambda info: info.started_at, reverse=True
        )
        used = running + octets
        if used > self.limits.octets:
            raise Conflict("the captures that run may take all the room that there is", hint="stop one first")
        for info in kept:
            used += info.octets
            if used > self.limits.octets:
                for path in self._kept().get(info.id, ()):
                    path.unlink(missing_ok=True)
