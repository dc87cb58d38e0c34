"""Disconnect control (class 70): which of remote, manual and local switching is allowed follows from control_mode.

```text
mode                      0  1  2  3  4  5  6
remote_disconnect         -  x  x  x  x  x  x    to disconnected
manual_disconnect         -  x  x  -  -  x  -    from connected to ready for reconnection
local_disconnect          -  x  x  x  x  x  x    from connected to ready for reconnection
remote_reconnect          -  r  c  r  c  r  r    from disconnected to ready for reconnection, or to connected
manual_reconnect          -  x  x  x  x  x  x    from ready for reconnection to connected
local_reconnect           -  -  -  -  -  x  x    from ready for reconnection to connected
```

In mode 0 the load is always connected. Remote is a client or a schedule; local is the meter's own doing, such as its
limiter's; manual is the button.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import enumerated
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method
from headend.drivers.dlms.meter_objects import RELAY, Refused
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import encode_data, enum
from headend.protocols.dlms.classes import ControlState, after_remote_disconnect, after_remote_reconnect

CONTROL_MODES: Final = range(7)
_CONTROL_MODE: Final = 4
_FROM_REMOTE: Final = 4
_MANUAL_DISCONNECT: Final = frozenset((1, 2, 5))
_LOCAL_RECONNECT: Final = frozenset((5, 6))


class Cause(Enum):
    """Who switches."""

    REMOTE = "remote"
    MANUAL = "manual"
    LOCAL = "local"


_EVENTS: Final = {Cause.MANUAL: (60, 61), Cause.REMOTE: (62, 63), Cause.LOCAL: (64, 69)}
"""What a log of events has of it when the relay is opened, and when it is closed (table idis of event_codes.csv)."""


class Relay(Function):
    """The load relay as an object: output_state, control_state, control_mode."""

    class_id = RELAY
    holds: ClassVar[Holds] = {_CONTROL_MODE: Held(enumerated(*CONTROL_MODES), enum(_FROM_REMOTE))}

    def methods(self) -> dict[int, Method]:
        """remote_disconnect and remote_reconnect."""
        made = self.made
        made.reads[2] = lambda association: b"\x03\x01" if association.model.relay_closed() else b"\x03\x00"
        made.reads[3] = lambda association: encode_data(enum(self.control_state(association.model)))
        return {
            1: lambda model, _: self.disconnect(model, Cause.REMOTE),
            2: lambda model, _: self.reconnect(model, Cause.REMOTE),
        }

    def control_state(self, model: MeterModel) -> ControlState:
        """Connected while the load is supplied; ready for reconnection when somebody may press the button."""
        if model.relay_closed():
            return ControlState.CONNECTED
        return ControlState.READY_FOR_RECONNECTION if self.state(model) else ControlState.DISCONNECTED

    def disconnect(self, model: MeterModel, cause: Cause) -> None:
        """Open the relay; raises Refused where the mode does not allow it."""
        mode, state = self.plain(model, _CONTROL_MODE), self.control_state(model)
        if mode == 0 or (cause is Cause.MANUAL and mode not in _MANUAL_DISCONNECT):
            raise Refused(DataAccessResult.OTHER_REASON)
        if cause is Cause.REMOTE:
            self._enter(model, after_remote_disconnect(state, mode), cause)
        elif state is ControlState.CONNECTED:
            self._enter(model, ControlState.READY_FOR_RECONNECTION, cause)

    def reconnect(self, model: MeterModel, cause: Cause) -> None:
        """Close the relay, or let it be closed by hand; raises Refused where the mode does not allow it."""
        mode, state = self.plain(model, _CONTROL_MODE), self.control_state(model)
        if mode == 0 or (cause is Cause.LOCAL and mode not in _LOCAL_RECONNECT):
            raise Refused(DataAccessResult.OTHER_REASON)
        if cause is Cause.REMOTE:
            self._enter(model, after_remote_reconnect(state, mode), cause)
        elif state is ControlState.READY_FOR_RECONNECTION:
            self._enter(model, ControlState.CONNECTED, cause)

    def written(self, model: MeterModel, attribute_id: int) -> None:  # noqa: ARG002 - there is one
        """In mode 0 the load is always connected."""
        if self.plain(model, _CONTROL_MODE) == 0:
            self._enter(model, ControlState.CONNECTED, Cause.LOCAL)

    def _enter(self, model: MeterModel, state: ControlState, cause: Cause) -> None:
        ready = state is ControlState.READY_FOR_RECONNECTION
        if bool(self.state(model)) is not ready:
            self.remember(model, ready)
        closed = state is ControlState.CONNECTED
        if closed is not model.relay_closed():
            self.plant.happened(model, _EVENTS[cause][closed])
        model.switch_relay(closed=closed)
