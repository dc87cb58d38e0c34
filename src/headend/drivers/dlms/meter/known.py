"""The classes whose objects a meter file may set up with `[[function]]`."""

from __future__ import annotations

from typing import Final

from headend.drivers.dlms.meter.clock import Clock
from headend.drivers.dlms.meter.functions import Function, Plant
from headend.drivers.dlms.meter.image import ImageTransfer
from headend.drivers.dlms.meter.monitors import Limiter, RegisterMonitor
from headend.drivers.dlms.meter.push import PushSetup
from headend.drivers.dlms.meter.relay import Relay
from headend.drivers.dlms.meter.schedules import ActivityCalendar, Schedule, SingleActionSchedule, SpecialDays
from headend.drivers.dlms.meter.scripts import ScriptTable
from headend.errors import ConfigError
from headend.model.profile import FunctionSetup
from headend.standards.obis import Obis

_KINDS: Final[tuple[type[Function], ...]] = (
    *(
        Clock,
        Relay,
        ScriptTable,
        Schedule,
        SpecialDays,
        ActivityCalendar,
        RegisterMonitor,
        SingleActionSchedule,
        Limiter,
        PushSetup,
        ImageTransfer,
    ),
)
KINDS: Final = {kind.class_id: kind for kind in _KINDS}


def make_function(plant: Plant, setup: FunctionSetup) -> Function:
    """The object that a meter file sets up as CLASS/LOGICAL-NAME; raises ConfigError."""
    number, _, name = setup.ref.partition("/")
    kind = KINDS.get(int(number)) if number.isascii() and number.isdigit() else None
    if kind is None or not name:
        expected = ", ".join(str(class_id) for class_id in sorted(KINDS))
        raise ConfigError(
            f"function {setup.ref!r} is none that a virtual meter has", hint=f"CLASS/LOGICAL-NAME, class {expected}"
        )
    return kind(plant, Obis.parse(name), setup.said)
