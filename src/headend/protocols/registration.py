"""Logins and heartbeats of meters that dial in, from a description. Both roles.

A frame may be carried in the wrapper of IEC 62056-47: then the length in the wrapper and that of the frame are the same. That,
with the form of each octet, tells a login from the APDUs whose tag is its first octet (0C ReadResponse, 0F DataNotification,
CC glo-get-response, DD general-ciphering). Wrong check octets make no other frame of it: they are told, not refused.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from headend.errors import LocalProtocolError
from headend.protocols.base import NEED_DATA, NeedData
from headend.protocols.frame_layout import Field, Found, Layout, encode, find, to_octets, to_text


class Kind(enum.Enum):
    """What a meter says with a frame."""

    LOGIN = "login"
    HEARTBEAT = "heartbeat"
    LAST_GASP = "last-gasp"
    """its supply is going away"""


class Policy(enum.Enum):
    """When a frame is acknowledged."""

    WHEN_RIGHT = "when-right"
    """its check octets are right, or it has none"""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameForm:
    """A frame that a meter sends, and what acknowledges it, if anything does."""

    kind: Kind
    layout: Layout
    acknowledgement: Layout | None = None
    given: Mapping[str, bytes] = field(default_factory=dict)
    """fields of the acknowledgement that are not those of the frame"""
    opening: bool = False
    """only the first thing that is said on a connection: what comes later may look the same and be something else"""
    alone: bool = False
    """only where nothing else stands in front of the first frame, or nothing follows"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A login or heartbeat that came. `registration` is the id of its description."""

    registration: str
    kind: Kind
    number: str
    """of the meter, as text; empty where the frame has none"""
    blank: bool
    """the number is all zeros: nobody has set it"""
    check_ok: bool | None
    """None where nothing checks the frame"""
    octets: bytes
    answer: bytes
    """what acknowledges it, whatever the policy says; empty where nothing does"""
    acknowledgement: bytes
    """what is to be sent by the policy; empty for nothing"""
    protocol: str = ""
    """the driver that speaks with such a meter, where the description says it"""
    framing: str = ""
    device: str = ""
    """what sent it: meter, gateway …, where it says it"""
    option: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """what else it says"""

    @property
    def identity(self) -> str:
        """The number, unless nobody has set it."""
        return "" if self.blank else self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The frames of one family of meters or modules."""

    id: str
    name: str
    frames: tuple[FrameForm, ...]
    source: str = ""
    protocol: str = ""
    framing: str = ""
    policy: Policy = Policy.WHEN_RIGHT
    zero_is_blank: bool = True
    """a number of all zeros is nobody's"""
    period: int = 0
    """seconds between heartbeats, 0 where that is not known"""

    def match(
        self, data: bytes, at: int = 0, *, silent: bool = False, opening: bool = True
    ) -> Registered | NeedData | None:
        """The frame that begins at an offset; NEED_DATA while it may be one, None when it is none.

        `silent`: nothing follows the octets for now. `opening`: nothing has come before it.
        """
        undecided = False
        for form in self.frames:
            if form.alone or (form.opening and not opening):
                continue
            found = find(form.layout, data, at, silent=silent)
            if isinstance(found, Found):
                return self._registered(form, data, found)
            undecided |= found is NEED_DATA
        return NEED_DATA if undecided else None

    def match_alone(self, data: bytes) -> Registered | None:
        """What octets say that stand alone, or in front of the first frame."""
        for form in self.frames:
            found = find(form.layout, data, silent=True) if form.alone else None
            if isinstance(found, Found) and found.end == len(data):
                return self._registered(form, data, found)
        return None

    def encode(
        self, kind: Kind, values: Mapping[str, str | int | bytes], *, source: int = 1, destination: int = 1
    ) -> bytes:
        """The frame that a meter sends; raises LocalProtocolError for a kind that it has none of, or values that do not fit."""
        for form in self.frames:
            if form.kind is kind:
                octets = {name: to_octets(form.layout, name, value) for name, value in values.items()}
                return encode(form.layout, octets, source, destination)
        raise LocalProtocolError(f"{self.id} has no {kind.value}")

    def is_acknowledgement(self, sent: bytes, received: bytes) -> bool:
        """True when what a meter received acknowledges the frame that it has sent."""
        registered = self.match(sent, silent=True)
        return isinstance(registered, Registered) and bool(registered.answer) and received == registered.answer

    def _registered(self, form: FrameForm, data: bytes, found: Found) -> Registered:
        texts = {
            part.name: to_text(part, data[slice(*found.fields[part.name])])
            for part in form.layout.parts
            if isinstance(part, Field)
        }
        answer = _answer(form, data, found)
        wanted = self.policy is Policy.ALWAYS or (self.policy is Policy.WHEN_RIGHT and found.check_ok is not False)
        number = texts.pop("number", "")
        option = texts.pop("option", "")
        return Registered(
            registration=self.id,
            kind=form.kind,
            number=number,
            blank=not number or (self.zero_is_blank and not number.strip("0")),
            check_ok=found.check_ok,
            octets=data[found.start : found.end],
            answer=answer,
            acknowledgement=answer if wanted else b"",
            protocol=self.protocol,
            framing=self.framing,
            device=texts.pop("device", ""),
            option=int(option, 16) if option else None,
            fields=texts,
        )


def _answer(form: FrameForm, data: bytes, found: Found) -> bytes:
    """What acknowledges a frame: its own fields in another layout."""
    layout = form.acknowledgement
    if layout is None:
        return b""
    values = {name: data[start:end] for name, (start, end) in found.fields.items()} | dict(form.given)
    source, destination = found.ports[::-1]
    if layout.wrapped is not None:
        source = next(iter(layout.wrapped.source), source)
        destination = next(iter(layout.wrapped.destination), destination)
    return encode(layout, values, source, destination)
