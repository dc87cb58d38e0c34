"""The meter's side of a registration: its login and heartbeats, and the acknowledgements between what else it is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from headend.drivers.heartbeats import HeartbeatFilter, Known
from headend.protocols.frame_layout import Field, nothing
from headend.protocols.registration import FrameForm, Kind, Registration

_METER: Final = "meter"
"""What a meter calls itself, in a field whose values have names."""


class Dialogue:
    """What all meters of one registration say. `period` is how many seconds pass between heartbeats, 0 for none."""

    __slots__ = ("_forms", "_given", "_known", "period", "registration")

    def __init__(self, registration: Registration, given: Mapping[str, str] | None = None) -> None:
        """`given` are fields of its frames beside the number; one that is not given is zero."""
        self.registration = registration
        self.period = registration.period
        self._given = dict(given or {})
        self._forms = {form.kind: form for form in reversed(registration.frames)}
        answers = [
            FrameForm(kind=form.kind, layout=form.acknowledgement)
            for form in registration.frames
            if form.acknowledgement is not None
        ]
        self._known = Known([replace(registration, frames=tuple(answers))]) if answers else None

    def login(self, number: str) -> bytes:
        """What a meter says first; raises LocalProtocolError for a number that the registration cannot carry."""
        return self._frame(Kind.LOGIN if Kind.LOGIN in self._forms else Kind.HEARTBEAT, number)

    def heartbeat(self, number: str) -> bytes:
        """What it says from time to time: its login again where there is nothing else."""
        return self._frame(Kind.HEARTBEAT if Kind.HEARTBEAT in self._forms else Kind.LOGIN, number)

    def _frame(self, kind: Kind, number: str) -> bytes:
        form = self._forms[kind]
        values: dict[str, str | bytes] = {}
        for part in form.layout.parts:
            if isinstance(part, Field):
                usual = _METER if _METER in part.values.values() else nothing(part)
                values[part.name] = self._given.get(part.name, usual)
        return self.registration.encode(kind, {**values, "number": number})

    def answers(self) -> HeartbeatFilter | None:
        """Takes the acknowledgements out of what one meter is told; None where there are none."""
        return HeartbeatFilter(self._known) if self._known is not None else None
