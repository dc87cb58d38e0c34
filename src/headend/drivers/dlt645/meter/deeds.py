"""What a virtual meter does when it is told to: writes, clock, relay, freezes, clearing, passwords. Each may be Refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlt645.meter.image import Face, Refused, Shown
from headend.drivers.dlt645.meter.memory import KEPT_FREEZES, Event, Record, local, millis
from headend.drivers.dlt645.values import entry_meaning
from headend.drivers.mapping import scale
from headend.errors import AccessDenied, DecodeError
from headend.protocols.dlt645.fields import ControlCommand
from headend.protocols.dlt645.formats import Layout, parse_format
from headend.protocols.dlt645.moment import Moment
from headend.protocols.dlt645.requests import (
    ALL_EVENTS,
    ChangePassword,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Control,
    Freeze,
    SetTime,
    Write,
)
from headend.protocols.dlt645.responses import ErrorBit
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from headend.model.objects import RawValue
    from headend.protocols.dlt645.fields import Password

_TO_PROGRAM: Final = 0x04
_TO_CONTROL: Final = 0x02
"""Levels of passwords that are enough; lower ones are worth more."""
_PASSWORDS: Final = 0x04000C01
_LEVELS: Final = 10
_PASSWORD: Final = 4
"""Octets of a password with its level."""
_CLOCKS: Final = {
    (Version.V2007, 0x0400010C): "YYMMDDWWhhmmss",
    (Version.V2007, 0x04000101): "YYMMDDWW",
    (Version.V2007, 0x04000102): "hhmmss",
    (Version.V1997, 0xC010): "YYMMDDWW",
    (Version.V1997, 0xC011): "hhmmss",
}
_BROADCAST_LIMIT: Final = 300_000
"""Milliseconds that a clock is moved by a broadcast at most."""
_DAY: Final = 86_400_000
_NO_MORE: Final = b"\xff" * 36
_SECOND: Final = parse_format("YYMMDDhhmmss")


def write(face: Face, request: Write, version: Version) -> None:
    """Write the clock or an object that the meter file lets be written."""
    if version is Version.V2007:
        _authorise(face, request.password, _TO_PROGRAM)
    clock = _CLOCKS.get((version, request.di))
    if clock is not None:
        _set_clock(face, _plain(face, request, parse_format(clock).size, version), clock)
        return
    shown = face.image.main(request.di, version)
    if shown is None:
        raise Refused(ErrorBit.NO_SUCH_DATA)
    request = _plain(face, request, shown.format.size, version)
    value = scale(_decoded(shown, request.data), shown.exponent)
    if value is None:
        raise Refused(ErrorBit.OTHER)
    try:
        face.model.write(shown.index, value)
    except AccessDenied:
        raise Refused(ErrorBit.NOT_AUTHORISED) from None
    more = request.di.to_bytes(4, "little") + _NO_MORE
    face.memory.note(Event.PROGRAMMING, Record(face.at, request.operator, more))


def _plain(face: Face, request: Write, size: int, version: Version) -> Write:
    """A write without the password that may stand before its data in 1997; one without any is for meters that have none."""
    if version is Version.V2007:
        return request
    known, octets = set(face.memory.passwords.items()), request.data
    if len(octets) == size + _PASSWORD and (octets[0], octets[1:_PASSWORD]) in known:
        return replace(request, data=octets[_PASSWORD:])
    if len(octets) == size and any(password == bytes(3) for _, password in known):
        return request
    raise Refused(ErrorBit.NOT_AUTHORISED)


def _decoded(shown: Shown, octets: bytes) -> RawValue:
    parts = entry_meaning(shown.entry, shown.ref).parts or ()
    try:
        value = Layout(parts).decode(octets)[0]
    except DecodeError:
        raise Refused(ErrorBit.OTHER) from None
    return None if isinstance(value, Moment) else value


def _set_clock(face: Face, request: Write, form: str) -> None:
    try:
        moment = parse_format(form).decode(request.data)
    except DecodeError:
        raise Refused(ErrorBit.OTHER) from None
    now = face.now
    if not isinstance(moment, Moment) or len(request.data) != parse_format(form).size:
        raise Refused(ErrorBit.OTHER)
    date = (moment.year, moment.month, moment.day) if moment.month is not None else (now.year, now.month, now.day)
    time = (moment.hour, moment.minute, moment.second)
    if moment.hour is None:
        time = (now.hour, now.minute, now.second)
    wanted = Moment(date[0], date[1], date[2], None, *time).to_datetime()
    if wanted is None:
        raise Refused(ErrorBit.OTHER)
    _turn(face, millis(wanted, face.zone), request.operator)


def _turn(face: Face, at: int, operator: bytes) -> None:
    face.model.set_clock(at)
    times = (Moment.from_datetime(each) for each in (face.now, local(at, face.zone)))
    face.memory.note(Event.CLOCK_SET, Record(at, operator, b"".join(map(_SECOND.encode, times))))


def set_time(face: Face, request: SetTime) -> None:
    """By broadcast: at most five minutes, once a day, and not around midnight. Nobody is told whether it was done."""
    wanted = request.time.to_datetime()
    if wanted is None:
        return
    at = millis(wanted, face.zone)
    to_midnight = (face.now - face.now.replace(hour=0, minute=0, second=0)).total_seconds() * 1000
    around = min(to_midnight, _DAY - to_midnight) < _BROADCAST_LIMIT
    last = next(iter(face.memory.events.get(Event.CLOCK_SET, [])), None)
    today = last is not None and local(last.at, face.zone).date() == face.now.date()
    if abs(at - face.at) <= _BROADCAST_LIMIT and not around and not today:
        _turn(face, at, bytes(4))


def freeze(face: Face, request: Freeze) -> None:
    """Keep the registers now, or from now on at a time."""
    if request.when != Moment():
        face.memory.timed = request.when
        return
    face.memory.freezes.insert(0, face.at)
    del face.memory.freezes[KEPT_FREEZES:]


def change_password(face: Face, request: ChangePassword) -> None:
    """Change the password of a level by that of the same or a higher one."""
    level = (request.di or 0) - _PASSWORDS
    if not 0 <= level < _LEVELS or request.new.level != level:
        raise Refused(ErrorBit.OTHER)
    _authorise(face, request.old, level)
    face.memory.passwords[level] = request.new.octets


def clear_demand(face: Face, request: ClearDemand, version: Version) -> None:
    """The maxima begin anew."""
    if version is Version.V2007:
        _authorise(face, request.password, _TO_PROGRAM)
    face.memory.demand_reset_at = face.at
    face.memory.note(Event.DEMAND_CLEAR, Record(face.at, request.operator))


def clear_meter(face: Face, request: ClearMeter) -> None:
    """All that was counted, kept and noted is gone."""
    _authorise(face, request.password, _TO_CONTROL)
    memory = face.memory
    memory.cleared_at = memory.demand_reset_at = face.at
    memory.freezes.clear()
    memory.events = {Event.METER_CLEAR: memory.events.get(Event.METER_CLEAR, [])}
    memory.note(Event.METER_CLEAR, Record(face.at, request.operator))


def clear_events(face: Face, request: ClearEvents) -> None:
    """The records of one kind of event, or of all, are gone."""
    _authorise(face, request.password, _TO_CONTROL)
    kind = request.di >> 8 & 0xFF
    if request.di == ALL_EVENTS:
        kept = {Event.METER_CLEAR, Event.EVENT_CLEAR}
        face.memory.events = {event: found for event, found in face.memory.events.items() if event in kept}
    else:
        face.memory.events.pop(kind, None)
    face.memory.note(Event.EVENT_CLEAR, Record(face.at, request.operator, request.di.to_bytes(4, "little")))


def control(face: Face, request: Control) -> None:
    """The relay, the alarm before it opens, and the keeping of the supply."""
    _authorise(face, request.password, _TO_CONTROL)
    until = request.valid_until.to_datetime()
    if until is not None and until < face.now:
        raise Refused(ErrorBit.OTHER)
    memory, model = face.memory, face.model
    match request.command:
        case ControlCommand.TRIP:
            if memory.kept:
                raise Refused(ErrorBit.OTHER)
            memory.armed = False
            model.switch_relay(closed=False)
        case ControlCommand.PERMIT_CLOSE:
            memory.armed = True
        case ControlCommand.CLOSE:
            memory.armed = False
            model.switch_relay(closed=True)
        case ControlCommand.ALARM | ControlCommand.END_ALARM:
            memory.alarm = request.command == ControlCommand.ALARM
        case ControlCommand.KEEP_POWER | ControlCommand.END_KEEP_POWER:
            memory.kept = request.command == ControlCommand.KEEP_POWER
        case _:
            raise Refused(ErrorBit.OTHER)


def _authorise(face: Face, password: Password | None, enough: int) -> None:
    """Refuse a password that is wrong, or of a level that is not enough."""
    known = face.memory.passwords.get(password.level) if password else None
    if password is None or password.level > enough or known != password.octets:
        raise Refused(ErrorBit.NOT_AUTHORISED)
