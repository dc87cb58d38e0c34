"""Image transfer (class 18): takes an image block by block, in any order, verifies it when it is whole, and activates it.

A meter holds one image, of a bounded size, and all meters of a meter file together do so too. What an image is for is nobody's
business here: verifying means that no block is missing and, where the meter file says `check = "sha256"`, that the last 32
octets are the SHA-256 of those before them. Afterwards only what the image was called is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import ClassVar, Final

from headend.drivers.base import MeterModel
from headend.drivers.dlms.meter.forms import BOOLEAN, OCTETS, UINT32, octets, record, require
from headend.drivers.dlms.meter.functions import Function, Held, Holds, Method
from headend.drivers.dlms.meter_objects import Association, Refused
from headend.protocols.dlms.apdu.descriptor import DataAccessResult
from headend.protocols.dlms.axdr import (
    BitString,
    Data,
    Tag,
    array,
    boolean,
    encode_data,
    enum,
    octet_string,
    structure,
    uint32,
)

_BLOCK_SIZE, _BLOCKS, _FIRST, _ENABLED, _STATUS, _INFO = range(2, 8)
_LARGEST: Final = 1 << 20
"""Octets of an image, where the meter file says nothing of it."""
_ALTOGETHER: Final = 64 << 20
"""Octets of the images that the meters of one meter file hold at a time."""
_MOST_BLOCKS: Final = 1 << 16
_DIGEST: Final = 32
_INITIATE: Final = record(OCTETS, UINT32)
_BLOCK: Final = record(UINT32, octets(most=_LARGEST))


class ImageStatus(IntEnum):
    """Attribute image_transfer_status."""

    NOT_INITIATED = 0
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFICATION_SUCCESSFUL = 3
    VERIFICATION_FAILED = 4
    ACTIVATION_INITIATED = 5
    ACTIVATION_SUCCESSFUL = 6
    ACTIVATION_FAILED = 7


@dataclass(slots=True)
class Image:
    """The image of one meter."""

    identifier: bytes = b""
    size: int = 0
    count: int = 0
    """blocks"""
    content: bytearray = field(default_factory=bytearray)
    present: bytearray = field(default_factory=bytearray)
    """a bit for each block, the first one in the most significant bit"""
    first_missing: int = 0
    status: ImageStatus = ImageStatus.NOT_INITIATED
    following: ImageStatus | None = None
    """what the status becomes at `ready`"""
    ready: int = 0
    signature: bytes = b""

    def has(self, number: int) -> bool:
        """True when a block is there."""
        return bool(self.present[number >> 3] & 0x80 >> (number & 7))

    def put(self, number: int, at: int, octets: bytes) -> None:
        """Take a block."""
        self.content[at : at + len(octets)] = octets
        self.present[number >> 3] |= 0x80 >> (number & 7)
        while self.first_missing < self.count and self.has(self.first_missing):
            self.first_missing += 1


class ImageTransfer(Function):
    """The object by which a meter gets a new firmware, or whatever an image is."""

    class_id = 18
    holds: ClassVar[Holds] = {
        _BLOCK_SIZE: Held(UINT32, uint32(200), fixed=True),
        _ENABLED: Held(BOOLEAN, boolean(True)),  # noqa: FBT003 - an attribute's value
    }
    options: ClassVar = {"largest": UINT32, "seconds": UINT32, "check": OCTETS}

    def methods(self) -> dict[int, Method]:
        """image_transfer_initiate, image_block_transfer, image_verify and image_activate."""
        self._largest: int = self.said.option("largest", _LARGEST)
        self._seconds: int = self.said.option("seconds", 0)
        self._is_checked = self.said.option("check", b"") == b"sha256"
        self._stored = 0
        reads = self.made.reads
        reads[_BLOCKS] = self._read_blocks
        reads[_FIRST] = lambda association: encode_data(uint32(self._image(association.model).first_missing))
        reads[_STATUS] = lambda association: encode_data(enum(self._image(association.model).status))
        reads[_INFO] = self._read_info
        return {1: self._initiate, 2: self._transfer, 3: self._verify, 4: self._activate}

    def _image(self, model: MeterModel) -> Image:
        """The image, with the status that it has by now."""
        image: Image | None = self.state(model)
        if image is None:
            return Image()
        if image.following is not None and model.now() >= image.ready:
            image.status, image.following = image.following, None
        return image

    def _read_blocks(self, association: Association) -> bytes:
        image = self._image(association.model)
        return encode_data(Data(Tag.BIT_STRING, BitString(bytes(image.present), image.count)))

    def _read_info(self, association: Association) -> bytes:
        """What may be activated: nothing before it is verified."""
        image = self._image(association.model)
        if not image.signature or image.status is ImageStatus.VERIFICATION_INITIATED:
            return encode_data(array())
        info = structure(uint32(image.size), octet_string(image.identifier), octet_string(image.signature))
        return encode_data(array(info))

    def _require_enabled(self, model: MeterModel) -> None:
        if not self.plain(model, _ENABLED):
            raise Refused(DataAccessResult.OTHER_REASON)

    def _initiate(self, model: MeterModel, data: Data | None) -> None:
        """Begin with an image, and forget the one before."""
        identifier, size = require(data, _INITIATE)
        self._require_enabled(model)
        count = -(-size // self.plain(model, _BLOCK_SIZE))
        if not 0 < size <= self._largest or count > _MOST_BLOCKS:
            raise Refused(DataAccessResult.OTHER_REASON)
        self._forget(self._image(model))
        if self._stored + size > _ALTOGETHER:
            raise Refused(DataAccessResult.TEMPORARY_FAILURE)
        self._stored += size
        present = bytearray(-(-count // 8))
        image = Image(identifier, size, count, bytearray(size), present, status=ImageStatus.INITIATED)
        self.remember(model, image)

    def _forget(self, image: Image) -> None:
        """Give back the room that an image takes."""
        self._stored -= len(image.content)
        image.content = bytearray()

    def _transfer(self, model: MeterModel, data: Data | None) -> None:
        """Take one block."""
        number, content = require(data, _BLOCK)
        image = self._image(model)
        block_size: int = self.plain(model, _BLOCK_SIZE)
        self._require_enabled(model)
        at = number * block_size
        if image.status is not ImageStatus.INITIATED or number >= image.count:
            raise Refused(DataAccessResult.OTHER_REASON)
        if len(content) != min(block_size, image.size - at):
            raise Refused(DataAccessResult.OTHER_REASON)
        image.put(number, at, content)

    def _verify(self, model: MeterModel, _: Data | None) -> None:
        """Look whether the image is whole and right; that may take its time, and the meter says so then."""
        image = self._image(model)
        if image.status is ImageStatus.VERIFICATION_INITIATED:
            raise Refused(DataAccessResult.TEMPORARY_FAILURE)
        if image.status is not ImageStatus.INITIATED or image.first_missing < image.count:
            raise Refused(DataAccessResult.OTHER_REASON)
        content = bytes(image.content)
        right = not self._is_checked or sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]
        if right:
            image.signature = sha256(content).digest()
        self._forget(image)
        successful, failed = ImageStatus.VERIFICATION_SUCCESSFUL, ImageStatus.VERIFICATION_FAILED
        self._turn(model, image, ImageStatus.VERIFICATION_INITIATED, successful if right else failed)
        if not right:
            raise Refused(DataAccessResult.OTHER_REASON)

    def _activate(self, model: MeterModel, data: Data | None) -> None:
        """Activate an image that was verified; one that is whole is verified first."""
        image = self._image(model)
        if image.status is ImageStatus.INITIATED:
            self._verify(model, data)
        if image.status is ImageStatus.ACTIVATION_INITIATED:
            raise Refused(DataAccessResult.TEMPORARY_FAILURE)
        if image.status is not ImageStatus.VERIFICATION_SUCCESSFUL:
            raise Refused(DataAccessResult.OTHER_REASON)
        self._turn(model, image, ImageStatus.ACTIVATION_INITIATED, ImageStatus.ACTIVATION_SUCCESSFUL)

    def _turn(self, model: MeterModel, image: Image, meanwhile: ImageStatus, then: ImageStatus) -> None:
        """Come to another status, at once or after the seconds that the meter file says."""
        if not self._seconds:
            image.status = then
            return
        image.status, image.following, image.ready = meanwhile, then, model.now() + 1000 * self._seconds
        raise Refused(DataAccessResult.TEMPORARY_FAILURE)
