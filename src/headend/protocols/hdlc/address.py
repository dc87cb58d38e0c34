"""HDLC addresses (IEC 62056-46, 6.4.2): one, two or four octets, the lowest bit of the last one set.

```text
client            |  SAP     1 |                              always one octet
server, 1 octet   |  upper   1 |                              the logical device alone
server, 2 octets  |  upper   0 |  lower   1 |                 logical and physical device, below 128
server, 4 octets  |  upper   0    upper   0 |  lower   0    lower   1 |        14 bits each, high part first
```

All ones in the upper or lower address call all stations; zero is nobody (no-station).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from headend.errors import LocalProtocolError, RemoteProtocolError

AddressSize = Literal[1, 2, 4]

_BITS: Final = {1: 7, 2: 7, 4: 14}


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a link. `upper` is the client SAP or the logical device, `lower` the physical device."""

    upper: int
    lower: int = 0
    size: AddressSize = 1

    def __post_init__(self) -> None:
        limit = 1 << _BITS[self.size]
        if not 0 <= self.upper < limit or not 0 <= self.lower < (limit if self.size > 1 else 1):
            raise LocalProtocolError(
                f"HDLC address {self.upper}/{self.lower} does not fit into {self.size} octet(s)",
                hint="upper and lower are below 128 in a short address, below 16384 in one of four octets",
            )

    @classmethod
    def client(cls, sap: int) -> Address:
        """Address of a client: one octet, 1..127 (0x10 is the public client, 0x01 the management client)."""
        return cls(sap)

    @classmethod
    def server(cls, upper: int, lower: int = 0, size: AddressSize | None = None) -> Address:
        """Address of a meter: logical device `upper`, physical device `lower` (0: none), in the shortest form that holds it."""
        if size is None:
            size = 4 if max(upper, lower) > 0x7F else 2 if lower else 1
        return cls(upper, lower, size)

    @property
    def packed(self) -> int:
        """The address as one number, upper << 14 | lower, as events carry it."""
        return self.upper << 14 | self.lower

    def matches(self, other: Address) -> bool:
        """True for the same station, whatever the number of octets it is written with."""
        return self.upper == other.upper and self.lower == other.lower

    @property
    def is_reserved(self) -> bool:
        """True for what no station can have: no-station and all stations."""
        return self.upper in (0, (1 << _BITS[self.size]) - 1)

    def calls(self, station: Address) -> bool:
        """True when a frame with this destination is meant for `station`: its own address, or all stations (all ones)."""
        every = (1 << _BITS[self.size]) - 1
        lower = every if self.size == 1 and self.upper == every else self.lower
        return self.upper != 0 and self.upper in (station.upper, every) and lower in (station.lower, every)

    def encode(self) -> bytes:
        """The octets on the wire."""
        if self.size == 1:
            return bytes((self.upper << 1 | 1,))
        if self.size == 2:
            return bytes((self.upper << 1, self.lower << 1 | 1))
        return bytes(
            (
                self.upper >> 6 & 0xFE,
                self.upper << 1 & 0xFE,
                self.lower >> 6 & 0xFE,
                self.lower << 1 & 0xFE | 1,
            )
        )


def decode_address(data: bytes | bytearray, offset: int) -> tuple[Address, int]:
    """The address at `offset` and the offset after it; RemoteProtocolError when it is cut off or of a wrong size."""
    octets = data[offset : offset + 4]
    size = next((index for index, octet in enumerate(octets, 1) if octet & 1), 0)
    if size == 1:
        return Address(octets[0] >> 1), offset + 1
    if size == 2:
        return Address(octets[0] >> 1, octets[1] >> 1, 2), offset + 2
    if size == 4:
        upper = octets[0] << 6 | octets[1] >> 1
        lower = octets[2] << 6 | octets[3] >> 1
        return Address(upper, lower, 4), offset + 4
    raise RemoteProtocolError(
        "HDLC address without end",
        offset=offset,
        expected="1, 2 or 4 octets, lowest bit of the last set",
        got=octets.hex(),
    )
