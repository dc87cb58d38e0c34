"""What a meter tells in an association: its object list, who it is, who else may associate and how, its link and its security."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.access import Access
from headend.drivers.dlms.conversation import Conversation
from headend.drivers.dlms.listing import ask_objects
from headend.drivers.dlms.parameters import read_params
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.drivers.dlms.short_conversation import ShortConversation
from headend.errors import CapabilityError, DecodeError, HeadendError, LinkError, MeterError, ProtocolError
from headend.protocols.dlms.initiate import Conformance
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headend.drivers.dlms.probing.wire import Talk
    from headend.drivers.ground import Ground
    from headend.model.objects import ObjectInfo, RawValue
    from headend.protocols.dlms.initiate import InitiateResponse

ASSOCIATION, SECURITY_SETUP, SAP_ASSIGNMENT, HDLC_SETUP, DATA = 15, 64, 17, 23, 1
_ASSOCIATION_MEMBERS: Final = (3, 4, 5, 6, 9)
"""Partners, application context, what was negotiated, mechanism, security setup."""
_OWN_MEMBERS: Final = (3, 4, 6, 9)
_SETUP_MEMBERS: Final = (2, 3, 5)
"""Policy, suite, system title of the meter."""
_HDLC_MEMBERS: Final = (2, 3, 4, 5, 8, 9)
"""Speed, windows, sizes, address."""
LOAD_PROFILE: Final = 7
LAYOUT_MEMBERS: Final = (3, 4, 8)
"""capture_objects, capture_period, profile_entries"""
_MOST_TABLES: Final = 6
_ORDER: Final = (SAP_ASSIGNMENT, SECURITY_SETUP, DATA, ASSOCIATION, HDLC_SETUP)
"""Classes that tell, those that tell more in fewer attributes first."""
_MOST: Final = 96
"""Attributes that are read, however many objects there are."""
_IDENTITY: Final = (
    (0, 0, 42, 0, None),
    (0, 0, 96, 1, None),
    (1, 0, 0, 2, None),
    (0, 0, 0, 2, None),
    (1, 0, 0, 0, None),
    (0, 0, 96, 90, None),
)
"""Logical device name, device identifiers, firmware, firmware elsewhere, identifiers of the owner; None is any."""
_USUAL: Final = tuple(
    map(
        cosem_ref,
        (
            "1/0-0:42.0.0.255",
            "1/0-0:96.1.0.255",
            "1/0-0:96.1.1.255",
            "1/1-0:0.2.0.255",
            "1/0-0:0.2.1.255",
            "17/0-0:41.0.0.255",
        ),
    )
)
"""What is asked for where there is no object list to choose from."""
_OWN: Final = Obis(0, 0, 40, 0, 0)


@dataclass(slots=True)
class Told:
    """What was read in one association, and where in the evidence it stands. Objects empty: it shows no list."""

    objects: Sequence[ObjectInfo] = ()
    values: dict[CosemRef, RawValue] = field(default_factory=dict)
    in_list: int = -1
    in_values: int = -1
    note: str = ""
    """why there is no object list"""


async def tell(talk: Talk, ground: Ground, initiate: InitiateResponse, params: Mapping[str, str], told: Told) -> None:
    """Read in an association that stands on a link, into `told`; raises LinkError or ProtocolError where it broke off."""
    access = _enter(talk, ground, initiate, params)
    conversation = access.conversation
    conversation.start()
    try:
        try:
            await access.associate()
            told.objects = await ask_objects(access)
        except (MeterError, CapabilityError) as error:
            told.note = str(error)
        except DecodeError as error:
            if not conversation.sound:
                raise
            told.note = f"the object list is not to be read: {error}"
        told.in_list = ground.step("dlms object list", told.note)
        chosen = choose(told.objects) if told.objects else _USUAL if access.names is None else ()
        await ask_values(access, chosen, told)
        told.in_values = ground.step("dlms identity, associations and security")
        if layouts := choose_layouts(told.objects):
            await ask_values(access, layouts, told)
            ground.step("dlms layout of load profiles")
    except (LinkError, ProtocolError) as error:
        ground.step("dlms reading", str(error))
        raise
    finally:
        conversation.stop()


async def ask_values(access: Access, refs: tuple[CosemRef, ...], told: Told) -> None:
    """Read attributes; what the meter refuses is left out."""
    found = await access.read_refs(*refs)
    told.values |= {ref: value for ref, value in zip(refs, found, strict=True) if not isinstance(value, HeadendError)}


def choose(objects: Sequence[ObjectInfo]) -> tuple[CosemRef, ...]:
    """The attributes of an object list that say who and how a meter is, as far as they may be read; at most so many."""
    chosen: list[CosemRef] = []
    for each in objects:
        members: Iterable[int] = ()
        ref = cosem_ref(each.ref.address) if each.class_id in _ORDER else None
        if ref is None:
            continue
        if ref.class_id == ASSOCIATION:
            members = _OWN_MEMBERS if ref.obis == _OWN else _ASSOCIATION_MEMBERS
        elif ref.class_id == SECURITY_SETUP:
            members = _SETUP_MEMBERS
        elif ref.class_id == HDLC_SETUP:
            members = _HDLC_MEMBERS
        elif ref.class_id == SAP_ASSIGNMENT or _is_identity(ref.obis):
            members = (2,)
        chosen += [ref.other(member) for member in members if _may_read(each, member)]
    return tuple(sorted(chosen, key=lambda ref: _ORDER.index(ref.class_id))[:_MOST])


def choose_layouts(objects: Sequence[ObjectInfo]) -> tuple[CosemRef, ...]:
    """The attributes that say what load profiles capture, how often, and how much they keep; of the first few."""
    tables = [each for each in objects if each.class_id == LOAD_PROFILE][:_MOST_TABLES]
    refs = ((each, cosem_ref(each.ref.address)) for each in tables)
    return tuple(ref.other(member) for each, ref in refs for member in LAYOUT_MEMBERS if _may_read(each, member))


def _is_identity(name: Obis) -> bool:
    groups = (name.a, name.b, name.c, name.d)
    return name.f == 0xFF and any(groups == pattern[:4] for pattern in _IDENTITY)


def _may_read(info: ObjectInfo, member: int) -> bool:
    """What the rights of an object list allow; those of one without rights are not known."""
    return not info.attributes or info.attributes.get(member, "").startswith("r")


def _enter(talk: Talk, ground: Ground, initiate: InitiateResponse, params: Mapping[str, str]) -> Access:
    """The association that stands, as its reader sees it."""
    asked = read_params(talk.addressing.framing, params)
    conformance = initiate.conformance if asked.lists else initiate.conformance & ~Conformance.MULTIPLE_REFERENCES
    parameters = replace(asked, addressing=talk.addressing, preset=conformance, max_pdu=initiate.max_receive_pdu)
    spoken = Conversation(talk.link, talk.framing)
    conversation = ShortConversation(spoken) if parameters.short_names else spoken
    return Access(conversation, parameters, {}, ground.timeout)
