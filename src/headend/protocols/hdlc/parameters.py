"""What SNRM proposes and UA confirms (IEC 62056-46, 6.4.4.4.3.2).

```text
81 | 80 | group length | 05 n max information transmit | 06 n … receive | 07 n window transmit | 08 n … receive
```

`n` is 1 to 4 octets; what is absent has its default, 128 octets and window 1; no information field at all means all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headend.errors import LocalProtocolError, RemoteProtocolError

_FORMAT: Final = 0x81
_GROUP_NEGOTIATION: Final = 0x80
_DEFAULTS: Final = {0x05: 128, 0x06: 128, 0x07: 1, 0x08: 1}
MAX_INFORMATION: Final = 2048
MAX_WINDOW: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Greatest information field and window in each direction, as seen by their owner."""

    max_information_transmit: int = 128
    max_information_receive: int = 128
    window_transmit: int = 1
    window_receive: int = 1

    def __post_init__(self) -> None:
        sizes = (self.max_information_transmit, self.max_information_receive)
        windows = (self.window_transmit, self.window_receive)
        if not all(1 <= size <= MAX_INFORMATION for size in sizes) or not all(1 <= k <= MAX_WINDOW for k in windows):
            raise LocalProtocolError(
                f"HDLC limits out of range: information fields {sizes}, windows {windows}",
                hint=f"information fields are 1..{MAX_INFORMATION} octets, windows 1..{MAX_WINDOW}",
            )

    def negotiate(self, peer: Limits) -> Limits:
        """The limits that both sides keep: for each direction, the smaller of what one sends and the other takes."""
        return Limits(
            max_information_transmit=min(self.max_information_transmit, peer.max_information_receive),
            max_information_receive=min(self.max_information_receive, peer.max_information_transmit),
            window_transmit=min(self.window_transmit, peer.window_receive),
            window_receive=min(self.window_receive, peer.window_transmit),
        )


DEFAULT_LIMITS: Final = Limits()


def encode_limits(limits: Limits) -> bytes:
    """The information field of SNRM or UA that states `limits`."""
    sizes = (limits.max_information_transmit, limits.max_information_receive)
    # One octet where it suffices, because there are meters that take no other form of the small values.
    items = [(0x05 + i, value, 1 if value < 0x100 else 2) for i, value in enumerate(sizes)]
    items += [(0x07, limits.window_transmit, 4), (0x08, limits.window_receive, 4)]
    group = b"".join(bytes((tag, width)) + value.to_bytes(width, "big") for tag, value, width in items)
    return bytes((_FORMAT, _GROUP_NEGOTIATION, len(group))) + group


def decode_limits(information: bytes) -> Limits:
    """The limits in the information field of SNRM or UA; values beyond what HDLC can do count as its greatest ones."""
    values = dict(_DEFAULTS)
    if information and information[0] != _FORMAT:
        raise RemoteProtocolError(
            "HDLC parameters of unknown format", offset=0, expected="81", got=f"{information[0]:02X}"
        )
    offset = 1
    while offset < len(information):
        group, body, end = _item(information, offset)
        if group == _GROUP_NEGOTIATION:
            _decode_group(information[:end], body, values)
        offset = end
    return Limits(
        max_information_transmit=min(values[0x05], MAX_INFORMATION),
        max_information_receive=min(values[0x06], MAX_INFORMATION),
        window_transmit=min(values[0x07], MAX_WINDOW),
        window_receive=min(values[0x08], MAX_WINDOW),
    )


def _decode_group(information: bytes, offset: int, values: dict[int, int]) -> None:
    while offset < len(information):
        tag, body, end = _item(information, offset)
        if tag in values:
            value = int.from_bytes(information[body:end], "big")
            if not 1 <= end - body <= 4 or not value:
                raise RemoteProtocolError(
                    f"HDLC parameter {tag:02X} impossible",
                    offset=body,
                    expected="1 to 4 octets, not zero",
                    got=information[body:end].hex(),
                )
            values[tag] = value
        offset = end


def _item(information: bytes, offset: int) -> tuple[int, int, int]:
    """Identifier, start and end of the value of the item at `offset`."""
    body = offset + 2
    end = body + information[offset + 1] if body <= len(information) else body
    if end > len(information):
        raise RemoteProtocolError(
            "HDLC parameters cut off", offset=offset, expected=f"{end} octets", got=str(len(information))
        )
    return information[offset], body, end
