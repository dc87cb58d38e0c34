"""Who a Modbus meter says it is: identity registers of its profile, device identification, server id."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from headend.model.meter import MeterIdentity
from headend.model.objects import ReadPlan, ReadResult
from headend.model.profile import MeterProfile

# quantity -> field of MeterIdentity
_FIELDS: Final = {
    "serial_number": "serial",
    "manufacturer": "manufacturer",
    "meter_model": "model",
    "firmware_version": "firmware",
}


@lru_cache(maxsize=256)
def identity_plan(profile: MeterProfile) -> ReadPlan | None:
    """The read of a profile's identity registers; None when it has none."""
    entries = tuple(entry for entry in profile.objects if entry.quantity in _FIELDS)
    return ReadPlan(entries=entries) if entries else None


def identity_from_objects(plan: ReadPlan, result: ReadResult, meter_address: str) -> MeterIdentity:
    """The identity that identity registers hold; what is missing stays empty."""
    found: dict[str, str] = {}
    for entry, value in zip(plan.entries, result.values, strict=True):
        if value is not None:
            found.setdefault(_FIELDS[entry.quantity], str(value))
    return MeterIdentity(**found, meter_address=meter_address)


def identity_from_server_id(data: bytes, meter_address: str) -> MeterIdentity:
    """What function 17 says: an id, the run indicator (0x00 or 0xFF), then text as the vendor likes it."""
    text = data[data.find(b"\xff") + 1 :] if b"\xff" in data else data
    shown = "".join(chr(octet) if 0x20 <= octet < 0x7F else " " for octet in text)
    return MeterIdentity(model=" ".join(shown.split()), meter_address=meter_address)
