"""Rights of clients, enforced: what may be done at all, and how well requests and responses must be protected for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_objects import Refused
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.classes import AccessRight

if TYPE_CHECKING:
    from headend.drivers.dlms.meter_objects import Association

_REQUEST: Final = AccessRight.AUTHENTICATED_REQUEST | AccessRight.ENCRYPTED_REQUEST | AccessRight.SIGNED_REQUEST
_RESPONSE: Final = AccessRight.AUTHENTICATED_RESPONSE | AccessRight.ENCRYPTED_RESPONSE | AccessRight.SIGNED_RESPONSE


def require(association: Association, right: AccessRight, wanted: AccessRight) -> None:
    """Refuse what a client may not do, or may do only better protected; the response becomes as protected as it must be."""
    if wanted not in right:
        raise Refused(DataAccessResult.READ_WRITE_DENIED)
    if not right & (_REQUEST | _RESPONSE):
        return
    protection = association.protection
    if protection is None:
        raise Refused(DataAccessResult.READ_WRITE_DENIED)
    # shifted, the bits of rights are those of the security control
    missing = int(right & _REQUEST) << 2 & ~protection.request_protection
    if missing or not protection.answer_with(int(right & _RESPONSE) >> 1):
        raise Refused(DataAccessResult.READ_WRITE_DENIED)
