"""A-XDR data with the place of every value, as far as they can be read, and in the spellings of real meters. Pure.

`read_data` never raises: a node that cannot be read carries its error, and so does nothing else. Two peculiarities are
read where the standard's spelling leads nowhere, and named:

- untagged attribute descriptors (Sagemcom XT211 and what EG.D publishes): in a structure of two, class, logical name and
  attribute stand as nine bare octets before the value;
- swapped octets (Landis+Gyr ZMF100): an octet-string begins with its length 06 and then the tag 09.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from headend.errors import DecodeError
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.axdr_plain import (
    FIXED,
    VARIABLE,
    Plain,
    Tag,
    check_depth,
    cut_short,
    decode_data,
    decode_length,
)
from headend.standards.cosem import find_class

UNTAGGED: Final = "attribute descriptor without tags"
SWAPPED: Final = "tag and length of an octet-string swapped"
_DESCRIPTOR: Final = 9
_HIGHEST_ATTRIBUTE: Final = 32
_SWAPPED_HEAD: Final = b"\x06\x09"


@dataclass(frozen=True, slots=True)
class Node:
    """One value, from `offset` up to `end`. `tag` None is an untagged descriptor; `children` are those of a sequence."""

    tag: Tag | None
    offset: int
    end: int
    value: Plain = None
    children: tuple[Node, ...] = ()
    descriptor: AttributeDescriptor | None = None
    oddity: str = ""
    error: DecodeError | None = None

    @property
    def is_sequence(self) -> bool:
        """True for arrays and structures with a node for each element."""
        return self.tag is Tag.ARRAY or self.tag is Tag.STRUCTURE

    def plain(self) -> Plain:
        """What `decode_data` returns for the same octets."""
        if self.is_sequence:
            return [child.plain() for child in self.children]
        return list(self.descriptor) if self.descriptor else self.value

    def walk(self) -> Iterator[Node]:
        """The node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_data(data: bytes, offset: int = 0, end: int | None = None) -> Node:
    """The value at `offset`; meters' peculiarities are allowed for where the standard's spelling does not reach `end`."""
    limit = len(data) if end is None else end
    strict = _Walker(data, limit, tolerant=False).node(offset, 0)
    if _place_of_error(strict) is None and strict.end == limit:
        return strict
    tolerant = _Walker(data, limit, tolerant=True).node(offset, 0)
    if any(node.oddity for node in tolerant.walk()) and _reach(tolerant) > _reach(strict):
        return tolerant
    return strict


def first_error(node: Node) -> DecodeError | None:
    """The error that ended reading, if one did."""
    return next((each.error for each in node.walk() if each.error), None)


def _place_of_error(node: Node) -> int | None:
    error = first_error(node)
    return None if error is None else error.offset or 0


def _reach(node: Node) -> tuple[int, bool]:
    """How far reading came, and whether it came there without an error."""
    place = _place_of_error(node)
    return (node.end if place is None else place, place is None)


class _Walker:
    """Reads nodes of one buffer."""

    __slots__ = ("_data", "_end", "_tolerant")

    def __init__(self, data: bytes, end: int, *, tolerant: bool) -> None:
        self._data = data[:end]
        self._end = end
        self._tolerant = tolerant

    def node(self, at: int, depth: int) -> Node:
        data = self._data
        if at >= self._end:
            return Node(None, at, at, error=cut_short(at))
        tag = data[at]
        if tag in (Tag.ARRAY, Tag.STRUCTURE):
            return self._sequence(at, depth)
        if self._tolerant and data[at : at + 2] == _SWAPPED_HEAD and self._is_name(at + 2):
            return Node(Tag.OCTET_STRING, at, at + 8, data[at + 2 : at + 8], oddity=SWAPPED)
        try:
            value, end = decode_data(data, at, self._end)
        except DecodeError as error:
            return Node(None, at, self._end, error=error)
        return Node(Tag(tag), at, end, value)

    def _sequence(self, at: int, depth: int) -> Node:
        tag = Tag(self._data[at])
        try:
            check_depth(at, depth)
            count, inner = decode_length(self._data, at + 1)
        except DecodeError as error:
            return Node(tag, at, self._end, error=error)
        except IndexError:
            return Node(tag, at, self._end, error=cut_short(self._end))
        children: list[Node] = []
        while len(children) < count:
            bare = self._tolerant and tag is Tag.STRUCTURE and count == 2 and not children
            descriptor = self._descriptor(inner) if bare else None
            child = descriptor or self.node(inner, depth + 1)
            children.append(child)
            inner = child.end
            if first_error(child):
                return Node(tag, at, self._end, children=tuple(children))
        return Node(tag, at, inner, children=tuple(children))

    def _descriptor(self, at: int) -> Node | None:
        """Nine bare octets that can only be a descriptor: of a known class, and a value with a tag follows."""
        octets = self._data[at : at + _DESCRIPTOR]
        if len(octets) < _DESCRIPTOR or not self._is_name(at + 2) or at + _DESCRIPTOR >= self._end:
            return None
        descriptor = AttributeDescriptor(int.from_bytes(octets[:2], "big"), octets[2:8], octets[8])
        follows = self._data[at + _DESCRIPTOR]
        known = find_class(descriptor.class_id) and 1 <= descriptor.attribute_id <= _HIGHEST_ATTRIBUTE
        tagged = FIXED[follows] is not None or VARIABLE[follows] is not _NO_TAG
        if not known or not tagged:
            return None
        return Node(None, at, at + _DESCRIPTOR, descriptor=descriptor, oddity=UNTAGGED)

    def _is_name(self, at: int) -> bool:
        return is_logical_name(self._data[at : at + 6])


_NO_TAG: Final = VARIABLE[0x07]
"""What reads a tag that does not exist."""

_HIGHEST_MEDIUM: Final = 15
_HIGHEST_BILLING: Final = 99
_ANY_BILLING: Final = 255


def is_logical_name(octets: bytes) -> bool:
    """Six octets that an OBIS code may be: a medium (group A) and a billing period (group F) that exist, not all zero."""
    if len(octets) != 6 or octets[0] > _HIGHEST_MEDIUM:
        return False
    return octets[5] == _ANY_BILLING or (octets[5] <= _HIGHEST_BILLING and any(octets[2:5]))
