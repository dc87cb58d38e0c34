"""What a meter told somebody else: the data identifiers that were read in a recorded conversation. Pure."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from headend.drivers.base import Overheard
from headend.drivers.dlt645.plan import plan_asks, plan_scales
from headend.errors import CapabilityError, ConfigError, DecodeError, ObjectUndefined, RemoteProtocolError
from headend.model.objects import ReadPlan
from headend.model.quantity import base_unit
from headend.protocols.dlt645.frame import FROM_METER, decode_frame
from headend.protocols.dlt645.messages import decode_response, version_of
from headend.protocols.dlt645.responses import Data
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.model.objects import ObjectRef, RawValue
    from headend.model.profile import MeterProfile

_START: Final = b"\x68"


def overhear(exchanges: Sequence[tuple[bytes, bytes]], profile: MeterProfile | None) -> Overheard:
    """The objects of the meter file that were read, alone or in blocks; raises CapabilityError without a file."""
    if profile is None:
        raise CapabilityError("data identifiers say nothing without a meter file", hint="headend profile list")
    read: dict[int, bytes] = {}
    version, address = Version.V2007, ""
    for _, answer in exchanges:
        at = answer.find(_START)
        try:
            frame, _ = decode_frame(answer, max(at, 0))
            version = version_of(frame.control, len(frame.data)) if frame.control & FROM_METER else version
            told = decode_response(frame.control, frame.data, version)
        except RemoteProtocolError:
            continue
        if isinstance(told, Data) and not told.more and told.sequence is None:
            read[told.di] = told.data
            address = str(frame.address)
    plan = ReadPlan(entries=profile.objects)
    exponents, _ = plan_scales(plan, version=version)
    values: dict[int, RawValue] = {}
    for ask in plan_asks(plan, blocks=True, version=version):
        for each in [ask] if ask.di in read or not ask.block else ask.singles():
            for wanted in each.wanted:
                with suppress(DecodeError, ObjectUndefined, ConfigError):
                    if each.di in read:
                        values[wanted.index] = each.value(wanted, read[each.di])
    seen: dict[ObjectRef, tuple[RawValue, int, str]] = {}
    for index, value in sorted(values.items()):
        entry = profile.objects[index]
        exponent = exponents[index] if exponents else entry.exponent
        seen[entry.ref] = value, exponent, base_unit(entry.unit)[0]
    return Overheard(seen=seen, framing="tcp", params={"address": address} if address else {})
