"""Functions that watch a value: register monitors (21) and limiters (71). They look every minute.

When a meter is asked again after more than a day, only the quarters of an hour are looked at of what lies longer back, and
of what lies back more than a week nothing.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import ANYTHING, DATE_TIME, MONITORED, SCRIPT, UINT16, UINT32, record, rows
from headend.drivers.dlms.meter.functions import Clocked, Held, Holds, Method
from headend.drivers.dlms.meter.relay import Cause
from headend.drivers.dlms.meter.scripts import NO_SCRIPT, number_of, run_script, value_of
from headend.drivers.dlms.meter.times import NEVER
from headend.drivers.dlms.meter_objects import Association
from headend.protocols.dlms.axdr import Data, Tag, array, encode_data, int8, octet_string, structure, uint16, uint32
from headend.protocols.dlms.clock import CosemDate, CosemDateTime, CosemTime, EpochReader

_MINUTE: Final = 60_000
_QUARTER: Final = 900_000
_DAY: Final = 86_400_000
_WEEK: Final = 7 * _DAY
_NOTHING: Final = structure(uint16(0), octet_string(bytes(6)), int8(0))


def _next_look(model: MeterModel, after: int) -> int:
    now = model.now()
    after = max(after, now - _WEEK)
    step = _QUARTER if now - after > _DAY else _MINUTE
    return after // step * step + step


class RegisterMonitor(Clocked):
    """Scripts for when a value passes a threshold, upwards and downwards."""

    class_id = 21
    holds: ClassVar[Holds] = {
        2: Held(rows(ANYTHING), array()),
        3: Held(MONITORED, _NOTHING),
        4: Held(rows(record(SCRIPT, SCRIPT)), array()),
    }

    def following(self, model: MeterModel, after: int) -> int:
        """The next minute, where there is anything to watch."""
        return _next_look(model, after) if self.elements(model, 2) else NEVER

    def act(self, model: MeterModel, at: int) -> None:  # noqa: ARG002 - the clock shows it
        """Look at the value."""
        value = value_of(self.plant, model, self.plain(model, 3))
        before: float | None = self.state(model)
        if value is None or value == before:
            return
        self.remember(model, value)
        if before is None:
            return
        for threshold, (up, down) in zip(self.elements(model, 2), self.plain(model, 4), strict=False):
            limit = number_of(threshold)
            if before < limit <= value:
                run_script(self.plant, model, up, Cause.LOCAL)
            elif value < limit <= before:
                run_script(self.plant, model, down, Cause.LOCAL)


class _Watched(NamedTuple):
    """Over which side of the threshold the value is since when, and what was done last."""

    over: bool
    since: int
    done: bool


_VALUE, _ACTIVE, _NORMAL, _EMERGENCY, _OVER, _UNDER, _PROFILE, _GROUPS, _PROFILE_ACTIVE, _ACTIONS = range(2, 12)
_UNSPECIFIED: Final = octet_string(CosemDateTime(CosemDate(), CosemTime()).to_bytes())
_NO_THRESHOLD: Final = Data(Tag.NULL, None)


class Limiter(Clocked):
    """Scripts for when a value was over its threshold long enough, and under it; another threshold in an emergency."""

    class_id = 71
    holds: ClassVar[Holds] = {
        _VALUE: Held(MONITORED, _NOTHING),
        _NORMAL: Held(ANYTHING, _NO_THRESHOLD),
        _EMERGENCY: Held(ANYTHING, _NO_THRESHOLD),
        _OVER: Held(UINT32, uint32(0)),
        _UNDER: Held(UINT32, uint32(0)),
        _PROFILE: Held(record(UINT16, DATE_TIME, UINT32), structure(uint16(0), _UNSPECIFIED, uint32(0))),
        _GROUPS: Held(rows(UINT16), array()),
        _ACTIONS: Held(record(SCRIPT, SCRIPT), structure(NO_SCRIPT, NO_SCRIPT)),
    }

    def methods(self) -> dict[int, Method]:
        """None; but the threshold that holds, and whether it is the one for an emergency."""
        self.made.reads[_ACTIVE] = lambda association: encode_data(self._threshold(association.model))
        self.made.reads[_PROFILE_ACTIVE] = self._read_emergency
        return {}

    def _read_emergency(self, association: Association) -> bytes:
        return b"\x03\x01" if self._is_emergency(association.model) else b"\x03\x00"

    def _emergency(self, model: MeterModel) -> tuple[int, int]:
        """From when until when an emergency is; from later to earlier when there is none."""
        number, start, duration = self.plain(model, _PROFILE)
        groups = self.plain(model, _GROUPS)
        begin = EpochReader(self.plant.zone_of(model)).read(start) if start != _UNSPECIFIED.value else None
        if begin is None or number not in groups:
            return NEVER, 0
        return begin, begin + 1000 * duration

    def _is_emergency(self, model: MeterModel) -> bool:
        begin, end = self._emergency(model)
        return begin <= model.now() < end

    def _threshold(self, model: MeterModel) -> Data:
        return self.data(model, _EMERGENCY if self._is_emergency(model) else _NORMAL)

    def following(self, model: MeterModel, after: int) -> int:
        """The next minute, where there is anything to watch."""
        return NEVER if self.data(model, _VALUE) is self._initial[_VALUE] == _NOTHING else _next_look(model, after)

    def act(self, model: MeterModel, at: int) -> None:
        """Look at the value."""
        value = value_of(self.plant, model, self.plain(model, _VALUE))
        if value is None:
            return
        over = value > number_of(self._threshold(model))
        watched: _Watched = self.state(model) or _Watched(over=False, since=at, done=True)
        if over is not watched.over:
            watched = _Watched(over, at, done=False)
            self.remember(model, watched)
        long_enough = 1000 * self.plain(model, _OVER if over else _UNDER)
        if not watched.done and at - watched.since >= long_enough:
            self.remember(model, watched._replace(done=True))
            action = self.plain(model, _ACTIONS)[0 if over else 1]
            run_script(self.plant, model, action, Cause.LOCAL)
