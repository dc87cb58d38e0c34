"""The meter's side of mode E of IEC 62056-21: what stands before HDLC when a head-end calls."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from headend.errors import RemoteProtocolError
from headend.protocols.base import NEED_DATA, Role
from headend.protocols.hdlc.frame import FLAG
from headend.protocols.mode_e import CALL, ModeE, is_device_address
from headend.standards.flag import from_octets

if TYPE_CHECKING:
    from headend.model.meter import MeterIdentity
    from headend.transport.link import Link

_IDENTIFICATION: Final = 16
"""Characters of a model in the identification."""
_NOBODY: Final = "NIL"
"""The manufacturer of a meter that has none."""


def is_call(data: bytes) -> bool:
    """True for octets that may begin an opening, and no frame."""
    return data[0] & 0x7F == CALL


class MeterOpening:
    """One opening of a meter that is called by its serial number, or by no name."""

    __slots__ = ("_link", "_mode")

    def __init__(self, link: Link, identity: MeterIdentity) -> None:
        flag = from_octets(identity.manufacturer.encode("latin-1", "replace")) or _NOBODY
        model = re.sub(r"[^0-9A-Za-z .-]", "", identity.model)[:_IDENTIFICATION]
        device = identity.serial if is_device_address(identity.serial) else ""
        self._link = link
        self._mode = ModeE(Role.SERVER, device=device, manufacturer=flag, identification=model)

    def take(self, data: bytes) -> bytes | None:
        """Go on; the octets of HDLC once the head-end has chosen a rate, or does without. The speed is the link's affair."""
        mode = self._mode
        if data[0] == FLAG:
            return data
        with suppress(RemoteProtocolError):  # what is no call is not answered
            mode.receive_data(data)
            while mode.next_event() is not NEED_DATA:
                pass
        self._link.write(mode.data_to_send())
        return mode.take_rest() if mode.finished else None
