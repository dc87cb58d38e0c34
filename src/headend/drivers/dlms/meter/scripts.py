"""Script tables (class 9): what the meter does to its own objects, when a client or another function says so."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import ANYTHING, INT8, NAME, UINT16, enumerated, record, require, rows
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method, Plant
from headend.drivers.dlms.meter.memory import memory_of
from headend.drivers.dlms.meter.relay import Cause, Relay
from headend.drivers.dlms.meter_objects import Refused
from headend.errors import HeadendError
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import Data, array, decode_typed

SCRIPT_TABLE: Final = 9
_SCRIPTS: Final = 2
_WRITE, _EXECUTE = 1, 2
_DISCONNECT: Final = 1
_DEEPEST: Final = 4
"""Scripts that run scripts."""
_ACTION: Final = record(enumerated(_WRITE, _EXECUTE), UINT16, NAME, INT8, ANYTHING)


class ScriptTable(Function):
    """Scripts by their numbers, each a list of attributes to write and methods to invoke."""

    class_id = SCRIPT_TABLE
    holds: ClassVar[Holds] = {_SCRIPTS: Held(rows(record(UINT16, rows(_ACTION))), array())}

    def methods(self) -> dict[int, Method]:
        """Execute."""
        return {1: lambda model, data: self.execute(model, require(data, UINT16), Cause.REMOTE)}

    def execute(self, model: MeterModel, number: int, cause: Cause) -> None:
        """Do all that a script says; raises Refused, in the end, when there is no such script or a part of it is refused."""
        script = next((each for each in self.elements(model, _SCRIPTS) if _elements(each)[0].value == number), None)
        memory = memory_of(model)
        if script is None or memory.depth >= _DEEPEST:
            raise Refused(DataAccessResult.OTHER_REASON)
        refused = None
        memory.depth += 1
        try:
            for action in _elements(_elements(script)[1]):
                try:
                    self._act(model, action, cause)
                except Refused as error:
                    refused = refused or error
                except HeadendError:
                    refused = refused or Refused(DataAccessResult.OTHER_REASON)
        finally:
            memory.depth -= 1
        if refused is not None:
            raise refused

    def _act(self, model: MeterModel, action: Data, cause: Cause) -> None:
        plain: Any = action.plain()
        service, class_id, name, index, _ = plain
        parameter = _elements(action)[4]
        plant = self.plant
        relay = plant.functions.get((class_id, name))
        if service == _EXECUTE and isinstance(relay, Relay) and cause is Cause.LOCAL:
            (relay.disconnect if index == _DISCONNECT else relay.reconnect)(model, cause)
            return
        made = plant.find(class_id, name)
        act = (made.methods if service == _EXECUTE else made.writes).get(index)
        if act is None:
            raise Refused(DataAccessResult.READ_WRITE_DENIED)
        act(plant.inside(model), parameter)


def _elements(data: Data) -> tuple[Data, ...]:
    return data.value if isinstance(data.value, tuple) else ()


def run_script(plant: Plant, model: MeterModel, script: list[object], cause: Cause = Cause.REMOTE) -> None:
    """Do what a script says that another function names by table and number; what cannot be done is left."""
    name, number = script
    table = plant.functions.get((SCRIPT_TABLE, name)) if isinstance(name, bytes) else None
    if isinstance(table, ScriptTable) and isinstance(number, int):
        with suppress(Refused):
            table.execute(model, number, cause)


def value_of(plant: Plant, model: MeterModel, attribute: list[object]) -> float | None:
    """The number that an attribute is that a function watches: class, logical name, attribute; None when it is none."""
    class_id, name, attribute_id = attribute
    if not isinstance(class_id, int) or not isinstance(name, bytes) or not isinstance(attribute_id, int):
        return None
    try:
        value = decode_typed(plant.read(model, class_id, name, attribute_id))[0].value
    except (Refused, HeadendError):
        return None
    return value if isinstance(value, int | float) else None


def number_of(data: Data) -> float:
    """A threshold as a number."""
    return data.value if isinstance(data.value, int | float) else float("inf")


NO_SCRIPT: Final = record(NAME, UINT16).make(["0-0:0.0.0.0", 0])
"""No script: there is no table of this name."""
