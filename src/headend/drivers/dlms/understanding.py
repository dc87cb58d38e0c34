"""What a push says, once it is in plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headend.drivers.dlms.clocks import epoch_reader
from headend.drivers.dlms.notifications import to_notification
from headend.drivers.dlms.unsealing import is_sealed
from headend.errors import DecodeError, KeyMissing
from headend.model.profile import entries_of
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.apdu.short import InformationReport
from headend.protocols.dlms.apdu.table import decode_apdu

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from headend.drivers.base import Notification, Push, PushList
    from headend.model.profile import MeterProfile


def understand(
    push: Push, zone: tzinfo | None, profile: MeterProfile | None, lists: Sequence[PushList]
) -> Notification:
    """The notification in a push; raises KeyMissing for one that is ciphered, DecodeError for what is none."""
    if is_sealed(push.octets):
        raise KeyMissing("a ciphered push of somebody whose keys are not known", hint="enter the meter with its keys")
    apdu = decode_apdu(push.octets)
    if not isinstance(apdu, DataNotification | EventNotification | InformationReport):
        raise DecodeError("push", offset=0, expected="a notification", got=type(apdu).__name__)
    entries = entries_of(profile)
    own = (*lists, *(profile.push_lists if profile else ()))
    return to_notification(apdu, epoch_reader(zone), entries, lists=own)
