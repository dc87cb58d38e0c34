"""Who may associate with a virtual meter, with which of its logical devices, and what he may do with which object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from headend.drivers.dlms.parameters import read_params
from headend.errors import ConfigError
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.classes import INVOKE, AccessRight
from headend.protocols.dlms.security.authentication import HLS
from headend.standards.obis import Obis, parse_pattern

if TYPE_CHECKING:
    from headend.drivers.base import MeterModel
    from headend.drivers.dlms.parameters import Parameters
    from headend.model.meter import Secret
    from headend.model.profile import AccessRule, LogicalDevice, MeterClient, MeterProfile

PUBLIC_CLIENT: Final = 16
"""May read without a password, unless the meter file says otherwise of it."""
READING_CLIENT: Final = 2
"""May read with the password `secret_reader`, unless the meter file says otherwise of it."""
_PUBLIC, _READER = "_public", "_reader"
_RIGHTS: Final = {right.name.lower(): right for right in AccessRight if right.name} | {"invoke": INVOKE}


class Pattern(NamedTuple):
    """Objects by class and logical name, or some of their attributes or methods; None is any."""

    class_id: int | None
    name: str
    member: int | None

    def matches(self, class_id: int, name: Obis, member: int | None = None) -> bool:
        """True when the pattern names an object, or one of its members."""
        return self.class_id in (None, class_id) and self.member in (None, member) and name.match(self.name)


def to_pattern(text: str) -> Pattern:
    """Parse `3/1-x:1.8.x.255` or `x/0-0:x.x.x.x/2`; raises ConfigError."""
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(part == "x" or part.isdecimal() for part in (parts[0], *parts[2:])):
        raise ConfigError(f"not a pattern of COSEM objects: {text!r}", hint="write it like 3/1-x:1.8.x.255, or x/…/2")
    parse_pattern(parts[1])
    class_id, member = (None if part == "x" else int(part) for part in (parts[0], (*parts, "x")[2]))
    return Pattern(class_id, parts[1], member)


class Rule(NamedTuple):
    """An exception from what a client may do."""

    pattern: Pattern
    right: AccessRight
    method: bool


@dataclass(frozen=True, slots=True)
class Client:
    """A client that may associate with a virtual meter, and how. `suffix` is what the names of its secrets end in."""

    sap: int
    mechanism: Mechanism = Mechanism.NONE
    suite: int = 0
    policy: int | None = None
    suffix: str = ""
    client_key: bytes = b""
    client_agree_key: bytes = b""
    hls: str = ""
    may_change: bool = False
    objects: tuple[Pattern, ...] = ()
    rules: tuple[Rule, ...] = ()

    def secret(self, model: MeterModel, name: str) -> Secret | None:
        """One of its secrets."""
        return model.secrets.get(name + self.suffix)

    def is_secured(self, model: MeterModel) -> bool:
        """True when it has keys or should have, or proves itself by high level security."""
        return self.mechanism in HLS or bool(self.policy) or self.secret(model, "ek") is not None

    def sees(self, class_id: int, name: Obis) -> bool:
        """True for an object that its associations show."""
        return not self.objects or any(pattern.matches(class_id, name) for pattern in self.objects)

    def right(self, class_id: int, name: Obis, member: int, usual: AccessRight, *, method: bool) -> AccessRight:
        """What it may do with an attribute or method, where `usual` is what nobody has said otherwise."""
        found = usual
        for rule in self.rules:
            if rule.method is method and rule.pattern.matches(class_id, name, member):
                found = rule.right
        return found


@dataclass(frozen=True, slots=True)
class Device:
    """One logical device. A name may hold `{name}`, the logical device name of the meter."""

    sap: int
    name: str = "{name}"
    objects: tuple[Pattern, ...] = ()

    def holds(self, class_id: int, name: Obis) -> bool:
        """True for an object of this device."""
        return not self.objects or any(pattern.matches(class_id, name) for pattern in self.objects)

    def name_of(self, model: MeterModel) -> bytes:
        """Its logical device name."""
        name = model.identity.logical_device_name
        return self.name.replace("{name}", name).encode("latin-1", "replace")


def clients_of(profile: MeterProfile, parameters: Parameters) -> tuple[Client, ...]:
    """The clients of a meter: the one of its parameters, who may do everything, and those of the meter file.

    Without the file saying anything of them there are also a public client, and one who reads with a password of its own.
    """
    listed = {client.sap: client for client in profile.clients}
    main = _client(parameters, "", may_change=True)
    if main.sap in listed:
        main = _with_rights(main, listed.pop(main.sap))
    found = {main.sap: main} | {sap: _listed(client) for sap, client in listed.items()}
    found.setdefault(PUBLIC_CLIENT, Client(PUBLIC_CLIENT, suffix=_PUBLIC))
    found.setdefault(READING_CLIENT, Client(READING_CLIENT, Mechanism.LLS, suffix=_READER))
    return tuple(found.values())


def devices_of(profile: MeterProfile, parameters: Parameters) -> tuple[Device, ...]:
    """The logical devices of a meter; the first is the one of its parameters."""
    sap = parameters.addressing.server
    found = {sap: Device(sap)}
    for device in profile.devices:
        found[device.sap] = _device(device, main=device.sap == sap)
    return tuple(found.values())


def _device(device: LogicalDevice, *, main: bool) -> Device:
    name = device.name or ("{name}" if main else f"{{name}}-{device.sap}")
    return Device(device.sap, name, tuple(map(to_pattern, device.objects)))


def _client(parameters: Parameters, suffix: str, *, may_change: bool) -> Client:
    security = parameters.security
    return Client(
        parameters.addressing.client,
        parameters.mechanism,
        security.suite,
        security.policy,
        suffix=suffix,
        client_key=security.client_key,
        client_agree_key=security.client_agree_key,
        hls=security.hls,
        may_change=may_change,
    )


def _listed(client: MeterClient) -> Client:
    parameters = read_params("wrapper", {**client.params, "client": client.sap})
    shared = _PUBLIC if parameters.mechanism is Mechanism.NONE else ""  # who proves nothing has no part in the keys
    suffix = f"_{client.secrets}" if client.secrets else shared
    return _with_rights(_client(parameters, suffix, may_change=client.may_change), client)


def _with_rights(client: Client, listed: MeterClient) -> Client:
    return replace(
        client,
        may_change=listed.may_change,
        objects=tuple(map(to_pattern, listed.objects)),
        rules=tuple(map(_rule, listed.rules)),
    )


def _rule(rule: AccessRule) -> Rule:
    right = AccessRight.NONE
    for word in rule.allow:
        if word not in _RIGHTS:
            raise ConfigError(f"unknown access right {word!r}", hint="one of " + ", ".join(sorted(_RIGHTS)))
        right |= _RIGHTS[word]
    return Rule(to_pattern(rule.ref), right, rule.method)
