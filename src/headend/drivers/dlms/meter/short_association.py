"""The association of a virtual meter whose objects have short names (class 12, version 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_objects import CosemObject, Refused, static
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import octet_string
from headend.protocols.dlms.short_names import ASSOCIATION_NAME, ASSOCIATION_SN

if TYPE_CHECKING:
    from collections.abc import Callable

    from headend.drivers.dlms.meter_clients import Client
    from headend.drivers.dlms.meter_objects import Association
    from headend.drivers.dlms.meter_view import View
    from headend.protocols.dlms.axdr import Data

_VERSION: Final = 2
_REPLY_TO_HLS: Final = 8
_NO_SETUP: Final = octet_string(bytes(6))


def short_association(view_of: Callable[[Association, Client], View]) -> CosemObject:
    """The association that is asked: the base names of its objects, and what the client may do with them."""
    made = CosemObject(ASSOCIATION_SN, ASSOCIATION_NAME, _VERSION, always=True, proofs=(_REPLY_TO_HLS,))
    made.reads |= {
        2: lambda asked: view_of(asked, asked.client).short_list,
        3: lambda asked: view_of(asked, asked.client).short_rights,
        4: static(_NO_SETUP),
    }
    made.methods[_REPLY_TO_HLS] = _no_proof
    return made


def _no_proof(_: Association, __: Data | None) -> None:
    """reply_to_HLS_authentication, when there is nothing to reply to any more."""
    raise Refused(DataAccessResult.READ_WRITE_DENIED)
