"""The questions of discovery: does somebody speak Modbus here, over MBAP or RTU, and which units are behind one wire?

Any answer with the right transaction, unit and CRC is a sighting, also an exception: Read Device Identification (43/14) is
asked first, because it changes nothing and a unit that does not know it says so; then one register. The gateway exceptions 0A
and 0B say that a unit is absent. An echo, a late answer and octets of others are nobody.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headend.drivers.ground import Probe
from headend.drivers.modbus.asking import Question, Questions, is_absent
from headend.drivers.serial_lines import first_found
from headend.errors import LinkError, ProbeEnded
from headend.model.discovery import Intrusion, Sighting
from headend.model.meter import EndpointKind
from headend.protocols.modbus.pdu import Function, ReadDeviceIdentification, ReadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.ground import Ground
    from headend.model.meter import Endpoint

IDENTIFICATION: Final = ReadDeviceIdentification(1, 0)
_REGISTER: Final = ReadRequest(Function.READ_HOLDING_REGISTERS, 0, 1)
_DIRECT: Final = 255
"""Unit of a device that is reached over TCP itself: of a gateway, or of the only meter there is."""
_BEHIND: Final = (*range(1, 11), 126, 240, 247)
"""Units that are looked for behind a wire where nobody says which: factory settings and the first ones."""
EVERY: Final = (*range(1, 248),)
_NOBODYS: Final = 222
"""Who answers for this unit answers for all."""
_SUSPICIOUS: Final = 3
"""Units that are found, after which that is looked at."""
_SILENT_ROW: Final = 3
"""Units in a row that say nothing, after which no more are asked, unless all are wanted."""
_SHARE: Final = 0.5
"""Part of the time that is left which looking for units may take."""
_FASTEST: Final = 0.5
_SLOWER: Final = 4.0
"""How many times longer than another unit on the same line one may take to answer."""
_PORTS_TCP: Final = (502, 1502, 5020, 503, 802, 7701)
_PORTS_RTU: Final = (4196, 8899, 10001, 4001, 20108, 26)
_COST: Final = 3
"""Round trips of the probe of MBAP; that of RTU takes one less, and goes behind it where neither is expected."""


def probes() -> Sequence[Probe]:
    """All of them, cheap ones first."""
    ask = Intrusion.ASK
    return (
        Probe(name="modbus-tcp", framing="tcp", intrusion=ask, cost=_COST, run=tcp, ports=_PORTS_TCP),
        Probe(name="modbus-rtu", framing="rtu", intrusion=ask, cost=_COST, run=rtu, ports=_PORTS_RTU),
        Probe(
            name="modbus-tcp-units",
            framing="tcp",
            intrusion=ask,
            cost=len(EVERY),
            run=partial(tcp, units=EVERY),
            ports=_PORTS_TCP,
            exhaustive=True,
        ),
        Probe(
            name="modbus-rtu-units",
            framing="rtu",
            intrusion=ask,
            cost=len(EVERY),
            run=partial(rtu, units=EVERY),
            ports=_PORTS_RTU,
            exhaustive=True,
        ),
    )


async def tcp(ground: Ground, units: Sequence[int] = ()) -> tuple[Sighting, ...]:
    """Who speaks MBAP here. Raises LinkError when nobody can be reached, and ProbeEnded."""
    if ground.endpoint.kind is EndpointKind.SERIAL:
        return ()
    search = _Search(ground, rtu=False)
    try:
        wanted = ground.units or units
        if wanted:
            await search.sweep(wanted)
        elif await search.find(1, IDENTIFICATION):
            await search.neighbours()
        elif search.gateway:
            await search.sweep((*_BEHIND, _DIRECT), row=_SILENT_ROW)
        elif search.questions.strange or not await search.find(_DIRECT, IDENTIFICATION):
            await search.find(1, _REGISTER)
    finally:
        await search.questions.aclose()
    return tuple(search.found)


async def rtu(ground: Ground, units: Sequence[int] = ()) -> tuple[Sighting, ...]:
    """Who speaks RTU here, over TCP or on a serial line at one of the usual speeds. Raises as `tcp` does."""
    wanted = ground.units or units

    async def look(endpoint: Endpoint) -> tuple[Sighting, ...]:
        search = _Search(ground, rtu=True, endpoint=endpoint)
        try:
            if wanted:
                await search.sweep(wanted)
            elif await search.find(1, IDENTIFICATION, _REGISTER):
                await search.neighbours()
        finally:
            await search.questions.aclose()
        return tuple(search.found)

    return await first_found(ground.endpoint, "modbus", look)


class _Search:
    """Looks for units behind one endpoint; what was found is kept when the time runs out."""

    def __init__(self, ground: Ground, *, rtu: bool, endpoint: Endpoint | None = None) -> None:
        self.questions = Questions(ground, rtu=rtu, endpoint=endpoint)
        self.found: list[Sighting] = []
        self.gateway = False
        """Somebody says that a unit is absent."""
        self._ground = ground
        self._framing = "rtu" if rtu else "tcp"
        self._endpoint = None if endpoint in (None, ground.endpoint) else endpoint
        self._patience = ground.timeout
        self._row = 0
        self._asked: set[int] = set()
        self._question: Question = _REGISTER
        """what others on the line are asked: what was answered last, else what no unit leaves unanswered"""

    async def find(self, unit: int, *questions: Question) -> bool:
        """Is the unit there? The questions are asked until one is answered."""
        self._asked.add(unit)
        for question in questions:
            began = self._ground.time()
            answer = await self.questions.ask(unit, question, self._patience)
            absent = is_absent(answer)
            self.gateway |= absent
            noise = f", {self.questions.noise} octets of noise" if answer is None and self.questions.noise else ""
            said = "absent" if absent else "there" if answer is not None else "silent"
            step = self._ground.step(f"modbus-{self._framing}", f"unit {unit}: {said}{noise}")
            if answer is not None and not absent:
                self._row, self._question = 0, question
                if self._framing == "rtu":
                    taken = self._ground.time() - began
                    self._patience = min(self._ground.timeout, max(_FASTEST, taken * _SLOWER))
                self._sight(unit, step)
                return True
            if absent:
                return False
        self._row += 1
        return False

    def _sight(self, unit: int, step: int) -> None:
        self.found.append(
            Sighting(
                protocol="modbus",
                framing=self._framing,
                params={"unit": str(unit)},
                evidence=(step,),
                endpoint=self._endpoint,
            )
        )

    async def neighbours(self) -> None:
        """Who else is behind the wire of a unit that was found."""
        if not await self._is_everybody():
            await self.sweep(_BEHIND, row=_SILENT_ROW)

    async def _is_everybody(self) -> bool:
        """A device that answers for every unit is one: the first that was found."""
        everybody = await self.find(_NOBODYS, self._question)
        if everybody:
            del self.found[1:]
        return everybody

    async def sweep(self, units: Sequence[int], *, row: int = 0) -> None:
        """Ask units one after the other, until `row` of them in a row are silent (0: all), or the share of time is spent."""
        until = self._ground.time() + max(0.0, self._ground.seconds_left) * _SHARE
        self._row = min(self._row, 1)
        try:
            for unit in units:
                if unit in self._asked:
                    continue
                if (row and self._row >= row) or self.questions.gone or self._ground.time() >= until:
                    return
                await self.find(unit, self._question)
                if len(self.found) == _SUSPICIOUS and _NOBODYS not in self._asked and await self._is_everybody():
                    return
        except (LinkError, ProbeEnded):
            if not self.found:
                raise
