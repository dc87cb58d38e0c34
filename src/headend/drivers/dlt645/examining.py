"""Learning all that a meter of DL/T 645 shows of what it is.

Only reads are sent (11 and 12; 01 and 02 in 1997), and no password ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.parameters import read_params
from headend.drivers.dlt645.probing import TOTALS
from headend.drivers.dlt645.refs import DataRef
from headend.drivers.dlt645.values import meaning
from headend.drivers.dlt645.wire import Wire
from headend.drivers.ground import evidence_of
from headend.errors import ConfigError, DecodeError, LinkError, MeterError, ProbeEnded, ProtocolError
from headend.model.discovery import Examination, Fact
from headend.model.meter import MeterIdentity
from headend.protocols.dlt645.requests import Read
from headend.protocols.dlt645.responses import Data, Refusal
from headend.standards.dlt645 import Version, find_register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headend.drivers.ground import Ground
    from headend.model.discovery import Sighting
    from headend.model.objects import RawValue
    from headend.protocols.dlt645.responses import Response

_WORDS: Final = {
    Version.V2007: {
        0x04000402: "serial_number",
        0x0400040B: "model_text",
        0x04800003: "manufacturer_text",
        0x04800001: "firmware",
    },
    Version.V1997: {0xC032: "serial_number"},
}
"""Identifiers by the facts that they hold."""
_OF_MODEL: Final = {
    Version.V2007: (0x0400040D, 0x04800002, 0x04000404, 0x04000405, 0x04000406, 0x04000407, 0x04000409),
    Version.V1997: (0xC030, 0xC031),
}
"""Others that are the same for all meters of a model: versions, what it is made for, its constants."""
_OF_METER: Final = {Version.V2007: (0x04000401, 0x04000403), Version.V1997: ()}
"""Address and asset management code."""
_MEASURED: Final = {
    Version.V2007: (
        (0x02010100, "voltage_l1", 45.0, 500.0),
        (0x02010200, "voltage_l2", 45.0, 500.0),
        (0x02800002, "frequency", 45.0, 66.0),
        (0x00900200, "credit_balance", 0.0, 1e9),
    ),
    Version.V1997: ((0xB611, "voltage_l1", 45.0, 500.0), (0xB612, "voltage_l2", 45.0, 500.0)),
}
"""What shows how many phases it measures, and whether it is a prepayment meter."""
_FIELDS: Final = {
    "serial_number": "serial",
    "manufacturer_text": "manufacturer",
    "model_text": "model",
    "firmware": "firmware",
}
_TRIES: Final = 2
_SILENCES: Final = 3
"""Reads in a row without an answer, after which the meter is believed to be gone."""
_MOST_LOST: Final = 3


async def examine(ground: Ground, sighting: Sighting) -> Examination:
    """See `Driver.examine`."""
    look = _Look(ground, sighting)
    stopped = ""
    try:
        await look.everything()
        stopped = look.gone
    except ProbeEnded as ended:
        stopped = str(ended)
    except LinkError as error:
        if not look.answered:
            raise
        stopped = str(error)
    finally:
        look.step("what was under way")
        await look.aclose()
    evidence, facts = evidence_of(ground, sighting, look.since, look.all_facts())
    return Examination(
        endpoint=sighting.endpoint or ground.endpoint,
        protocol=sighting.protocol,
        framing=sighting.framing,
        params=look.params,
        identity=look.identity(),
        facts=facts,
        values=look.values,
        evidence=evidence,
        stopped=stopped,
    )


class _Look:
    """One meter, as it shows itself."""

    def __init__(self, ground: Ground, sighting: Sighting) -> None:
        self.values: dict[str, str] = {}
        self.answered = False
        self.since = len(ground.evidence)
        self._ground = ground
        self._sighting = sighting
        self._parameters = read_params(sighting.params)
        self._version = self._parameters.version or Version.V2007
        self._address = self._parameters.address
        self._facts: dict[str, Fact] = {}
        self._wire: Wire | None = None
        self._lost = 0
        self._silent = 0

    @property
    def gone(self) -> str:
        """Why nothing more is asked; empty while there is hope."""
        if self._lost >= _MOST_LOST:
            return "the connection was closed again and again"
        return "it says nothing any more" if self._silent >= _SILENCES else ""

    @property
    def params(self) -> Mapping[str, str]:
        """With which it is read: as it was sighted, and its address where that was left open."""
        said = dict(self._sighting.params)
        if self.answered and not self._address.has_wildcard and not self._address.is_broadcast:
            said["address"] = str(self._address)
        if self.answered and self._version is Version.V1997:
            said["version"] = "1997"
        return said

    async def everything(self) -> None:
        """All that there is, the telling things first."""
        said = self._parameters.version
        for version in (said,) if said else (Version.V2007, Version.V1997):
            self._version = version
            await self._read(TOTALS[version])
            if self.answered:
                break
        if self.answered:
            step = self.step("does it speak this edition?")
            self._fact("edition", str(version.value), step)
            if not self._address.has_wildcard:
                self._fact("meter_address", str(self._address), step)
        for di, name in _WORDS[version].items():
            await self._text(di, name)
        for di in _OF_MODEL[version]:
            await self._text(di, str(DataRef(di, version)))
        for di in _OF_METER[version]:
            await self._text(di, "")
        await self._measure()

    def step(self, note: str) -> int:
        """What was said since the last step is evidence."""
        return self._ground.step("dlt645-examine", f"{self._address}: {note}")

    def _fact(self, name: str, value: str, step: int) -> None:
        if name and value:
            self._facts.setdefault(name, Fact(name=name, value=value, evidence=(step,)))

    async def _text(self, di: int, name: str) -> None:
        """One identifier; nothing where the meter does not have it, or has not filled it."""
        value = await self._read(di)
        register = find_register(di, self._version)
        step = self.step(register.name if register else f"{di:X}")
        if value is None or isinstance(value, list | bytes):
            return
        text = " ".join(str(value).split())
        if text.strip("0"):
            self.values[str(DataRef(di, self._version))] = text
            self._fact(name, text, step)

    async def _measure(self) -> None:
        """What it measures that can be true."""
        true = []
        for di, quantity, low, high in _MEASURED[self._version]:
            value = await self._read(di)
            ref = DataRef(di, self._version)
            if isinstance(value, int | float) and low <= value * 10.0 ** meaning(di, self._version).exponent <= high:
                true.append(f"{quantity}={ref}")
                self.values[str(ref)] = str(value)
        step = self.step("what it measures")
        self._fact("plausible", ",".join(sorted(true)), step)

    # --- asking ---

    async def _read(self, di: int) -> RawValue:
        """The raw value of an identifier; None where there is none."""
        response = await self._ask(Read(di))
        if not isinstance(response, Data):
            return None
        try:
            return meaning(di, self._version).pick(DataRef(di, self._version), response.data)
        except (DecodeError, MeterError, ConfigError):
            return None

    async def _ask(self, request: Read) -> Response | None:
        for _ in range(_TRIES):
            if self.gone:
                return None
            self._ground.go_on()
            wire = await self._open()
            wire.timeout = min(self._ground.timeout, self._ground.seconds_left)
            try:
                response = await wire.answers(request, self._version)
            except (LinkError, ProtocolError):
                self._lost += 1
                continue
            if response is not None:
                self.answered = True
                self._address = wire.address
                self._silent = 0
                return response if isinstance(response, Data | Refusal) else None
        self._silent += 1
        return None

    async def _open(self) -> Wire:
        wire = self._wire
        if wire is not None and wire.lost is None:
            return wire
        if wire is not None:
            wire.stop()
        endpoint = self._sighting.endpoint or self._ground.endpoint
        link = await self._ground.link(endpoint)
        wire = self._wire = Wire(link, self._parameters, self._ground.timeout, endpoint.line)
        wire.start()
        return wire

    async def aclose(self) -> None:
        """Close the link."""
        if self._wire is not None:
            self._wire.stop()
        await self._ground.close()

    # --- the whole of it ---

    def identity(self) -> MeterIdentity:
        """Who it says it is."""
        said = {field: self._facts[name].value for name, field in _FIELDS.items() if name in self._facts}
        return MeterIdentity(**said, meter_address=str(self._address))

    def all_facts(self) -> tuple[Fact, ...]:
        """Its facts, in the order in which they were learned."""
        seen = self._sighting.evidence
        return (
            Fact(name="protocol", value="dlt645", evidence=seen),
            Fact(name="framing", value="frame", evidence=seen),
            *self._facts.values(),
        )
