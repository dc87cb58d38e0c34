"""COSEM interface classes (IEC 62056-6-2): what their attributes and methods are called, read when first asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from headend.standards.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. `type` is the name of an A-XDR type, `date_time` in an octet-string, `any` of several, or empty."""

    attribute_id: int
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class CosemClass:
    """One class in the versions `first_version` to `last_version`; attributes and methods by id.

    `methods_at` is where the methods stand behind the base name of an object in short-name referencing, where known.
    """

    class_id: int
    first_version: int
    last_version: int
    name: str
    attributes: Mapping[int, Attribute]
    methods: Mapping[int, str]
    methods_at: int | None = None

    def method_offset(self, method_id: int) -> int | None:
        """What to add to a base name to call a method; None when the class has no such method or its place is not known."""
        if self.methods_at is None or self.methods.get(method_id, _RESERVED).startswith(_RESERVED):
            return None
        return self.methods_at + SHORT_NAME_STEP * (method_id - 1)


def attribute_offset(attribute_id: int) -> int:
    """What to add to a base name to reach an attribute (IEC 62056-6-2, 4.1.2)."""
    return SHORT_NAME_STEP * (attribute_id - 1)


SHORT_NAME_STEP: Final = 8
"""Short names of the attributes, and of the methods, of an object follow each other in this distance."""

_RESERVED: Final = "reserved"
"""Methods of older versions, whose short names may be those of attributes by now."""
_LOGICAL_NAME: Final = Attribute(1, "logical_name", "octet_string")


@cache
def classes() -> Mapping[int, tuple[CosemClass, ...]]:
    """All classes by id, each with its versions from old to new."""
    found: dict[int, tuple[CosemClass, ...]] = {}
    for row in read_table("cosem_classes"):
        cosem_class = _class(row)
        found[cosem_class.class_id] = (*found.get(cosem_class.class_id, ()), cosem_class)
    return MappingProxyType(found)


def find_class(class_id: int, version: int | None = None) -> CosemClass | None:
    """A class in a version; the newest one stands for versions that are newer still, or not given. None when unknown."""
    versions = classes().get(class_id)
    if versions is None:
        return None
    return next((known for known in versions if version is not None and version <= known.last_version), versions[-1])


def _class(row: Mapping[str, str]) -> CosemClass:
    first, _, last = row["versions"].partition("-")
    attributes = [_LOGICAL_NAME]
    for attribute_id, text in enumerate(row["attributes"].split(), start=2):
        name, _, kind = text.partition(":")
        attributes.append(Attribute(attribute_id, name, kind))
    return CosemClass(
        class_id=int(row["class_id"]),
        first_version=int(first),
        last_version=int(last or first),
        name=row["name"],
        attributes=MappingProxyType({attribute.attribute_id: attribute for attribute in attributes}),
        methods=MappingProxyType(dict(enumerate(row["methods"].split(), start=1))),
        methods_at=int(row["methods_at"], 16) if row["methods_at"] else None,
    )
