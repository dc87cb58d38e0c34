"""The functions of a meter file: objects that keep what is written, and what happens by the clock, caught up when asked.

A meter has no timer. Before anything of a meter with schedules is read, written or invoked, all happens that should have
happened by then, in its order, each at its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import Form
from headend.drivers.dlms.meter.memory import Memory, memory_of
from headend.drivers.dlms.meter.times import NEVER
from headend.drivers.dlms.meter_clients import Client, Device
from headend.drivers.dlms.meter_objects import Association, CosemObject, Invoke, Read, Refused, Write
from headend.drivers.dlms.parameters import Parameters
from headend.errors import ConfigError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data, encode_data
from headend.protocols.dlms.initiate import Conformance
from headend.standards.cosem import find_class
from headend.standards.obis import Obis

_MOST_STEPS: Final = 4000
"""Moments that are caught up at once; what is still overdue then happens when the meter is asked or woken again."""


class Held(NamedTuple):
    """An attribute that a function keeps: its form, and its value until somebody writes it; fixed ones nobody writes."""

    form: Form
    initial: Data
    fixed: bool = False


Holds: TypeAlias = Mapping[int, Held]
Method: TypeAlias = Callable[[MeterModel, "Data | None"], None]


class Function:
    """One object that keeps what is written. Its behaviour is in the classes made of it, which must not keep anything else."""

    class_id: ClassVar[int]
    version: ClassVar[int] = 0
    holds: ClassVar[Holds] = {}
    options: ClassVar[Mapping[str, Form]] = {}
    """what a meter file may say of it beside the values of attributes"""

    def __init__(self, plant: Plant, name: Obis, said: Mapping[str, Any]) -> None:
        """`said` is what the meter file says: values of attributes by their names; raises ConfigError."""
        self.plant = plant
        self.name = name
        self.made = CosemObject(self.class_id, name, self.version)
        self.said = _Said(self, said)
        self._initial = {number: held.initial for number, held in self.holds.items()} | self.said.attributes
        self._encoded_initial: dict[int, bytes] = {}
        for number, held in self.holds.items():
            self.made.reads[number] = partial(self._read, number)
            if not held.fixed:
                self.made.writes[number] = partial(self._write, number, held.form)
        for number, method in self.methods().items():
            self.made.methods[number] = partial(_invoke, method)

    def methods(self) -> Mapping[int, Method]:
        """Its methods by their numbers."""
        return {}

    def accept(self, model: MeterModel, attribute_id: int, data: Data) -> None:
        """Somebody is about to write an attribute; raises Refused for what its form does not forbid."""

    def written(self, model: MeterModel, attribute_id: int) -> None:
        """Somebody has written an attribute."""

    def note(self, model: MeterModel, code: int) -> None:
        """Something happened to the meter, which a log of events would write down."""

    def is_heard(self, model: MeterModel) -> bool:  # noqa: ARG002 - of those that tell somebody
        """True when somebody outside hears of what it does."""
        return False

    # --- what it keeps ---

    def data(self, model: MeterModel, attribute_id: int) -> Data:
        """An attribute, with its types."""
        memory = model.memory
        initial = self._initial[attribute_id]
        if not isinstance(memory, Memory):
            return initial
        return memory.held.get((self.class_id, self.name, attribute_id), initial)

    def plain(self, model: MeterModel, attribute_id: int) -> Any:  # noqa: ANN401 - what the form says, which a type cannot
        """An attribute, in the structure of its form."""
        return self.data(model, attribute_id).plain()

    def elements(self, model: MeterModel, attribute_id: int) -> tuple[Data, ...]:
        """The elements of an array."""
        value = self.data(model, attribute_id).value
        return value if isinstance(value, tuple) else ()

    def keep(self, model: MeterModel, attribute_id: int, data: Data) -> None:
        """Keep another value of an attribute; what happens by the clock may come sooner now."""
        memory = memory_of(model)
        memory.held[self.class_id, self.name, attribute_id] = data
        memory.due = 0

    def state(self, model: MeterModel) -> Any:  # noqa: ANN401 - each function has its own
        """What it remembers besides; None until it remembers something."""
        memory = model.memory
        return memory.states.get((self.class_id, self.name)) if isinstance(memory, Memory) else None

    def remember(self, model: MeterModel, state: Any) -> None:  # noqa: ANN401 - ditto
        """Remember something besides."""
        memory_of(model).states[self.class_id, self.name] = state

    def _read(self, attribute_id: int, association: Association) -> bytes:
        data = self.data(association.model, attribute_id)
        if data is not self._initial[attribute_id]:
            return encode_data(data)
        encoded = self._encoded_initial.get(attribute_id)
        if encoded is None:
            encoded = self._encoded_initial[attribute_id] = encode_data(data)
        return encoded

    def _write(self, attribute_id: int, form: Form, association: Association, data: Data) -> None:
        if not form.fits(data):
            raise Refused(DataAccessResult.TYPE_UNMATCHED)
        self.accept(association.model, attribute_id, data)
        self.keep(association.model, attribute_id, data)
        self.written(association.model, attribute_id)


def _invoke(method: Method, association: Association, data: Data | None) -> None:
    method(association.model, data)


class Clocked(Function):
    """A function that does something by the clock."""

    def following(self, model: MeterModel, after: int) -> int:
        """When it does something next after a moment of the meter's clock; NEVER when it does not."""
        raise NotImplementedError

    def act(self, model: MeterModel, at: int) -> None:
        """Do what is to be done at that time, which the meter's clock shows."""
        raise NotImplementedError


class _Said:
    """What a meter file says of a function."""

    def __init__(self, function: Function, said: Mapping[str, Any]) -> None:
        known = find_class(function.class_id, function.version)
        numbers = {each.name: each.attribute_id for each in known.attributes.values()} if known else {}
        where = f"function {function.class_id}/{function.name}"
        self.attributes: dict[int, Data] = {}
        self.options: dict[str, Data] = {}
        for key, value in said.items():
            number = numbers.get(key, 0)
            held = function.holds.get(number)
            form = held.form if held is not None else function.options.get(key)
            if form is None:
                expected = [name for name, number in numbers.items() if number in function.holds] + [*function.options]
                raise ConfigError(f"{where}: no {key!r}", hint="one of " + ", ".join(sorted(expected)))
            try:
                made = form.make(value)
            except ValueError as error:
                raise ConfigError(f"{where}: {key}: expected {error}, got {value!r}") from None
            if held is not None:
                self.attributes[number] = made
            else:
                self.options[key] = made

    def option(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - what the form says
        """What the file says beside attributes."""
        data = self.options.get(name)
        return otherwise if data is None else data.plain()


class Party(NamedTuple):
    """What a meter and those who associate with it have agreed on; the first client and the first device are the main ones."""

    parameters: Parameters
    clients: Sequence[Client]
    devices: Sequence[Device]


class Plant:
    """All functions of one meter file, and all its objects, which scripts act on."""

    def __init__(
        self,
        objects: Mapping[tuple[int, bytes], CosemObject],
        zone: tzinfo,
        measuring_period: int,
        party: Callable[[MeterModel], Party],
    ) -> None:
        """`measuring_period` is that of its load profile, in milliseconds; `party` tells about one meter."""
        self.party = party
        self.objects = objects
        self.zone = zone
        self.measuring_period = measuring_period
        self.zone_rule: Callable[[MeterModel], tzinfo] | None = None
        self.functions: dict[tuple[int, bytes], Function] = {}
        self._clocked: list[Clocked] = []

    def add(self, function: Function) -> CosemObject:
        """Take a function, and return its object."""
        self.functions[function.class_id, function.name.to_bytes()] = function
        if isinstance(function, Clocked):
            self._clocked.append(function)
        return function.made

    def of_class(self, class_id: int) -> Iterable[Function]:
        """The functions of one class."""
        return (function for (each, _), function in self.functions.items() if each == class_id)

    def happened(self, model: MeterModel, code: int) -> None:
        """Let the meter's logs write down what happened."""
        for function in self.functions.values():
            function.note(model, code)

    # --- the clock ---

    def zone_of(self, model: MeterModel) -> tzinfo:
        """The zone by whose time a meter lives; a clock with rules of its own may know better."""
        return self.zone_rule(model) if self.zone_rule is not None else self.zone

    def be_up_to_date(self, model: MeterModel) -> None:
        """Catch up, where anything happens by the clock at all."""
        if self._clocked:
            self.catch_up(model)

    def catch_up(self, model: MeterModel) -> None:
        """Let all happen that should have happened by now, each at its time."""
        memory, now = memory_of(model), model.now()
        if now < memory.due or memory.busy:
            return
        memory.busy = True
        try:
            memory.due = self._run(model, memory, now)
        finally:
            model.turn_back(None)
            memory.busy = False
        if memory.due != NEVER and self._is_heard(model):
            model.wake_at(memory.due, partial(self.catch_up, model))

    def _run(self, model: MeterModel, memory: Memory, now: int) -> int:
        """What is overdue, in its order and in that of the meter file; returns when something happens next."""
        times = self._times(model, memory)
        for _ in range(_MOST_STEPS):
            at = min(times, default=NEVER)
            if at > now:
                memory.seen = max(now, memory.seen)
                return at
            memory.seen, memory.due = at, at
            due = [place for place, time in enumerate(times) if time == at]
            for place in due:
                model.turn_back(at)
                self._clocked[place].act(model, at)
            model.turn_back(None)
            if memory.due != at:  # an attribute was written, or the clock was set
                times = self._times(model, memory)
            else:
                for place in due:
                    times[place] = self._clocked[place].following(model, at)
        return min(times, default=NEVER)

    def _times(self, model: MeterModel, memory: Memory) -> list[int]:
        return [function.following(model, memory.seen) for function in self._clocked]

    def _is_heard(self, model: MeterModel) -> bool:
        """True when it matters that things happen at their time: somebody is told of them."""
        return any(function.is_heard(model) for function in self.functions.values())

    def clock_was_set(self, model: MeterModel) -> None:
        """What lies between the old and the new time does not happen."""
        if self._clocked:
            memory = memory_of(model)
            memory.seen, memory.due = model.now(), 0

    def watch(self, made: CosemObject) -> None:
        """Let everything that is done with an object come after what is overdue."""
        if not self._clocked:
            return
        made.reads = {number: self._first(read) for number, read in made.reads.items()}
        made.writes = {number: self._around(write) for number, write in made.writes.items()}
        made.methods = {number: self._around(invoke) for number, invoke in made.methods.items()}

    def _first(self, read: Read) -> Read:
        def after_catching_up(association: Association) -> bytes:
            self.catch_up(association.model)
            return read(association)

        return after_catching_up

    def _around(self, act: Write | Invoke) -> Any:  # noqa: ANN401 - as it was given
        """Catch up first, and work out anew what comes next afterwards."""

        def between(association: Association, data: Any) -> bytes | None:  # noqa: ANN401 - ditto
            self.catch_up(association.model)
            returned = act(association, data)
            self.catch_up(association.model)
            return returned

        return between

    # --- one function acts on another ---

    def inside(self, model: MeterModel) -> Association:
        """How the meter deals with its own objects: it may do everything."""
        party = self.party(model)
        return Association(
            model=model,
            client_sap=party.clients[0].sap,
            server_sap=party.devices[0].sap,
            mechanism=0,
            application_context=0,
            conformance=Conformance(0),
            with_list=False,
            max_send_pdu=0xFFFF,
            max_receive_pdu=0xFFFF,
            clients=party.clients,
            devices=party.devices,
        )

    def find(self, class_id: int, name: bytes) -> CosemObject:
        """An object of the meter; raises Refused."""
        made = self.objects.get((class_id, name))
        if made is None:
            raise Refused(DataAccessResult.OBJECT_UNDEFINED)
        return made

    def read(self, model: MeterModel, class_id: int, name: bytes, attribute_id: int) -> bytes:
        """An attribute of an object, encoded; raises Refused."""
        read = self.find(class_id, name).reads.get(attribute_id)
        if read is None:
            raise Refused(DataAccessResult.OBJECT_UNAVAILABLE)
        return read(self.inside(model))
