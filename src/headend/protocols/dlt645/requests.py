"""Requests of DL/T 645: what the head-end asks for, and the data of the frame that says so, both ways.

`to_octets` raises LocalProtocolError for what cannot be sent, `from_octets` DecodeError, whose offset counts from the
beginning of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from headend.errors import DecodeError, LocalProtocolError
from headend.protocols.dlt645.fields import (
    NO_OPERATOR,
    Password,
    at_least,
    decode_address,
    decode_di,
    decode_password,
    encode_credentials,
    encode_di,
    encode_operator,
    sized,
)
from headend.protocols.dlt645.formats import Number, Time
from headend.protocols.dlt645.frame import Address
from headend.protocols.dlt645.moment import Moment
from headend.standards.dlt645 import Version

NOW: Final = Moment()
"""Every month, day, hour and minute."""

ALL_EVENTS: Final = 0xFFFFFFFF

_TIME: Final = Time(("YY", "MM", "DD", "hh", "mm", "ss"))
_MINUTE: Final = Time(("YY", "MM", "DD", "hh", "mm"))
_RECURRING: Final = Time(("MM", "DD", "hh", "mm"))
_COUNT: Final = Number(1)
_BAUD_RATES: Final = {0x02: 600, 0x04: 1200, 0x08: 2400, 0x10: 4800, 0x20: 9600, 0x40: 19200}


def _told(form: Time, data: bytes, offset: int) -> Moment:
    """A time that is told; raises DecodeError for an absent one too."""
    time = form.decode(data, offset)
    if time is None:
        raise DecodeError("no time", offset=offset, expected=f"{form.size} octets of BCD digits", got="FF")
    return time


@dataclass(frozen=True, slots=True)
class Read:
    """Read a data identifier; of load records (2007) `count` blocks, from `since` on (year to minute)."""

    di: int
    count: int | None = None
    since: Moment | None = None

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        octets = encode_di(self.di, version)
        if self.count is None and self.since is None:
            return octets
        if self.count is None or version is Version.V1997:
            raise LocalProtocolError("reading blocks takes their number, and the version of 2007")
        octets += _COUNT.encode(self.count)
        return octets if self.since is None else octets + _MINUTE.encode(self.since)

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> Read:
        """The other way round."""
        if version is Version.V1997:
            return cls(decode_di(sized(data, 2), version)[0])
        di, at = decode_di(sized(data, 4, 5, 10), version)
        if len(data) == at:
            return cls(di)
        count = _COUNT.decode(data, at)
        if count is None:
            raise DecodeError("no number of blocks", offset=at, expected="two decimal digits", got="FF")
        return cls(di, int(count), _told(_MINUTE, data, at + 1) if len(data) == 10 else None)


@dataclass(frozen=True, slots=True)
class ReadFollowing:
    """Read what follows an answer with `more`: `sequence` counts from 1 in 2007, and is None in 1997."""

    di: int
    sequence: int | None = None

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        if version is Version.V1997:
            return encode_di(self.di, version)
        if self.sequence is None or not 0 <= self.sequence <= 0xFF:
            raise LocalProtocolError(f"the sequence number {self.sequence} is not in 0 to 255")
        return encode_di(self.di, version) + bytes((self.sequence,))

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> ReadFollowing:
        """The other way round."""
        if version is Version.V1997:
            return cls(decode_di(sized(data, 2), version)[0])
        return cls(decode_di(sized(data, 5), version)[0], data[4])


@dataclass(frozen=True, slots=True)
class ReRead:
    """1997: send the last answer again."""

    di: int

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        return encode_di(self.di, version)

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> ReRead:
        """The other way round."""
        return cls(decode_di(sized(data, 2), version)[0])


@dataclass(frozen=True, slots=True)
class ReadAddress:
    """Ask the only meter on the line for its address; goes to `ANYBODY`."""

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame: none."""
        return b""

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> ReadAddress:
        """The other way round."""
        sized(data, 0)
        return cls()


@dataclass(frozen=True, slots=True)
class Write:
    """Write a data identifier.

    2007 wants password and operator. 1997 has no operator, and a password only in meters that ask for one: it goes before the
    data, and on the way back it cannot be told from them, so `from_octets` leaves it there.
    """

    di: int
    data: bytes = field(repr=False)
    password: Password | None = None
    operator: bytes = NO_OPERATOR

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        octets = encode_di(self.di, version)
        if version is Version.V2007:
            return octets + encode_credentials(self.password, self.operator) + self.data
        return octets + (self.password.to_octets() if self.password else b"") + self.data

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> Write:
        """The other way round."""
        di, at = decode_di(data, version)
        if version is Version.V1997:
            return cls(di, data[at:])
        at_least(data, at + 8)
        return cls(di, data[at + 8 :], decode_password(data, at), data[at + 4 : at + 8])


@dataclass(frozen=True, slots=True)
class WriteAddress:
    """Give the only meter on the line an address; goes to `ANYBODY`, and mostly needs the button of the meter."""

    address: Address

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        return self.address.octets

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> WriteAddress:
        """The other way round."""
        return cls(decode_address(data))


@dataclass(frozen=True, slots=True)
class SetTime:
    """Set the clock of one meter or, broadcast, of all: by five minutes at most, once a day. Nobody answers."""

    time: Moment

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        return _TIME.encode(self.time)

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> SetTime:
        """The other way round."""
        return cls(_told(_TIME, sized(data, 6), 0))


@dataclass(frozen=True, slots=True)
class Freeze:
    """Freeze values at month, day, hour and minute; each that the moment lacks is "every", and all of them are "now"."""

    when: Moment = NOW

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        return _RECURRING.encode(self.when)

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> Freeze:
        """The other way round."""
        return cls(_told(_RECURRING, sized(data, 4), 0))


@dataclass(frozen=True, slots=True)
class ChangeBaudRate:
    """Speak at another rate from the answer on, until the line is silent for a while."""

    baud_rate: int

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        for word, rate in _BAUD_RATES.items():
            if rate == self.baud_rate:
                return bytes((word,))
        raise LocalProtocolError(f"DL/T 645 does not know {self.baud_rate} baud")

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> ChangeBaudRate:
        """The other way round."""
        word = sized(data, 1)[0]
        if word not in _BAUD_RATES:
            raise DecodeError("wrong baud rate", offset=0, expected="one of bits 1 to 6", got=f"{word:02X}")
        return cls(_BAUD_RATES[word])


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """Replace the password of the level of `new`; `old` is of the same level or a higher one. `di` is None in 1997."""

    old: Password
    new: Password
    di: int | None = None

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        octets = self.old.to_octets() + self.new.to_octets()
        if version is Version.V1997:
            return octets
        if self.di is None:
            raise LocalProtocolError("DL/T 645-2007 wants the data identifier of the password")
        return encode_di(self.di, version) + octets

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> ChangePassword:
        """The other way round."""
        if version is Version.V1997:
            return cls(decode_password(sized(data, 8), 0), decode_password(data, 4))
        return cls(decode_password(sized(data, 12), 4), decode_password(data, 8), decode_di(data, version)[0])


@dataclass(frozen=True, slots=True)
class ClearDemand:
    """Set the maximum demand back. 1997 sends neither password nor operator."""

    password: Password | None = None
    operator: bytes = NO_OPERATOR

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        return b"" if version is Version.V1997 else encode_credentials(self.password, self.operator)

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> ClearDemand:
        """The other way round."""
        if version is Version.V1997:
            sized(data, 0)
            return cls()
        return cls(decode_password(sized(data, 8), 0), data[4:])


@dataclass(frozen=True, slots=True)
class ClearMeter:
    """Set energies, demands, frozen values, events and load records to zero."""

    password: Password
    operator: bytes = NO_OPERATOR

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        return encode_credentials(self.password, self.operator)

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> ClearMeter:
        """The other way round."""
        return cls(decode_password(sized(data, 8), 0), data[4:])


@dataclass(frozen=True, slots=True)
class ClearEvents:
    """Forget the records of one kind of event (DI0 of `di` is FF), or of all."""

    password: Password
    operator: bytes = NO_OPERATOR
    di: int = ALL_EVENTS

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        return encode_credentials(self.password, self.operator) + encode_di(self.di, version)

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> ClearEvents:
        """The other way round."""
        sized(data, 12)
        return cls(decode_password(data, 0), data[4:8], decode_di(data[8:], version)[0])


@dataclass(frozen=True, slots=True)
class Control:
    """Relay, alarm and keeping of power; `command` is a `ControlCommand` or a maker's own N1, `parameter` is N2.

    The meter refuses a command that it gets after `valid_until`.
    """

    password: Password
    command: int
    valid_until: Moment
    operator: bytes = NO_OPERATOR
    parameter: int = 0

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        if not (0 <= self.command <= 0xFF and 0 <= self.parameter <= 0xFF):
            raise LocalProtocolError("command and parameter of a control have one octet")
        words = bytes((self.command, self.parameter))
        return encode_credentials(self.password, self.operator) + words + _TIME.encode(self.valid_until)

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> Control:
        """The other way round."""
        sized(data, 16)
        return cls(decode_password(data, 0), data[8], _told(_TIME, data, 10), data[4:8], data[9])


@dataclass(frozen=True, slots=True)
class SetOutput:
    """Choose the signal of the multi-function terminal: an `OutputSignal` or a maker's own."""

    signal: int

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        if not 0 <= self.signal <= 0xFF:
            raise LocalProtocolError(f"output signal {self.signal} does not have one octet")
        return bytes((self.signal,))

    @classmethod
    def from_octets(cls, data: bytes, _version: Version) -> SetOutput:
        """The other way round."""
        return cls(sized(data, 1)[0])


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Speak with the security module of a prepayment meter."""

    di: int
    operator: bytes = NO_OPERATOR
    data: bytes = field(default=b"", repr=False)

    def to_octets(self, version: Version) -> bytes:
        """The data of the frame."""
        return encode_di(self.di, version) + encode_operator(self.operator) + self.data

    @classmethod
    def from_octets(cls, data: bytes, version: Version) -> Authenticate:
        """The other way round."""
        di, at = decode_di(at_least(data, 8), version)
        return cls(di, data[at : at + 4], data[at + 4 :])


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """A request that the meter must refuse: nobody knows its function, or its data are wrong; `reason` says what."""

    function: int
    data: bytes = field(default=b"", repr=False)
    reason: str = ""

    def to_octets(self, _version: Version) -> bytes:
        """The data of the frame."""
        return self.data


Request: TypeAlias = (
    Read
    | ReadFollowing
    | ReRead
    | ReadAddress
    | Write
    | WriteAddress
    | SetTime
    | Freeze
    | ChangeBaudRate
    | ChangePassword
    | ClearDemand
    | ClearMeter
    | ClearEvents
    | Control
    | SetOutput
    | Authenticate
)
