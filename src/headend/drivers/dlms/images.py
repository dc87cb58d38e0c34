"""Images to meters (class 18): firmware is sent block by block, verified, and activated only when somebody says so.

A transfer that was cut off is taken up again where it stopped, by another association: the meter tells which block is the
first that it does not have, and which others. Nothing here decides that a meter gets another firmware: `verify` leaves it as it
is, `activate` is a call of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from headend.drivers.dlms.refs import CosemRef
from headend.errors import Busy, CapabilityError, DecodeError, ServiceRefused
from headend.protocols.dlms.axdr import encode_data, int8, octet_string, structure, uint32
from headend.standards.obis import Obis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headend.drivers.dlms.access import Access

IMAGE_TRANSFER: Final = CosemRef(18, Obis(0, 0, 44, 0, 0, 255), 2)
_BLOCK_SIZE, _BLOCKS, _FIRST, _ENABLED, _STATUS, _INFO = range(2, 8)
_INITIATE, _TRANSFER, _VERIFY, _ACTIVATE = range(1, 5)
_ROUNDS: Final = 4
"""How often blocks are sent again that the meter has not got although it has acknowledged them."""
_LARGEST_BLOCK: Final = 0xFFFF
_POLL_SECONDS: Final = 1.0


class _Status(IntEnum):
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFIED = 3
    ACTIVATION_INITIATED = 5
    ACTIVATED = 6


@dataclass(frozen=True, slots=True)
class ReadyImage:
    """An image that the meter has verified, as the meter tells it."""

    size: int
    identifier: bytes
    signature: bytes


class ImageUpload:
    """The transfer of one image in one association."""

    def __init__(
        self, access: Access, image: bytes, identifier: bytes, *, obis: Obis | None = None, poll: float = _POLL_SECONDS
    ) -> None:
        """`identifier` is what the meter is told to know the image by; `poll` is how often it is asked while it is busy."""
        self._access = access
        self._image = image
        self._identifier = identifier
        self._ref = IMAGE_TRANSFER if obis is None else CosemRef(18, obis, 2)
        self._poll = poll

    async def send(self, *, resume: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        """Bring all blocks to the meter; with `resume` only those that it does not have of the transfer it is in.

        `progress` is told how many blocks of how many the meter has. Raises CapabilityError when the meter takes no images now,
        ServiceRefused when it does not keep what it acknowledges, and whatever a request may raise.
        """
        if await self._number(_ENABLED) == 0:
            raise CapabilityError(
                "the meter takes no images now", hint=f"write true to {self._ref.other(_ENABLED)} if it shall"
            )
        if not resume or await self._number(_STATUS) != _Status.INITIATED:
            begun = structure(octet_string(self._identifier), uint32(len(self._image)))
            await self._access.invoke(self._ref.other(_INITIATE), encode_data(begun))
        size = await self._number(_BLOCK_SIZE)
        if not 0 < size <= _LARGEST_BLOCK:
            raise DecodeError("image_block_size", expected=f"1 to {_LARGEST_BLOCK}", got=str(size))
        count = -(-len(self._image) // size)
        for _ in range(_ROUNDS):
            missing = await self._missing(count)
            sent = count - len(missing)
            if progress is not None:
                progress(sent, count)
            if not missing:
                return
            for number in missing:
                block = structure(uint32(number), octet_string(self._image[number * size : (number + 1) * size]))
                await self._access.invoke(self._ref.other(_TRANSFER), encode_data(block))
                sent += 1
                if progress is not None:
                    progress(sent, count)
        if await self._missing(count):
            raise ServiceRefused("the meter does not keep the blocks that it acknowledges", reason="lost-blocks")

    async def verify(self, *, deadline: float = 600.0) -> Sequence[ReadyImage]:
        """Let the meter verify the image, and wait for the result; raises ServiceRefused when the image is not right."""
        await self._change(_VERIFY, _Status.VERIFICATION_INITIATED, _Status.VERIFIED, deadline)
        found = await self._access.get(self._ref.other(_INFO))
        return list(_ready_images(found))

    async def activate(self, *, deadline: float = 600.0) -> None:
        """Let the meter change over to the image that it has verified, and wait until it has.

        A meter that starts anew closes the link: a LinkError tells nothing about whether it has changed over.
        """
        await self._change(_ACTIVATE, _Status.ACTIVATION_INITIATED, _Status.ACTIVATED, deadline)

    async def _change(self, method: int, meanwhile: _Status, then: _Status, deadline: float) -> None:
        """Invoke a method that may take its time; a meter that is busy with it is asked for its status until it is not."""
        try:
            await self._access.invoke(self._ref.other(method), encode_data(int8(0)))
        except Busy:
            await self._wait(meanwhile, deadline)
        status = await self._number(_STATUS)
        if status != then:
            words = f"image_transfer_status is {status} and not {then:d}"
            raise ServiceRefused(f"{self._ref.other(method)}: {words}", reason=words)

    async def _wait(self, meanwhile: _Status, deadline: float) -> None:
        """Until the meter has got beyond a status; raises Busy when it takes too long."""
        time = asyncio.get_running_loop().time
        ends = time() + deadline
        while await self._number(_STATUS) == meanwhile:
            if time() >= ends:
                raise Busy(f"the meter is still at image_transfer_status {meanwhile:d} after {deadline:g} s")
            await asyncio.sleep(self._poll)

    async def _missing(self, count: int) -> list[int]:
        """The blocks that the meter does not have, by the first one that it names and its list."""
        first = await self._number(_FIRST)
        if first >= count:
            return []
        blocks = await self._access.get(self._ref.other(_BLOCKS))
        if not isinstance(blocks, str) or len(blocks) < count:
            return list(range(first, count))
        return [number for number in range(first, count) if number == first or blocks[number] != "1"]

    async def _number(self, attribute_id: int) -> int:
        value = await self._access.get(self._ref.other(attribute_id))
        if not isinstance(value, int):
            raise DecodeError(f"{self._ref.other(attribute_id)}", expected="a number", got=type(value).__name__)
        return value


def _ready_images(found: object) -> Iterator[ReadyImage]:
    """Attribute image_to_activate_info."""
    for each in found if isinstance(found, list) else ():
        match each:
            case [int(size), bytes(identifier), bytes(signature)]:
                yield ReadyImage(size, identifier, signature)
