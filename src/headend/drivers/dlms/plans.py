"""From a read plan to prepared requests: made once for all meters with equal addressing. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.dlms.clocks import CLOCK_CLASS
from headend.drivers.dlms.conversation import PreparedGet
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.protocols.dlms.template import pack_lists, prepare_get, prepare_get_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headend.drivers.dlms.parameters import Addressing
    from headend.model.objects import ReadPlan

SCALER_ATTRIBUTES: Final = {3: 3, 4: 3, 5: 4}
"""By class, the attribute that holds scaler and unit of its values."""
SCALED_ATTRIBUTES: Final = {3: (2,), 4: (2,), 5: (2, 3)}


class Step(NamedTuple):
    """One request of a plan, and the places of its values in the plan."""

    prepared: PreparedGet
    indexes: range


class PreparedPlan(NamedTuple):
    """A plan as requests. `clocks` are the places of date-times."""

    refs: tuple[CosemRef, ...]
    steps: tuple[Step, ...]
    clocks: tuple[int, ...]


def scaler_ref(ref: CosemRef) -> CosemRef | None:
    """The attribute that tells scaler and unit of a value, None for values that have none."""
    if ref.member not in SCALED_ATTRIBUTES.get(ref.class_id, ()):
        return None
    return ref.other(SCALER_ATTRIBUTES[ref.class_id])


@lru_cache(maxsize=1024)
def prepare_plan(plan: ReadPlan, addressing: Addressing, max_pdu: int, *, most: int) -> PreparedPlan:
    """The requests of a plan; up to `most` attributes in one request."""
    refs = tuple(cosem_ref(entry.ref.address) for entry in plan.entries)
    clocks = tuple(index for index, ref in enumerate(refs) if ref.class_id == CLOCK_CLASS and ref.member == 2)
    return PreparedPlan(refs, prepare_refs(refs, addressing, max_pdu, most=most), clocks)


@lru_cache(maxsize=1024)
def prepare_refs(refs: tuple[CosemRef, ...], addressing: Addressing, max_pdu: int, *, most: int) -> tuple[Step, ...]:
    """The requests that bring some attributes, up to `most` in one; meters that take no lists are asked for one."""
    groups = pack_lists(len(refs), max_pdu, most)
    return tuple(Step(prepare([refs[index] for index in group], addressing), group) for group in groups)


def prepare(refs: Sequence[CosemRef], addressing: Addressing) -> PreparedGet:
    """One request."""
    descriptors = [ref.attribute.encode() for ref in refs]
    apdus = prepare_get(descriptors[0]) if len(refs) == 1 else prepare_get_list(descriptors)
    framing = addressing.make_framing()
    return PreparedGet(
        tuple(framing.prepare(apdu) for apdu in apdus),
        apdus,
        tuple(apdu[:3] for apdu in apdus),
        len(refs) if len(refs) > 1 else 0,
    )
