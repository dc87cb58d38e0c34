"""Reading octets in order, never beyond the end: what all decoders of BER and A-XDR headers share."""

from __future__ import annotations

from headend.errors import DecodeError

LONGEST_LENGTH = 4
"""Octets that a length may take after its first one; more than 4 GiB is nobody's length."""


class Reader:
    """A place in an APDU. Every method moves on by what it returns, or raises DecodeError that names the octet."""

    __slots__ = ("data", "end", "offset")

    def __init__(self, data: bytes, offset: int = 0, end: int | None = None) -> None:
        """Read `data` from `offset` up to `end`."""
        self.data = data
        self.offset = offset
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """How many octets there are still."""
        return self.end - self.offset

    def peek(self) -> int:
        """The next octet, without moving; -1 at the end."""
        return self.data[self.offset] if self.offset < self.end else -1

    def octets(self, count: int, what: str) -> bytes:
        """The next `count` octets."""
        start = self.offset
        if count > self.end - start:
            raise DecodeError(what, offset=start, expected=f"{count} octets", got=f"{self.end - start}")
        self.offset = start + count
        return self.data[start : self.offset]

    def u8(self, what: str) -> int:
        """One octet."""
        return self.octets(1, what)[0]

    def u16(self, what: str) -> int:
        """Two octets, most significant first."""
        return int.from_bytes(self.octets(2, what), "big")

    def u32(self, what: str) -> int:
        """Four octets, most significant first."""
        return int.from_bytes(self.octets(4, what), "big")

    def flag(self, what: str) -> bool:
        """A BOOLEAN, or the presence octet of an OPTIONAL: 00 is no, anything else is yes."""
        return self.u8(what) != 0

    def length(self, what: str) -> int:
        """A length that fits into what is left."""
        start = self.offset
        length = self.u8(what)
        if length & 0x80:
            size = length & 0x7F
            if not 0 < size <= LONGEST_LENGTH:
                raise DecodeError(what, offset=start, expected="a definite length", got=f"{length:02x}")
            length = int.from_bytes(self.octets(size, what), "big")
        if length > self.left:
            raise DecodeError(what, offset=start, expected=f"at most {self.left} octets", got=str(length))
        return length

    def string(self, what: str) -> bytes:
        """Length and as many octets."""
        return self.octets(self.length(what), what)

    def tail(self, what: str) -> bytes:
        """Everything that is left, at least one octet: data that end an APDU and are decoded by who wants them."""
        return self.octets(max(1, self.left), what)

    def finish(self, what: str) -> None:
        """Raise DecodeError when something is left over."""
        if self.left:
            raise DecodeError(f"{what} goes on after its end", offset=self.offset, got=f"{self.left} octets more")
