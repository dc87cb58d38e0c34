"""What all virtual meters of one meter file share: their objects, and what each client sees of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms import meter_objects
from headend.drivers.dlms.meter.clock import Clock
from headend.drivers.dlms.meter.event_log import TABLES, EventLog
from headend.drivers.dlms.meter.functions import Party, Plant
from headend.drivers.dlms.meter.known import make_function
from headend.drivers.dlms.meter.listed import add_listed
from headend.drivers.dlms.meter.load_profiles import LoadBuffer
from headend.drivers.dlms.meter.relay import Relay
from headend.drivers.dlms.meter.short_association import short_association
from headend.drivers.dlms.meter_associations import association_object
from headend.drivers.dlms.meter_clients import Client, Device, clients_of, devices_of
from headend.drivers.dlms.meter_objects import Association, CosemObject, Read
from headend.drivers.dlms.meter_setup import invocation_counter, security_setup
from headend.drivers.dlms.meter_types import wire_type
from headend.drivers.dlms.meter_view import View
from headend.drivers.dlms.parameters import Parameters, Versions, read_params
from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.model.profile import MeterProfile
from headend.protocols.dlms.short_names import assign_names
from headend.standards.obis import Obis

_BUFFER: Final = 2
_MAX_PARAMETERS: Final = 256
_MAX_VIEWS: Final = 256


class MeterFile:
    """The objects of one meter file, and those that every meter has."""

    def __init__(
        self, profile: MeterProfile, *, secured: bool = False, short: bool = False, versions: Versions | None = None
    ) -> None:
        """`secured`: its meters have keys; `short`: their objects have short names. Without `versions`, those of the file.

        Raises ConfigError for parameters that are wrong, or an object of unknown type.
        """
        self._profile = profile
        self._parameters: dict[frozenset[tuple[str, str]], Parameters] = {}
        parameters = read_params("wrapper", {**profile.link, **profile.association})
        self._zone, self.versions = parameters.zone, versions or parameters.versions
        self.objects: dict[tuple[int, bytes], CosemObject] = {}
        self.buffers: dict[bytes, LoadBuffer] = {}
        self.plant = Plant(self.objects, self._zone, _measuring_period(profile), self.party)
        self._add_file()
        for listed in profile.listed:
            add_listed(self.objects, listed)
        self._add_implicit()
        if short:
            self._put(short_association(self._view_of))
        else:
            self._add_associations()
        if secured:
            for index in range(1 + sum(bool(client.secrets) for client in profile.clients)):
                self._put(invocation_counter(index))
                self._put(security_setup(index, self.versions.setup))
        for made in self.objects.values():
            self.plant.watch(made)
        named = ((made.class_id, made.version, made.name) for made in self.objects.values() if short)
        self._short_names = assign_names(named)
        self._views: dict[tuple[Device, Client], View] = {}

    def view(self, device: Device, client: Client) -> View:
        """What a client sees of a logical device, made when first asked for."""
        found = self._views.get((device, client))
        if found is None:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            found = View(self.objects, self.buffers, device, client, self.versions.association, self._short_names)
            self._views[device, client] = found
        return found

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
            kind = EventLog if load_profile.event_table in TABLES else LoadBuffer
            buffer = kind(self.plant, load_profile, values)
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
            if not self._profile.is_whole and (class_id == meter_objects.CLOCK or not names):
                names.add(usual_name)
            for name in sorted(names, key=str):
                if (class_id, name.to_bytes()) not in made:
                    self._put(self.plant.add(kind(self.plant, name, {})))
        if self._lets_in(meter_objects.DATA, meter_objects.LOGICAL_DEVICE_NAME):
            self._put(meter_objects.logical_device_name())
        saps = meter_objects.sap_assignment()
        if not self._profile.is_whole or (saps.class_id, saps.name.to_bytes()) in self.objects:
            self._put(saps)

    def _lets_in(self, class_id: int, name: Obis) -> bool:
        """May an object that goes without saying be added?"""
        return not self._profile.is_whole and (class_id, name.to_bytes()) not in self.objects

    def _add_associations(self) -> None:
        clients = clients_of(self._profile, self.parameters(frozenset())) if self._profile.clients else ()
        for index in range(len(clients) + 1):
            self._put(association_object(index, self.versions.association, self._view_of))

    def _view_of(self, asked: Association, client: Client) -> View:
        return self.view(asked.device, client)

    def party(self, model: MeterModel) -> Party:
        """What one meter and its clients have agreed on."""
        parameters = self.parameters(frozenset(model.params.items()))
        return Party(parameters, self.clients(parameters), self.devices(parameters))

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

    def clients(self, parameters: Parameters) -> tuple[Client, ...]:
        """The clients of meters with some parameters."""
        return _clients(self._profile, parameters)

    def devices(self, parameters: Parameters) -> tuple[Device, ...]:
        """The logical devices of meters with some parameters."""
        return _devices(self._profile, parameters)


_clients = lru_cache(maxsize=_MAX_PARAMETERS)(clients_of)
_devices = lru_cache(maxsize=_MAX_PARAMETERS)(devices_of)


def check(profile: MeterProfile) -> None:
    """Refuse a meter file that no virtual meter can be made of; raises ConfigError."""
    file = MeterFile(profile)
    parameters = file.parameters(frozenset())
    clients_of(profile, parameters)
    devices_of(profile, parameters)


def _measuring_period(profile: MeterProfile) -> int:
    """Milliseconds between the rows of the first load profile that has a period."""
    return 1000 * next((table.period_seconds for table in profile.load_profiles if table.period_seconds > 0), 900)


def _whole(buffer: LoadBuffer) -> Read:
    return lambda association: b"".join(buffer.pieces(association, None))


@lru_cache(maxsize=512)
def meter_file(
    profile: MeterProfile, *, secured: bool = False, short: bool = False, versions: Versions | None = None
) -> MeterFile:
    """The compiled form of a meter file, for meters with keys or without, with short names or without, made once."""
    return MeterFile(profile, secured=secured, short=short, versions=versions)
