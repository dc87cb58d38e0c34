"""Learning all that a Modbus unit shows of what it is: identification objects, server id, identification registers.

Only functions 3, 4, 17 and 43/14 are sent. Values are facts when they are of the model; what a meter file has for serial number
and the like is read once its rules hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from headend.drivers.ground import evidence_of
from headend.drivers.modbus.asking import Questions, is_absent
from headend.drivers.modbus.identity import identity_from_server_id, identity_plan
from headend.drivers.modbus.plan import number
from headend.drivers.modbus.refs import RegisterRef, register_ref
from headend.drivers.modbus.signs import Sign, Signs, Span, built_in, rule_ref, signs_of, spans
from headend.errors import DecodeError, LinkError, ProbeEnded
from headend.model.discovery import Examination, Fact
from headend.model.meter import MeterIdentity
from headend.protocols.modbus.pdu import (
    DeviceIdentificationResponse,
    ExceptionCode,
    ExceptionResponse,
    Function,
    ReadDeviceIdentification,
    ReadResponse,
    ReportServerId,
    Response,
    ServerIdResponse,
)

if TYPE_CHECKING:
    from headend.drivers.ground import Ground
    from headend.model.discovery import Sighting
    from headend.model.profile import MeterProfile
    from headend.protocols.modbus.values import Value

_READS: Final = (Function.READ_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS)
_TRIES: Final = 2
_SILENCES: Final = 4
"""Questions in a row that are left without an answer, after which the unit is believed to be gone."""
_MOST_PARTS: Final = 8
"""Answers of one category of identification objects that are asked for, one behind the other."""
_CATEGORIES: Final = (1, 2, 3)
"""basic, regular, extended"""
_SILENT_SPANS: Final = 2
"""Reads of a table that are left without an answer, after which no more of it are sent."""
_TEXTS: Final = {0: "device_id_vendor", 1: "device_id_product", 2: "device_id_revision"}
_SAID: Final = (("manufacturer_text", (0,)), ("model_text", (5, 4, 1)), ("firmware", (2,)))
"""Facts of any protocol, and the identification objects that hold them: model name, product name, product code."""
_REGISTERS_OF: Final = {
    "serial_number": "serial",
    "manufacturer_text": "manufacturer",
    "model_text": "model",
    "firmware": "firmware",
}
_OF_QUANTITY: Final = {
    "serial_number": "serial_number",
    "manufacturer": "manufacturer_text",
    "meter_model": "model_text",
    "firmware_version": "firmware",
}


async def examine(ground: Ground, sighting: Sighting) -> Examination:
    """See `Driver.examine`."""
    unit = number(sighting.params, "unit", 1)
    questions = Questions(
        ground, rtu=sighting.framing == "rtu", endpoint=sighting.endpoint, tries=_TRIES, silences=_SILENCES
    )
    look = _Look(ground, questions, unit)
    stopped = ""
    try:
        await look.everything()
        stopped = questions.gone
    except ProbeEnded as ended:
        stopped = str(ended)
    except LinkError as error:
        if not look.answered:
            raise
        stopped = str(error)
    finally:
        look.step("modbus-examine", "what was under way")
        await questions.aclose()
    evidence, facts = evidence_of(ground, sighting, look.since, look.all_facts(sighting, stopped))
    return Examination(
        endpoint=sighting.endpoint or ground.endpoint,
        protocol=sighting.protocol,
        framing=sighting.framing,
        params=sighting.params,
        identity=look.identity(),
        facts=facts,
        values=look.values,
        evidence=evidence,
        stopped=stopped,
    )


class _Look:
    """One unit, as it shows itself."""

    def __init__(self, ground: Ground, questions: Questions, unit: int) -> None:
        self.values: dict[str, str] = {}
        self.answered = False
        self._ground = ground
        self._questions = questions
        self._unit = unit
        self._facts: dict[str, Fact] = {}
        self._functions: dict[int, int | None] = {}
        self._silent: dict[int, int] = {}
        self._server_id = b""
        self.since = len(ground.evidence)

    async def everything(self) -> None:
        """All stages, the telling ones first."""
        await self._identification()
        await self._server()
        signs = signs_of(self._ground.profiles or built_in())
        await self._identify(signs)
        known = [profile for profile in signs.profiles if self._holds(profile)]
        if known:
            await self._own_words(max(known, key=_weight))
        else:
            await self._measure(signs)

    def step(self, probe: str, note: str) -> int:
        """What was said since the last step is evidence."""
        return self._ground.step(probe, f"unit {self._unit}: {note}")

    def _fact(self, name: str, value: str, step: int, note: str = "") -> None:
        if value and name not in self._facts:
            self._facts[name] = Fact(name=name, value=value, evidence=(step,), note=note)

    async def _ask(self, request: ReadDeviceIdentification | ReportServerId) -> Response | None:
        answer = await self._questions.ask(self._unit, request)
        self._note(request.function, answer)
        return None if isinstance(answer, ExceptionResponse) else answer

    def _note(self, function: int, answer: Response | None) -> None:
        """Keep which functions are known. Where registers are read, it is no matter which of them the unit has."""
        if answer is None or is_absent(answer):
            self._functions.setdefault(function, None)
            return
        self.answered = True
        code = answer.code if isinstance(answer, ExceptionResponse) else 0
        if function in _READS and code != ExceptionCode.ILLEGAL_FUNCTION:
            code = 0
        known = self._functions.get(function)
        self._functions[function] = code if known is None else min(code, known)

    # --- what it says in words ---

    async def _identification(self) -> None:
        """Objects of function 43/14, in all categories that it conforms to."""
        found: dict[int, bytes] = {}
        conformity = 1
        for category in _CATEGORIES:
            if category > conformity:
                break
            next_id, more = max(found, default=-1) + 1 if category > 1 else 0, True
            for _ in range(_MOST_PARTS):
                answer = await self._ask(ReadDeviceIdentification(category, next_id))
                if not isinstance(answer, DeviceIdentificationResponse):
                    more = False
                    break
                conformity = max(conformity, answer.conformity & 0x7F)
                found.update(answer.objects)
                more = answer.more_follows and answer.next_object_id > next_id
                next_id = answer.next_object_id
                if not more:
                    break
        if not found:
            return
        step = self.step("modbus-identification", f"{len(found)} identification objects")
        words = {object_id: _words(octets) for object_id, octets in sorted(found.items())}
        self.values.update((f"device-id/{object_id}", text) for object_id, text in words.items() if text)
        for object_id, name in _TEXTS.items():
            self._fact(name, words.get(object_id, ""), step)
        for name, places in _SAID:
            self._fact(name, next((words[place] for place in places if words.get(place)), ""), step)

    async def _server(self) -> None:
        """Function 17."""
        answer = await self._ask(ReportServerId())
        if isinstance(answer, ServerIdResponse):
            self._server_id = answer.data
            self.values["server-id"] = answer.data.hex()
            self._fact("server_id", answer.data.hex(), self.step("modbus-server-id", "server id"))

    # --- what its registers hold ---

    async def _identify(self, signs: Signs) -> None:
        """Identification registers of all meter files."""
        got = await self._read_surely(signs.identifying)
        step = self.step("modbus-registers", "identification registers of meter files")
        for ref, value in got.items():
            self.values[str(ref)] = str(value)
            if signs.recognised(ref, str(value)):
                self._fact(str(ref), str(value), step)

    async def _measure(self, signs: Signs) -> None:
        """Registers that hold what can be true, for meters that have none for identification: voltages first."""
        wanted: Iterable[Sign] = signs.voltages
        true: list[Sign] = []
        while wanted:
            asked = tuple(spans(dict.fromkeys(sign.ref for sign in wanted)))
            got = await self._read(asked)
            again = await self._again(asked, got)
            found = [sign for sign in wanted if sign.is_true(got.get(sign.ref)) and sign.is_true(again.get(sign.ref))]
            self.values.update((str(sign.ref), str(got[sign.ref])) for sign in found)
            true += found
            wanted = tuple(dict.fromkeys(other for sign in found for other in signs.voltages.get(sign, ())))
        step = self.step("modbus-registers", "registers of meter files that hold voltages and frequency")
        self._fact("plausible", ",".join(sorted({sign.text for sign in true})), step)

    async def _own_words(self, profile: MeterProfile) -> None:
        """What the registers of a meter file, whose rules hold, say of the meter."""
        plan = identity_plan(profile)
        if plan is None:
            return
        refs = {register_ref(entry.ref.address): _OF_QUANTITY[entry.quantity] for entry in plan.entries}
        got = await self._read_surely([Span(ref.table, ref.address, ref.end, (ref,)) for ref in refs if ref.type])
        step = self.step("modbus-registers", f"identity registers of {profile.id}")
        for ref, value in got.items():
            self.values[str(ref)] = str(value)
            if self._facts.get(refs[ref]) is None:
                self._fact(refs[ref], str(value), step)

    def _holds(self, profile: MeterProfile) -> bool:
        """All rules of the meter file about registers fit."""
        rules = [rule for rule in profile.detect if rule_ref(rule.fact) is not None]
        return all(rule.fact in self._facts and rule.fits(self._facts[rule.fact].value) for rule in rules)

    async def _read_surely(self, wanted: Sequence[Span]) -> Mapping[RegisterRef, Value]:
        """The same for values that do not change."""
        got = await self._read(wanted)
        again = await self._again(wanted, got)
        return {ref: value for ref, value in got.items() if again.get(ref) == value}

    async def _again(self, wanted: Sequence[Span], got: Mapping[RegisterRef, Value]) -> Mapping[RegisterRef, Value]:
        """A second reading, the other way round, where a late answer to one read looks like the answer to another: in RTU."""
        if not self._questions.rtu or not got:
            return got
        return await self._read([span for span in reversed(wanted) if any(ref in got for ref in span.refs)])

    async def _read(self, wanted: Sequence[Span]) -> Mapping[RegisterRef, Value]:
        """The values of the references in the spans, as far as the unit has them."""
        got: dict[RegisterRef, Value] = {}
        waiting = list(reversed(wanted))
        while waiting:
            span = waiting.pop()
            function = span.table.value
            refused = self._functions.get(function) == ExceptionCode.ILLEGAL_FUNCTION
            if refused or self._silent.get(function, 0) >= _SILENT_SPANS or self._questions.gone:
                continue
            answer = await self._questions.ask(self._unit, span.request)
            self._note(function, answer)
            if isinstance(answer, ReadResponse):
                self._silent[function] = 0
                got.update(_values(span, answer.data))
            elif answer is None or is_absent(answer):
                self._silent[function] = self._silent.get(function, 0) + 1
            elif len(parts := span.parts()) > 1:
                waiting += reversed(parts)
        return got

    # --- the whole of it ---

    def identity(self) -> MeterIdentity:
        """Who it says it is."""
        said = {field: self._facts[name].value for name, field in _REGISTERS_OF.items() if name in self._facts}
        if "model" not in said and self._server_id:
            said["model"] = identity_from_server_id(self._server_id, "").model
        return MeterIdentity(**said, meter_address=str(self._unit))

    def all_facts(self, sighting: Sighting, stopped: str) -> tuple[Fact, ...]:
        """Its facts, in the order in which they were learned. Which functions it has is told only where all were asked for."""
        steps = tuple(range(self.since, len(self._ground.evidence)))
        seen = sighting.evidence or steps[:1]
        mute = ", ".join(str(function) for function, code in sorted(self._functions.items()) if code is None)
        known = ",".join(f"{function}:{code}" for function, code in sorted(self._functions.items()))
        said = Fact(
            name="functions",
            value="" if mute or stopped else known,
            evidence=steps,
            note=f"no answer to function {mute}" if mute else stopped,
        )
        return (
            Fact(name="protocol", value="modbus", evidence=seen),
            Fact(name="framing", value=sighting.framing, evidence=seen),
            *self._facts.values(),
            said,
        )


def _weight(profile: MeterProfile) -> int:
    return sum(rule.weight for rule in profile.detect)


def _words(octets: bytes) -> str:
    """Text of an identification object; what cannot be shown is a space."""
    shown = "".join(letter if letter.isprintable() else " " for letter in octets.decode("latin-1"))
    return " ".join(shown.split())


def _values(span: Span, data: bytes) -> Mapping[RegisterRef, Value]:
    """What the references of a span hold; what says that there is no value is left out."""
    found: dict[RegisterRef, Value] = {}
    for ref in span.refs:
        if ref.type is None:
            continue
        try:
            value = ref.type.decode(data, (ref.address - span.address) * 2)
        except DecodeError:
            continue
        if value is not None:
            found[ref] = _words(value.encode("latin-1")) if isinstance(value, str) else value
    return {ref: value for ref, value in found.items() if value != ""}
