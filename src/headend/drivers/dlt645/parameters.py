"""How a meter is spoken to: the parameters of a meter URL or a meter file, and its password."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headend.errors import ConfigError, KeyMissing
from headend.protocols.dlt645.fields import Password
from headend.protocols.dlt645.frame import ANYBODY, BROADCAST, Address
from headend.standards.dlt645 import Version

if TYPE_CHECKING:
    from headend.drivers.base import Secrets
    from headend.model.meter import Meter
    from headend.model.profile import MeterProfile
    from headend.model.reading import Value

CHINA: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""One zone without summer time: what meters of a Chinese standard show unless they say otherwise."""

_RANGES: Final = {"level": (0, 99), "leader": (0, 16)}
_DIGITS: Final = re.compile(rb"[0-9]{6}|[0-9]{8}")
_OPERATOR: Final = re.compile(r"[0-9A-Fa-f]{8}")


class ClockWay(enum.Enum):
    """How a clock is set."""

    USUAL = "usual"
    """in one piece where the meter file has 0400010C, else in two"""
    WHOLE = "whole"
    """0400010C: date and time at once"""
    SEPARATE = "separate"
    """04000101, then 04000102"""
    BROADCAST = "broadcast"
    """control code 08, which needs no password and moves the clock by at most five minutes"""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Everything that a conversation needs but the password. `version` None is to be found out."""

    address: Address
    version: Version | None
    operator: bytes
    level: int
    leader: int
    clock: ClockWay
    blocks: bool
    zone: tzinfo


def check_params(params: Mapping[str, Value]) -> None:
    """Refuse unknown parameters and values out of range; raises ConfigError naming the parameter.

    `address` are up to twelve digits, a pair AA stands for any; `version` is 2007, 1997 or auto; `operator` are the eight
    digits that a meter keeps of who has commanded it; `level` is that of the password; `leader` is how many octets FE go
    before a frame; `clock` is how it is set (usual, whole, separate or broadcast); `blocks` no is for a meter that must be
    asked for each value alone; `zone` is an IANA time zone.
    """
    for name, value in params.items():
        if name in _READERS:
            _READERS[name](str(value))
        elif name in _RANGES:
            _number(name, value)
        else:
            known = ", ".join((*_READERS, *_RANGES))
            raise ConfigError(f"unknown parameter {name!r} of DL/T 645", hint=f"one of {known}")


def read_params(params: Mapping[str, Value]) -> Parameters:
    """The parameters of one meter; raises ConfigError."""
    check_params(params)
    version = _version(str(params.get("version", "2007")))
    anybody = BROADCAST if version is Version.V1997 else ANYBODY
    return Parameters(
        address=_address(str(params["address"])) if params.get("address") else anybody,
        version=version,
        operator=_operator(str(params.get("operator", "00000000"))),
        level=_number("level", params.get("level", 2)),
        leader=_number("leader", params.get("leader", 4)),
        clock=_clock(str(params.get("clock", ClockWay.USUAL.value))),
        blocks=_yes("blocks", str(params.get("blocks", "yes"))),
        zone=_zone(str(params.get("zone", "Asia/Shanghai"))),
    )


def parameters_of(meter: Meter, profile: MeterProfile | None) -> Parameters:
    """The parameters of a meter over those of its meter file."""
    said: dict[str, Value] = {**profile.link, **profile.association} if profile else {}
    return read_params({**said, **meter.params})


def password_of(secrets: Secrets, level: int) -> Password | None:
    """The password of a meter: `secret`, in one of the forms of `read_password`. None where there is none."""
    secret = secrets.get("secret")
    return None if secret is None else read_password(secret.reveal(), level)


def read_password(octets: bytes, level: int) -> Password:
    """Six digits as on paper (P2 P1 P0), or eight that begin with the level; or three or four octets of the same.

    Raises ConfigError.
    """
    if len(octets) in (3, 4):
        octets = octets.hex().encode()
    if not _DIGITS.fullmatch(octets):
        raise ConfigError(
            "a password of DL/T 645 has six digits, or eight with its level before them", hint="secret=text:… or hex:…"
        )
    digits = octets.decode()
    return Password.parse(digits[-6:], int(digits[:-6] or level))


def require(password: Password | None) -> Password:
    """The password; raises KeyMissing where the meter has none."""
    if password is None:
        raise KeyMissing("this command needs the password of the meter", hint="secret=env:NAME")
    return password


def _number(name: str, value: Value) -> int:
    low, high = _RANGES[name]
    text = str(value)
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not low <= number <= high:
        raise ConfigError(f"parameter {name!r} of DL/T 645: expected {low} to {high}, got {value!r}")
    return number


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigError(f"parameter 'address' of DL/T 645: {error}") from None


def _version(text: str) -> Version | None:
    if text == "auto":
        return None
    if text in ("1997", "2007"):
        return Version(int(text))
    raise ConfigError(f"parameter 'version' of DL/T 645: expected 2007, 1997 or auto, got {text!r}")


def _operator(text: str) -> bytes:
    """C0 to C3 as they travel, from the digits as they are written: the last first."""
    if not _OPERATOR.fullmatch(text):
        raise ConfigError(f"parameter 'operator' of DL/T 645: expected eight digits, got {text!r}")
    return bytes.fromhex(text)[::-1]


def _clock(text: str) -> ClockWay:
    try:
        return ClockWay(text)
    except ValueError:
        known = ", ".join(way.value for way in ClockWay)
        raise ConfigError(f"parameter 'clock' of DL/T 645: expected one of {known}, got {text!r}") from None


def _yes(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ConfigError(f"parameter {name!r} of DL/T 645: expected yes or no, got {text!r}")
    return text == "yes"


@lru_cache(maxsize=512)
def _zone(name: str) -> tzinfo:
    if name == "Asia/Shanghai":
        return CHINA
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"parameter 'zone' of DL/T 645: no time zone {name!r}", hint="a name like Asia/Shanghai"
        ) from None


_READERS: Final[dict[str, Callable[[str], object]]] = {
    "address": _address,
    "version": _version,
    "operator": _operator,
    "clock": _clock,
    "blocks": lambda text: _yes("blocks", text),
    "zone": _zone,
}
