"""The APDUs of one input in their order, each explained once: those that come in blocks are put together. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from headend.drivers.base import Layer
from headend.drivers.dlms.explaining.apdu import explain_apdu
from headend.drivers.dlms.explaining.data import data_layer
from headend.drivers.dlms.explaining.dialogue import Dialogue
from headend.drivers.dlms.explaining.parts import many, result
from headend.drivers.dlms.explaining.scribe import Field, Octets, Scribe
from headend.drivers.dlms.explaining.tags import APDU_NAMES, GENERAL_CIPHERED
from headend.drivers.dlms.explaining.words import hex_text, octets_text
from headend.errors import RemoteProtocolError
from headend.protocols.dlms.octets import Reader

_GENERAL_BLOCK: Final = 0xE0
_GET_BLOCK: Final = b"\xc4\x02"
_GET_REQUEST, _NEXT, _WITH_LIST = b"\xc0", b"\x02", b"\x03"
_DIRECTIONS: Final = {0xE6: "request", 0xE7: "response"}
_GENERAL: Final = "general"
_GET: Final = "get"
_LAST: Final = 0x80
_MAX_BLOCKS: Final = 4096
_MOST_SEALS: Final = 3
"""Ciphered APDUs within each other that may hold a block."""
_CIPHERED_IN_BLOCKS: Final = (
    "a ciphered APDU in blocks, as some meters push it: the blocks themselves are not protected"
)


class Stream:
    """Collects layers, APDUs and what is wrong between them; `finish` makes one layer of all."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.layers: list[Layer] = []
        self.problems: list[str] = []
        self._blocks: list[Octets] = []
        self._kind = ""
        self._gap = ""
        self._repeated = 0
        self._listed = False

    def joined(self, octets: Octets) -> None:
        """Take the block that an APDU is, if it is one, also a ciphered one."""
        apdu = octets.part(prefix_length(octets.data))
        for _ in range(_MOST_SEALS):
            start, plain = self.dialogue.opening(apdu.data)
            if plain:
                apdu = Octets.like(plain, apdu.part(start, start + len(plain)))
        if apdu.data[:1] == _GET_REQUEST:
            self._listed = self._listed if apdu.data[1:2] == _NEXT else apdu.data[1:2] == _WITH_LIST
        try:
            block = _block(apdu)
        except RemoteProtocolError:
            return
        if block is not None:
            self._take(block)

    def _take(self, block: _Block) -> None:
        """One block. What comes again or after a gap is passed over: a sender that hears of a gap sends all from there."""
        kind, number, data, last = block
        again = kind == self._kind and 0 < number <= len(self._blocks) and self._blocks[number - 1].data == data.data
        if again:
            self._repeated += 1
            return
        if number == 1 or kind != self._kind:
            self._end()
            self._kind = kind
        awaited = len(self._blocks) + 1
        if number != awaited:
            wrong = "comes again with other octets, block" if number < awaited else "comes, block"
            due = "was due" if number < awaited else "is missing"
            self._gap = self._gap or f"block {number} {wrong} {awaited} {due} (at octet {data.place(0)})"
            return
        self._blocks.append(data)
        if last or len(self._blocks) >= _MAX_BLOCKS:
            self._close()

    def finish(self, name: str, length: int) -> Layer:
        """The only layer there is, or one over all."""
        self._end()
        if len(self.layers) == 1 and not self.problems:
            return self.layers[0]
        return Layer(name=name, offset=0, length=length, layers=tuple(self.layers), error="; ".join(self.problems))

    def _close(self, how: str = "") -> None:
        """No more blocks come: explain what they hold."""
        whole = Octets.join(self._blocks)
        inner = explain_apdu(whole, self.dialogue, 1) if self._kind == _GENERAL else self._got(whole)
        count = len(self._blocks)
        name = f"put together from {count} {'blocks' if count > 1 else 'block'}{how}"
        notes = [f"{self._repeated} of the blocks came again"] if self._repeated else []
        notes += [f"blocks came out of order: {self._gap}"] if self._gap and not how else []
        if self._kind == _GENERAL and whole.data[:1] and whole.data[0] in GENERAL_CIPHERED:
            notes.append(_CIPHERED_IN_BLOCKS)
        fields: tuple[Field, ...] = tuple(("peculiarity", note, inner.offset, inner.length) for note in notes)
        self.layers.append(Layer(name=name, offset=inner.offset, length=inner.length, fields=fields, layers=(inner,)))
        self._forget()

    def _got(self, whole: Octets) -> Layer:
        """What a GET brings in blocks: a value, or the results of a list, which the request or the octets tell."""
        scribe = Scribe(whole)
        results = data_layer(whole)
        if self._listed or results.error:
            try:
                many(scribe, "results", result)
                scribe.reader.finish("results")
                return scribe.layer("results")
            except RemoteProtocolError:
                pass
        return results

    def _end(self) -> None:
        """The input ends, or another transfer begins, before the last block."""
        if self._gap:
            self.problems.append(self._gap)
        if self._blocks:
            self.problems.append(f"the blocks after number {len(self._blocks)} are missing")
            self._close(" (incomplete)")
        self._forget()

    def _forget(self) -> None:
        self._blocks, self._kind, self._gap, self._repeated = [], "", "", 0


def prefix_length(data: bytes) -> int:
    """Octets of the gateway protocol's prefix (E6 or E7, network id, length of the address, address); 0 without one."""
    if len(data) < 4 or data[0] not in _DIRECTIONS:
        return 0
    length = 3 + data[2]
    return length if length < len(data) and data[length] in APDU_NAMES else 0


def payload_layer(octets: Octets, dialogue: Dialogue) -> Layer:
    """What a frame carries: an APDU, for a meter behind a gateway or not, or octets that nobody knows."""
    data = octets.data
    length = prefix_length(data)
    offset, size = octets.span(0, len(data))
    if length:
        prefix = (
            ("direction", _DIRECTIONS[data[0]], *octets.span(0, 1)),
            ("network id", str(data[1]), *octets.span(1, 2)),
            ("address", octets_text(data[3:length]) if length > 3 else "none", *octets.span(2, length)),
        )
        layers = (explain_apdu(octets.part(length), dialogue),)
        return Layer(name="gateway prefix", offset=offset, length=size, fields=prefix, layers=layers)
    if data[:1] and data[0] in APDU_NAMES:
        return explain_apdu(octets, dialogue)
    fields = (("octets", hex_text(data), offset, size),)
    return Layer(name="no APDU", offset=offset, length=size, fields=fields)


class _Block(NamedTuple):
    """Kind, number and data of a block, and whether it is the last."""

    kind: str
    number: int
    data: Octets
    last: bool


def _block(octets: Octets) -> _Block | None:
    """The block that an APDU holds; None for others, and for a general block without data, which acknowledges."""
    reader = Reader(octets.data)
    if octets.data[:1] == bytes((_GENERAL_BLOCK,)):
        reader.u8("tag")
        last = bool(reader.u8("block control") & _LAST)
        number, _ = reader.u16("block number"), reader.u16("block number acknowledged")
        kind = _GENERAL
    elif octets.data[:2] == _GET_BLOCK:
        reader.octets(3, "get-response")
        last = reader.flag("last block")
        number = reader.u32("block number")
        kind = _GET
        if reader.flag("result"):
            return None
    else:
        return None
    size = len(reader.string("block data"))
    return _Block(kind, number, octets.part(reader.offset - size, reader.offset), last) if size else None
