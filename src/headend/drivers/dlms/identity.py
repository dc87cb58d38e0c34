"""Who a meter says it is: logical device name, serial number, firmware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.refs import cosem_ref
from headend.drivers.mapping import octets_to_text
from headend.errors import HeadendError
from headend.model.meter import MeterIdentity
from headend.standards.flag import from_octets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.dlms.parameters import Addressing
    from headend.model.objects import RawValue

IDENTITY_REFS: Final = tuple(
    cosem_ref(address)
    for address in ("1/0-0:42.0.0.255/2", "1/0-0:96.1.0.255/2", "1/1-0:0.2.0.255/2", "1/0-0:0.2.1.255/2")
)
"""Logical device name, serial number, active firmware, and where some Chinese meters keep their firmware version."""


def identity_of(
    values: Sequence[RawValue | HeadendError], system_title: bytes, addressing: Addressing
) -> MeterIdentity:
    """The identity in the values of IDENTITY_REFS; what the meter refuses stays empty."""
    name, serial, firmware, firmware_elsewhere = (_text(value) for value in values)
    raw = values[0]
    flag = from_octets(raw if isinstance(raw, bytes) else name.encode()) or from_octets(system_title)
    physical = f"/{addressing.physical}" if addressing.physical else ""
    return MeterIdentity(
        serial=serial,
        manufacturer=flag or "",
        firmware=firmware or firmware_elsewhere,
        logical_device_name=name,
        system_title=system_title.hex(),
        meter_address=f"{addressing.server}{physical}",
    )


def _text(value: RawValue | HeadendError) -> str:
    if isinstance(value, bytes):
        return octets_to_text(value)
    return str(value) if isinstance(value, str | int) else ""
