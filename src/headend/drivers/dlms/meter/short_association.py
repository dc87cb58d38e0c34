"""The association of a virtual meter whose objects have short names (class 12, version 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_associations import PASSWORDS, change_secret, no_proof, setup_reference
from headend.drivers.dlms.meter_objects import CosemObject, Refused
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.short_names import ASSOCIATION_NAME, ASSOCIATION_SN

if TYPE_CHECKING:
    from collections.abc import Callable

    from headend.drivers.dlms.meter_clients import Client
    from headend.drivers.dlms.meter_objects import Association
    from headend.drivers.dlms.meter_view import View
    from headend.protocols.dlms.axdr import Data

_VERSION: Final = 2
_CHANGE_SECRET: Final = 5
_REPLY_TO_HLS: Final = 8
_WITH_PASSWORD: Final = PASSWORDS | {Mechanism.LLS}


def short_association(view_of: Callable[[Association, Client], View]) -> CosemObject:
    """The association that is asked: the base names of its objects, and what the client may do with them."""
    made = CosemObject(ASSOCIATION_SN, ASSOCIATION_NAME, _VERSION, always=True, proofs=(_REPLY_TO_HLS,))
    made.reads |= {
        2: lambda asked: view_of(asked, asked.client).short_list,
        3: lambda asked: view_of(asked, asked.client).short_rights,
        4: lambda asked: setup_reference(asked, asked.client),
    }
    made.methods |= {_CHANGE_SECRET: _change_own_secret, _REPLY_TO_HLS: no_proof}
    return made


def _change_own_secret(asked: Association, data: Data | None) -> None:
    """change_secret, of low or of high level security."""
    if asked.client.mechanism not in _WITH_PASSWORD:
        raise Refused(DataAccessResult.READ_WRITE_DENIED)
    change_secret(asked, asked.client, data)
