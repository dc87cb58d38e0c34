"""What drivers have learned of meters, kept in the data folder over a restart.

It is a file and not a table because losing it costs nothing but a few requests: what cannot be read is learned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson
import structlog

from headend.drivers.knowledge import Knowledge
from headend.services.roster import Roster

FILE: Final = "learned.json"
SAVE_SECONDS: Final = 600.0

log = structlog.get_logger(__name__)


class KnowledgeFile:
    """The file of a data folder and the roster whose meters it is about."""

    def __init__(self, folder: Path, roster: Roster) -> None:
        self._path = folder / FILE
        self._roster = roster
        self._saved = 0

    def load(self) -> None:
        """Give each meter what was learned of it; before anybody opens a session."""
        try:
            found = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, orjson.JSONDecodeError) as error:
            log.warning("what was learned of meters cannot be read", reason=str(error))
            return
        for meter_id, said in found.items() if isinstance(found, Mapping) else ():
            state = self._roster.find(meter_id)
            facts = said.get("facts") if isinstance(said, Mapping) else None
            if state is not None and isinstance(facts, Mapping):
                state.knowledge = Knowledge(facts, str(said.get("firmware", "")))

    async def run(self) -> None:
        """Save what is new every ten minutes until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(SAVE_SECONDS)
                await self.save()
        finally:
            await self.save()

    async def save(self) -> None:
        """Replace the file, where something was learned or forgotten since the last time."""
        revision = sum(state.knowledge.revision for state in self._roster)
        if revision == self._saved:
            return
        octets = orjson.dumps(
            {
                state.meter.id: {"firmware": state.knowledge.firmware, "facts": state.knowledge.facts}
                for state in self._roster
                if state.knowledge.facts
            }
        )
        try:
            await asyncio.to_thread(self._replace, octets)
        except OSError as error:
            log.warning("what was learned of meters cannot be kept", reason=str(error))
        else:
            self._saved = revision

    def _replace(self, octets: bytes) -> None:
        new = self._path.with_suffix(".new")
        new.write_bytes(octets)
        new.replace(self._path)
