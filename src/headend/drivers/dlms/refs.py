"""References to COSEM attributes and methods: `3/1-0:1.8.0.255/2` is attribute 2 of the register 1-0:1.8.0.255."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from headend.errors import ConfigError
from headend.model.objects import ObjectRef
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor, MethodDescriptor
from headend.standards.obis import Obis

PROTOCOL: Final = "dlms"
SECRET_CLASSES: Final = frozenset({12, 15, 64})
"""associations and security setups: what is written there goes into no record"""
VALUE_CLASSES: Final = frozenset({1, 3, 4, 5, 8, 70})
"""those whose attribute 2 is one value; buffers and lists are fetched by nobody who does not ask for them"""
_VALUE: Final = 2
"""The attribute that is meant when none is named: the value of most classes."""


class CosemRef(NamedTuple):
    """Class, logical name, and the id of an attribute or method."""

    class_id: int
    obis: Obis
    member: int

    def __str__(self) -> str:
        return f"{self.class_id}/{self.obis}/{self.member}"

    @property
    def attribute(self) -> AttributeDescriptor:
        """The attribute as requests name it."""
        return AttributeDescriptor(self.class_id, self.obis.to_bytes(), self.member)

    @property
    def method(self) -> MethodDescriptor:
        """The method as requests name it."""
        return MethodDescriptor(self.class_id, self.obis.to_bytes(), self.member)

    @property
    def object_ref(self) -> ObjectRef:
        """The reference that the model knows."""
        return ObjectRef(PROTOCOL, str(self))

    def other(self, member: int) -> CosemRef:
        """Another attribute or method of the same object."""
        return self._replace(member=member)


@lru_cache(maxsize=65536)
def cosem_ref(address: str) -> CosemRef:
    """Parse CLASS/OBIS or CLASS/OBIS/ATTRIBUTE; raises ConfigError."""
    parts = address.split("/")
    if not 2 <= len(parts) <= 3:
        raise ConfigError(f"not a COSEM reference: {address!r}", hint="write it like 3/1-0:1.8.0.255/2")
    class_id = _number(parts[0], "class", address, 0xFFFF)
    member = _number(parts[2], "attribute", address, 0x7F) if len(parts) == 3 else _VALUE
    return CosemRef(class_id, Obis.parse(parts[1]), member)


def parse_ref(text: str) -> ObjectRef:
    """Check and canonicalise a reference; raises ConfigError."""
    return cosem_ref(text.strip()).object_ref


def _number(text: str, what: str, address: str, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= highest:
        raise ConfigError(f"COSEM reference {address!r}: {what} is not a number of 1 to {highest}")
    return int(text)
