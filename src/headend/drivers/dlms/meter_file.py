"""What all virtual meters of one meter file share: their objects, and the table from which GET requests are answered."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final

from headend.drivers.dlms import meter_objects
from headend.drivers.dlms.meter.clock import Clock
from headend.drivers.dlms.meter.functions import Plant
from headend.drivers.dlms.meter.known import make_function
from headend.drivers.dlms.meter.load_profiles import LoadBuffer
from headend.drivers.dlms.meter.relay import Relay
from headend.drivers.dlms.meter_objects import Association, CosemObject, Read
from headend.drivers.dlms.meter_setup import invocation_counter
from headend.drivers.dlms.meter_types import wire_type
from headend.drivers.dlms.parameters import Parameters, read_params
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.model.profile import MeterProfile
from headend.protocols.dlms.apdu.descriptor import AttributeDescriptor
from headend.protocols.dlms.axdr import array, encode_data
from headend.standards.obis import Obis

NO_SELECTION: Final = b"\x00"
_BUFFER: Final = 2
_MAX_PARAMETERS: Final = 256


class MeterFile:
    """The objects of one meter file, and those that every meter has.

    `reads` is keyed by ten octets, the attribute descriptor and "no selection" as they stand in a GET request, so that a
    request is answered by one look-up. Load-profile buffers are not in it: they are sent row by row.
    """

    def __init__(self, profile: MeterProfile, *, secured: bool = False) -> None:
        """`secured`: its meters have keys. Raises ConfigError for parameters that are wrong, or an object of unknown type."""
        self._profile = profile
        self._parameters: dict[frozenset[tuple[str, str]], Parameters] = {}
        self._zone = read_params("wrapper", {**profile.link, **profile.association}).zone
        self.objects: dict[tuple[int, bytes], CosemObject] = {}
        self.buffers: dict[bytes, LoadBuffer] = {}
        self.plant = Plant(self.objects, self._zone, _measuring_period(profile))
        self._add_file()
        self._add_implicit()
        if secured:
            self._put(invocation_counter(0))
        for made in self.objects.values():
            self.plant.watch(made)
        self.names = frozenset(name for _, name in self.objects)
        self.reads: dict[bytes, Read] = {
            AttributeDescriptor(class_id, name, attribute_id).encode() + NO_SELECTION: read
            for (class_id, name), made in self.objects.items()
            for attribute_id, read in made.reads.items()
            if not (class_id == meter_objects.LOAD_PROFILE and attribute_id == _BUFFER)
        }

    def _add_file(self) -> None:
        values = {}
        for index, entry in enumerate(self._profile.objects):
            ref = cosem_ref(entry.ref.address)
            wire = wire_type(entry, self._zone)
            values[entry.ref] = index, wire.encode
            meter_objects.add_value(self._object(ref), ref.member, index, entry, wire)
        for made in self.objects.values():
            meter_objects.complete(made, self._zone)
        for load_profile in self._profile.load_profiles:
            buffer = LoadBuffer(self.plant, load_profile, values)
            made = self.plant.add(buffer)
            made.reads[_BUFFER] = _whole(buffer)
            self._put(made)
            self.buffers[cosem_ref(load_profile.ref.address).attribute.encode()] = buffer

    def _object(self, ref: CosemRef) -> CosemObject:
        key = ref.class_id, ref.obis.to_bytes()
        found = self.objects.get(key)
        if found is None:
            found = self.objects[key] = CosemObject(ref.class_id, ref.obis)
        return found

    def _put(self, made: CosemObject) -> None:
        self.objects[made.class_id, made.name.to_bytes()] = made

    def _add_implicit(self) -> None:
        """Clock, relay, association and the like, which the meter role plays itself, whatever the file says of them."""
        for setup in self._profile.functions:
            self._put(self.plant.add(make_function(self.plant, setup)))
        made = self.plant.functions
        usual = {meter_objects.CLOCK: (Clock, Obis(0, 0, 1, 0, 0)), meter_objects.RELAY: (Relay, Obis(0, 0, 96, 3, 10))}
        for class_id, (kind, usual_name) in usual.items():
            names = {Obis.from_bytes(name) for each, name in self.objects if each == class_id}
            if class_id == meter_objects.CLOCK or not names:
                names.add(usual_name)
            for name in sorted(names, key=str):
                if (class_id, name.to_bytes()) not in made:
                    self._put(self.plant.add(kind(self.plant, name, {})))
        own_name = meter_objects.logical_device_name()
        if (own_name.class_id, own_name.name.to_bytes()) not in self.objects:
            self._put(own_name)
        self._put(meter_objects.sap_assignment())
        self._put(meter_objects.association(self._object_list))

    def _object_list(self, association: Association) -> bytes:
        return self._lists[association.may_change]

    @cached_property
    def _lists(self) -> tuple[bytes, bytes]:
        """The object lists of who may only read, and of who may do everything."""
        version = meter_objects.ASSOCIATION_VERSION
        read_only, everything = (
            encode_data(array(*(made.listed(may_change=rights).to_data(version) for made in self.objects.values())))
            for rights in (False, True)
        )
        return read_only, everything

    def parameters(self, params: frozenset[tuple[str, str]]) -> Parameters:
        """Link and association parameters of one meter, shared by those that have the same ones."""
        found = self._parameters.get(params)
        if found is None:
            if len(self._parameters) >= _MAX_PARAMETERS:
                self._parameters.clear()
            profile = self._profile
            merged = {**profile.link, **profile.association, **dict(params)}
            found = read_params("wrapper", merged)
            self._parameters[params] = found
        return found


def _measuring_period(profile: MeterProfile) -> int:
    """Milliseconds between the rows of the first load profile that has a period."""
    return 1000 * next((table.period_seconds for table in profile.load_profiles if table.period_seconds > 0), 900)


def _whole(buffer: LoadBuffer) -> Read:
    return lambda association: b"".join(buffer.pieces(association, None))


@lru_cache(maxsize=512)
def meter_file(profile: MeterProfile, *, secured: bool = False) -> MeterFile:
    """The compiled form of a meter file, for meters with keys or without, made once."""
    return MeterFile(profile, secured=secured)
