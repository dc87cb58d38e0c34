"""What the meter role keeps of one virtual meter between links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headend.drivers.base import MeterModel
from headend.protocols.dlms.axdr import Data
from headend.standards.obis import Obis


@dataclass(slots=True)
class Memory:
    """Attributes that were written, states of functions by object, and how far what happens by time has come."""

    seen: int
    """until when all has happened that should have, by the meter's clock"""
    held: dict[tuple[int, Obis, int], Data] = field(default_factory=dict)
    states: dict[tuple[int, Obis], Any] = field(default_factory=dict)
    due: int = 0
    """when something happens next; 0: to be worked out"""
    busy: bool = False
    """while what is overdue happens"""
    depth: int = 0
    """how many scripts run within each other"""


def memory_of(model: MeterModel) -> Memory:
    """The memory of a meter, made when something is to be remembered."""
    memory = model.memory
    if not isinstance(memory, Memory):
        memory = model.memory = Memory(model.began_at)
    return memory
