"""Link and association parameters, from a meter's URL and its profile; see `check_params`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headend.drivers.dlms.refs import CosemRef, cosem_ref
from headend.errors import ConfigError
from headend.model.meter import EndpointKind
from headend.model.reading import Value
from headend.protocols.base import Role
from headend.protocols.dlms.acse import Mechanism
from headend.protocols.dlms.delimiting import Delimiter
from headend.protocols.dlms.initiate import Conformance
from headend.protocols.dlms.security.ciphering import KeyKind
from headend.protocols.gateway import MAX_ADDRESS, GatewayFraming
from headend.protocols.hdlc import Address, HdlcConnection, Limits
from headend.protocols.hdlc.address import AddressSize
from headend.protocols.mode_e import BAUDS, is_device_address
from headend.protocols.wrapper import Header, WrapperFraming

if TYPE_CHECKING:
    from headend.model.meter import Meter
    from headend.model.profile import MeterProfile

ClientFraming: TypeAlias = WrapperFraming | HdlcConnection | GatewayFraming

FRAMINGS: Final = ("wrapper", "hdlc", "apdu")
MECHANISMS: Final = {
    "none": Mechanism.NONE,
    "lls": Mechanism.LLS,
    "hls": Mechanism.HLS,
    "md5": Mechanism.HLS_MD5,
    "sha1": Mechanism.HLS_SHA1,
    "gmac": Mechanism.HLS_GMAC,
    "sha256": Mechanism.HLS_SHA256,
    "ecdsa": Mechanism.HLS_ECDSA,
}
_CHOICES: Final = {
    "ref": ("ln", "sn"),
    "auth": tuple(MECHANISMS),
    "address_size": ("1", "2", "4"),
    "suite": ("0", "1", "2"),
    "lists": ("yes", "no"),
    "bare": ("yes", "no"),
    "ciphering": ("global", "dedicated", "general", "general-dedicated", "general-ciphering"),
    "key_info": tuple(kind.value for kind in KeyKind),
    "mode_e": ("0", "1", *(str(baud) for baud in BAUDS.values())),
}
_RANGES: Final = {
    "client": (1, 0xFFFF),
    "server": (0, 0xFFFF),
    "physical": (0, 0x3FFF),
    "max_pdu": (0, 0xFFFF),
    "max_info": (1, 2048),
    "window": (1, 7),
    "network": (0, 0xFF),
    "policy": (0, 0xFC),
    "inactivity": (0, 86400),
    "association_version": (0, 3),
    "setup_version": (0, 1),
}
_KINDS: Final = 1024
"""Different sets of parameters that are remembered."""
INACTIVITY: Final = 120
"""The time-out that the IEC HDLC setup of meters has by default."""
_SIGNED: Final = 0x90
"""Bits of a security policy that ask for signatures."""
_CLIENT_TITLE: Final = "4844450000000001"
_CONFORMANCE_OCTETS: Final = 3
_COUNTER: Final = "1/0-0:43.1.0.255/2"


@dataclass(frozen=True, slots=True)
class Addressing:
    """How APDUs are carried to a meter. Meters with equal addressing share prepared requests."""

    framing: str
    client: int
    server: int
    physical: int = 0
    address_size: int = 0
    max_info: int = 128
    window: int = 1
    network: int = 0
    device: str = ""
    bare: bool = False
    """the meter leaves the wrapper out after the first exchange"""

    def make_framing(self) -> ClientFraming:
        """A new framing in the client role."""
        direct = self._make_direct()
        if not self.device:
            return direct
        return GatewayFraming(direct, network=self.network, device=self.device.encode())

    def _make_direct(self) -> WrapperFraming | HdlcConnection:
        if self.framing == "wrapper":
            delimiter = Delimiter() if self.bare else None
            return WrapperFraming(Role.CLIENT, client_sap=self.client, server_sap=self.server, delimiter=delimiter)
        if self.framing == "apdu":
            return self._make_bare(Role.CLIENT, Header.NEVER)
        client = Address.client(self.client)
        return HdlcConnection(Role.CLIENT, client=client, server=self._hdlc_address, limits=self._limits)

    def make_bare_server(self) -> WrapperFraming:
        """APDUs without wrapper in the meter role, or with it and without."""
        return self._make_bare(Role.SERVER, Header.FIRST if self.bare else Header.AS_RECEIVED)

    def _make_bare(self, role: Role, header: Header) -> WrapperFraming:
        return WrapperFraming(
            role, client_sap=self.client, server_sap=self.server, delimiter=Delimiter(), header=header
        )

    def make_hdlc_server(self) -> HdlcConnection:
        """HDLC in the meter role, for any client."""
        return HdlcConnection(Role.SERVER, server=self._hdlc_address, limits=self._limits)

    @property
    def _hdlc_address(self) -> Address:
        return Address.server(self.server, self.physical, cast("AddressSize | None", self.address_size or None))

    @property
    def _limits(self) -> Limits:
        return Limits(
            max_information_transmit=self.max_info,
            max_information_receive=self.max_info,
            window_transmit=self.window,
            window_receive=self.window,
        )


@dataclass(frozen=True, slots=True)
class SecurityParameters:
    """How an association is protected; `policy` None follows from the keys, `counter` None is not asked for."""

    suite: int
    policy: int | None
    dedicated: bool
    general: bool
    client_title: bytes
    meter_key: bytes
    counter: CosemRef | None
    client_key: bytes = b""
    hls: str = ""
    key_kind: KeyKind | None = None
    """where the keys of general-ciphering come from"""
    meter_agree_key: bytes = b""
    client_agree_key: bytes = b""


class Versions(NamedTuple):
    """Of the association objects and security setups of a virtual meter."""

    association: int
    setup: int


USUAL_VERSIONS: Final = Versions(0, 1)


@dataclass(frozen=True, slots=True)
class Opening:
    """The opening in mode E: the device address that is called, empty for whoever is there, and the fastest rate taken."""

    device: str
    max_baud: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """Everything that an association needs but its secrets. `zone` is where a meter stands whose times do not say."""

    addressing: Addressing
    mechanism: Mechanism
    max_pdu: int
    zone: tzinfo
    security: SecurityParameters
    short_names: bool = False
    """the meter knows its objects by short names"""
    opening: Opening | None = None
    inactivity: int = 0
    """seconds of silence after which a link of HDLC has ended; 0: never"""
    lists: bool = True
    """several attributes are asked for in one request, where the meter agrees"""
    versions: Versions = USUAL_VERSIONS
    preset: Conformance | None = None
    """what both sides of a pre-established association do, which nobody asks for or ends"""


def check_params(params: Mapping[str, Value]) -> None:
    """Refuse unknown parameters and values out of range; raises ConfigError naming the parameter.

    `client`, `server` and `physical` are addresses; `auth` is the authentication, `ref` the referencing (ln or sn); `max_pdu` is
    the longest APDU that we take; `max_info`, `window` and `address_size` belong to HDLC; `zone` is an IANA time zone. `suite`,
    `policy`, `ciphering`, `key_info`, `client_title` (hex), the public keys `meter_key`, `client_key`, `meter_agree_key` and
    `client_agree_key` (hex), `hls` (a manufacturer's
    mechanism, for `auth` hls) and `counter` (an attribute, or none) are the security's. `device`, and the number of its
    `network`, are the address of a meter behind a gateway. `mode_e` is 1, or the fastest rate that is taken, where HDLC begins
    with the opening of IEC 62056-21; `mode_e_device` is whom that calls; `inactivity` is for how many
    seconds of silence a meter keeps a link in HDLC. `association_version` and `setup_version`
    are the versions of the association objects and security setups of a virtual meter. `lists` no is for a meter that
    promises to take several attributes in one request, and falls silent at it. `bare` yes is for a meter with the wrapper that
    leaves it out after the first exchange; its answers are taken with and without.
    `preset` is the conformance block (hex) of a pre-established association.
    """
    for name, value in params.items():
        if name in _RANGES:
            _number(params, name, 0)
        elif name in _CHOICES:
            if str(value) not in _CHOICES[name]:
                raise ConfigError(f"parameter {name!r} of DLMS: expected {' or '.join(_CHOICES[name])}, got {value!r}")
        elif name in _TEXTS:
            _TEXTS[name](str(value))
        else:
            known = ", ".join((*_RANGES, *_CHOICES, *_TEXTS))
            raise ConfigError(f"unknown parameter {name!r} of DLMS", hint=f"one of {known}")


def read_params(framing: str, params: Mapping[str, Value], baud: int = 0) -> Parameters:
    """The parameters of one meter, `baud` being the speed of its serial port, if it has one; raises ConfigError."""
    check_params(params)
    if framing not in FRAMINGS:
        raise ConfigError(f"unknown framing {framing!r} of DLMS", hint=" or ".join(FRAMINGS))
    mechanism = MECHANISMS[str(params.get("auth", "none"))]
    preset = _preset(str(params["preset"])) if "preset" in params else None
    if preset is not None and mechanism is not Mechanism.NONE:
        raise ConfigError("a pre-established association has no authentication", hint="leave out preset, or auth")
    addressing = Addressing(
        framing=framing,
        client=_number(params, "client", 16),
        server=_number(params, "server", 1),
        physical=_number(params, "physical", 0),
        address_size=int(params.get("address_size", 0)),
        max_info=_number(params, "max_info", 128),
        window=_number(params, "window", 1),
        network=_number(params, "network", 0),
        device=_device(str(params.get("device", ""))),
        bare=params.get("bare", "no") == "yes",
    )
    return Parameters(
        addressing,
        mechanism,
        _number(params, "max_pdu", 0xFFFF),
        _zone(str(params.get("zone", "UTC"))),
        _security(params),
        short_names=params.get("ref", "ln") == "sn",
        opening=_opening(framing, params, baud),
        inactivity=_number(params, "inactivity", INACTIVITY),
        lists=params.get("lists", "yes") == "yes",
        versions=Versions(
            _number(params, "association_version", USUAL_VERSIONS.association),
            _number(params, "setup_version", USUAL_VERSIONS.setup),
        ),
        preset=preset,
    )


def parameters_of(meter: Meter, profile: MeterProfile | None) -> Parameters:
    """The parameters of a meter over those of its meter file; one that only pushes need not say its framing."""
    params: dict[str, Value] = {**meter.params}
    if profile is not None:
        params = {**profile.link, **profile.association, **params}
    serial = meter.endpoint.kind is EndpointKind.SERIAL
    texts = frozenset((name, str(value)) for name, value in params.items())
    return _read(meter.framing or FRAMINGS[0], texts, meter.endpoint.baud if serial else 0)


@lru_cache(_KINDS)
def _read(framing: str, params: frozenset[tuple[str, str]], baud: int) -> Parameters:
    """The parameters, once for all meters that have the same: they are asked for with each push."""
    return read_params(framing, dict(params), baud)


def _security(params: Mapping[str, Value]) -> SecurityParameters:
    ciphering = str(params.get("ciphering", "global"))
    policy = _number(params, "policy", 0) if "policy" in params else None
    return SecurityParameters(
        suite=int(params.get("suite", 0)),
        policy=policy,
        dedicated=ciphering.endswith("dedicated"),
        general=ciphering.startswith("general") or bool((policy or 0) & _SIGNED),
        client_title=_title(str(params.get("client_title", _CLIENT_TITLE))),
        meter_key=_hexadecimal("meter_key", str(params.get("meter_key", ""))),
        counter=_counter(str(params.get("counter", _COUNTER))),
        client_key=_hexadecimal("client_key", str(params.get("client_key", ""))),
        hls=str(params.get("hls", "")),
        key_kind=KeyKind(params.get("key_info", "identified")) if ciphering == "general-ciphering" else None,
        meter_agree_key=_hexadecimal("meter_agree_key", str(params.get("meter_agree_key", ""))),
        client_agree_key=_hexadecimal("client_agree_key", str(params.get("client_agree_key", ""))),
    )


def _opening(framing: str, params: Mapping[str, Value], baud: int) -> Opening | None:
    """Mode E, with a rate that is no higher than the parameter says, or else the port."""
    chosen = int(str(params.get("mode_e", 0)))
    if not chosen or framing != "hdlc":
        return None
    most = chosen if chosen > 1 else baud or max(BAUDS.values())
    rate = max((each for each in BAUDS.values() if each <= most), default=min(BAUDS.values()))
    return Opening(_called(str(params.get("mode_e_device", ""))), rate)


def _number(params: Mapping[str, Value], name: str, default: int) -> int:
    value = params.get(name, default)
    low, high = _RANGES[name]
    text = str(value)
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not low <= number <= high and name in params:
        raise ConfigError(f"parameter {name!r} of DLMS: expected {low} to {high}, got {value!r}")
    return number


def _called(address: str) -> str:
    if is_device_address(address):
        return address
    raise ConfigError(
        f"parameter 'mode_e_device' of DLMS: expected at most 32 letters, digits and spaces, got {address!r}"
    )


def _device(address: str) -> str:
    if len(address) <= MAX_ADDRESS and address.isascii() and address.isprintable():
        return address
    raise ConfigError(f"parameter 'device' of DLMS: expected at most {MAX_ADDRESS} ASCII characters, got {address!r}")


@lru_cache(maxsize=512)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"parameter 'zone' of DLMS: no time zone {name!r}", hint="a name like Europe/Berlin"
        ) from None


def _title(text: str) -> bytes:
    title = _hexadecimal("client_title", text)
    if len(title) != 8:
        raise ConfigError("parameter 'client_title' of DLMS: a system title has 16 hexadecimal digits")
    return title


def _hexadecimal(name: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"parameter {name!r} of DLMS: expected hexadecimal digits") from None


def _preset(text: str) -> Conformance:
    """A conformance block of three octets."""
    octets = _hexadecimal("preset", text)
    if len(octets) != _CONFORMANCE_OCTETS:
        raise ConfigError("parameter 'preset' of DLMS: expected a conformance block", hint="six digits such as 00121d")
    return Conformance(int.from_bytes(octets, "big"))


def _counter(text: str) -> CosemRef | None:
    return None if text == "none" else cosem_ref(text)


_TEXTS: Final[dict[str, Callable[[str], object]]] = {
    "zone": _zone,
    "device": _device,
    "mode_e_device": _called,
    "client_title": _title,
    "meter_key": lambda text: _hexadecimal("meter_key", text),
    "client_key": lambda text: _hexadecimal("client_key", text),
    "meter_agree_key": lambda text: _hexadecimal("meter_agree_key", text),
    "client_agree_key": lambda text: _hexadecimal("client_agree_key", text),
    "hls": str,
    "counter": _counter,
    "preset": _preset,
}
