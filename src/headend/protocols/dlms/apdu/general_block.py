"""general-block-transfer E0: one block of an APDU of any kind, plain or ciphered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from headend.errors import DecodeError
from headend.protocols.dlms.axdr import encode_length
from headend.protocols.dlms.octets import Reader

MAX_WINDOW: Final = 0x3F
_LAST: Final = 0x80
_STREAMING: Final = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralBlock:
    """A block, or without data an acknowledgement.

    `streaming`: more blocks follow at once. `window` is how many blocks in a row its sender takes, 0 when it wants no
    acknowledgements, as in a push. Numbers go from 1 on; `acknowledged` is that of the last block taken without a gap.
    """

    TAG: ClassVar[int] = 0xE0

    last_block: bool
    streaming: bool = False
    window: int = 1
    block_number: int
    acknowledged: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """The APDU."""
        control = (_LAST if self.last_block else 0) | (_STREAMING if self.streaming else 0) | self.window
        numbers = self.block_number.to_bytes(2, "big") + self.acknowledged.to_bytes(2, "big")
        return bytes((0xE0, control)) + numbers + encode_length(len(self.data)) + self.data


def decode_general_block(apdu: bytes) -> GeneralBlock:
    """Decode a whole APDU."""
    reader = Reader(apdu)
    tag, control = reader.u8("general block"), reader.u8("block control")
    if tag != GeneralBlock.TAG:
        raise DecodeError("general block", offset=0, expected="e0", got=f"{tag:02x}")
    number, acknowledged, data = reader.u16("block number"), reader.u16("block acknowledged"), reader.string("block")
    reader.finish("general block")
    return GeneralBlock(
        last_block=control & _LAST != 0,
        streaming=control & _STREAMING != 0,
        window=control & MAX_WINDOW,
        block_number=number,
        acknowledged=acknowledged,
        data=data,
    )
