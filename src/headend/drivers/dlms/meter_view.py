"""What one client sees of one logical device of a virtual meter: its objects, and what it may do with them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.meter_clients import Client, Device
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.axdr import array, encode_data
from headend.protocols.dlms.classes import INVOKE, AccessRight, ObjectListEntry
from headend.protocols.dlms.security.authentication import HLS
from headend.protocols.dlms.short_names import ShortNames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headend.drivers.dlms.meter.load_profiles import LoadBuffer
    from headend.drivers.dlms.meter_objects import CosemObject, Read
    from headend.protocols.dlms.short_names import ShortObject

NO_NAMES: Final = ShortNames(())
NO_SELECTION: Final = b"\x00"
PLAIN_READ: Final = AccessRight.READ
_BUFFER: Final = 2
_LOAD_PROFILE: Final = 7


class View:
    """The objects of one association.

    `reads` is keyed by ten octets, the attribute descriptor and "no selection" as they stand in a GET request, so that a
    request is answered by one look-up. It holds what may be read without protection; load-profile buffers are not in it:
    they are sent row by row. `hidden` are the objects of the device that the client does not see.
    """

    def __init__(
        self,
        objects: Mapping[tuple[int, bytes], CosemObject],
        buffers: Mapping[bytes, LoadBuffer],
        device: Device,
        client: Client,
        version: int,
        short_names: ShortNames = NO_NAMES,
    ) -> None:
        self._client = client
        self._version = version
        self.buffers = buffers
        self.short_names = short_names
        held = {key: made for key, made in objects.items() if made.always or device.holds(made.class_id, made.name)}
        self.objects = {key: made for key, made in held.items() if made.always or client.sees(made.class_id, made.name)}
        self.hidden = held.keys() - self.objects.keys()
        self.names = frozenset(name for _, name in self.objects)
        self.reads: dict[bytes, Read] = {
            AttributeDescriptor(class_id, name, attribute_id).encode() + NO_SELECTION: read
            for (class_id, name), made in self.objects.items()
            for attribute_id, read in made.reads.items()
            if not (class_id == _LOAD_PROFILE and attribute_id == _BUFFER)
            and self.attribute_right(made, attribute_id) & ~AccessRight.WRITE == PLAIN_READ
        }

    def attribute_right(self, made: CosemObject, attribute_id: int) -> AccessRight:
        """What the client may do with an attribute."""
        usual = AccessRight.NONE
        if attribute_id in made.reads:
            usual |= AccessRight.READ
        if attribute_id in made.writes and self._client.may_change:
            usual |= AccessRight.WRITE
        return self._client.right(made.class_id, made.name, attribute_id, usual, method=False)

    def method_right(self, made: CosemObject, method_id: int) -> AccessRight:
        """What the client may do with a method."""
        client = self._client
        may = client.may_change or (client.mechanism in HLS and method_id in made.proofs)
        usual = INVOKE if may else AccessRight.NONE
        return client.right(made.class_id, made.name, method_id, usual, method=True)

    @cached_property
    def object_list(self) -> bytes:
        """Attribute object_list of its association, encoded."""
        return encode_data(array(*(self._listed(made).to_data(self._version) for made in self.objects.values())))

    @cached_property
    def short_list(self) -> bytes:
        """The same of an association whose objects have short names."""
        return encode_data(array(*(named.to_data() for named, _ in self._named())))

    @cached_property
    def short_rights(self) -> bytes:
        """Attribute access_rights_list of such an association, encoded."""
        return encode_data(
            array(*(self._listed(made).to_short_rights(named.base_name) for named, made in self._named()))
        )

    def _named(self) -> Iterator[tuple[ShortObject, CosemObject]]:
        for named in self.short_names.objects:
            made = self.objects.get((named.class_id, named.logical_name.to_bytes()))
            if made is not None:
                yield named, made

    def _listed(self, made: CosemObject) -> ObjectListEntry:
        attributes = {
            attribute_id: self.attribute_right(made, attribute_id)
            for attribute_id in sorted({*made.reads, *made.writes})
        }
        methods = {method_id: self.method_right(made, method_id) for method_id in sorted(made.methods)}
        return ObjectListEntry(made.class_id, made.version, made.name, attributes, methods, made.selectors)


EMPTY: Final = View({}, {}, Device(0), Client(0), 0)
"""What somebody sees who has not associated."""
