"""What lies between the APDUs of an association and its framing: ciphering, and general blocks.

```text
APDU ──▶ cipher ──▶ general blocks, if it is too long or was asked for in them ──▶ framing
     ◀── decipher ◀── whole again ◀──
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headend.errors import CapabilityError, LocalProtocolError, RemoteProtocolError, SecurityError
from headend.protocols.base import Role
from headend.protocols.dlms.apdu.general_block import GeneralBlock, decode_general_block
from headend.protocols.dlms.apdu.notification import NOTIFICATION_TAGS
from headend.protocols.dlms.dialogue import Limits
from headend.protocols.dlms.general_blocks import Assembly, GeneralTransfer, longest_in_blocks, push_blocks
from headend.protocols.dlms.initiate import NO_CONFORMANCE, Conformance

if TYPE_CHECKING:
    from headend.protocols.base import ApduReceived, Framing
    from headend.protocols.dlms.events import Protection

NO_LIMIT: Final = 0xFFFF
"""The longest APDU of a side that has named none."""


class Channel:
    """Carries the APDUs of one association; `conformance` and `max_pdu` are what both sides have agreed on."""

    __slots__ = (
        "_exchange",
        "_framing",
        "_limit",
        "_protection",
        "_pushed",
        "_role",
        "_window",
        "conformance",
        "max_pdu",
        "refused",
    )

    def __init__(self, framing: Framing, protection: Protection | None, *, window: int, limit: int) -> None:
        """`window` is how many general blocks in a row we take; `limit` bounds an APDU that comes in them."""
        self.conformance: Conformance = NO_CONFORMANCE
        self.max_pdu = NO_LIMIT
        self.refused = 0
        self._window = window
        self._framing = framing
        self._limit = limit
        self._protection = protection
        self._role = framing.role
        self._exchange: GeneralTransfer | None = None
        self._pushed = Assembly(limit) if framing.role is Role.CLIENT else None

    @property
    def overhead(self) -> int:
        """What ciphering adds to an APDU."""
        return self._protection.overhead if self._protection else 0

    @property
    def limits(self) -> Limits:
        """How long an APDU may be, and what may be cut."""
        return Limits(self.max_pdu if self._exchange is None else self.longest, self.overhead, self.conformance)

    @property
    def longest(self) -> int:
        """The longest APDU, in general blocks if both sides do them."""
        return min(self._limit, longest_in_blocks(self.max_pdu)) if self.cuts_all else self.max_pdu

    @property
    def cuts_all(self) -> bool:
        """True when both sides do general blocks, so that no APDU is too long."""
        return Conformance.GENERAL_BLOCK_TRANSFER in self.conformance

    def forget(self) -> None:
        """The exchange is over, or the client begins another one."""
        self._exchange = None

    def send(self, apdu: bytes, *, confirmed: bool = True, unasked: bool = False) -> None:
        """Protect and send one APDU; raises LocalProtocolError, and sends nothing, when it is longer than the other side takes.

        General blocks of one that is not `confirmed` want no acknowledgements. `unasked` is what a meter says of its own accord.
        """
        if self._protection is not None:
            apdu = self._protection.protect(apdu)
        limit = self.max_pdu
        if len(apdu) <= limit and (self._exchange is None or not confirmed):
            self._send_all([apdu], unasked=unasked)
            return
        if not self.cuts_all:
            raise LocalProtocolError(f"an APDU of {len(apdu)} octets; the other side takes {limit}")
        if not confirmed:
            blocks = list(push_blocks(apdu, limit))
        else:
            exchange = self._exchange = self._exchange or self._new_exchange()
            blocks = exchange.send(apdu, limit)
        self._send_all(blocks, unasked=unasked)

    def take(self, received: ApduReceived, *, awaited: bool) -> bytes | None:
        """The plain APDU in what was received; None for a part of one, and for a notification that is not protected as it must be.

        `awaited` says that an APDU in general blocks may come now. Raises RemoteProtocolError and SecurityError.
        """
        raw = received.apdu
        unasked = received.unsolicited
        if raw[0] == GeneralBlock.TAG:
            block = decode_general_block(raw)
            pushed = not block.window and (block.streaming or block.last_block) and block.data != b""
            whole = (
                self._pushed.add(block) if pushed and self._pushed is not None else self._take(block, awaited=awaited)
            )
            if not whole:
                if not received.unsolicited:
                    self._framing.pass_turn()
                return None
            raw, unasked = whole, unasked or pushed
        elif self._exchange is not None and self._role is Role.SERVER:
            self._exchange = None
        protection = self._protection
        if protection is None or 0x60 <= raw[0] <= 0x63:
            return raw
        try:
            return protection.unprotect(raw)
        except (SecurityError, RemoteProtocolError, CapabilityError):
            if self._role is Role.SERVER or not (unasked or raw[0] in NOTIFICATION_TAGS):
                raise
            self.refused += 1
            return None

    def ask_again(self) -> bool:
        """Ask for the general blocks that are missing; False when none are."""
        if self._exchange is None or not self._exchange.receiving:
            return False
        self._framing.send_apdu(self._exchange.acknowledgement())
        return True

    def agreed(self, conformance: Conformance, max_pdu: int, dedicated_key: bytes) -> None:
        """An association stands."""
        self.conformance = conformance
        self.max_pdu = max_pdu
        if self._protection is not None:
            self._protection.agreed(conformance, dedicated_key)

    def _take(self, block: GeneralBlock, *, awaited: bool) -> bytes | None:
        """The APDU that a block has completed; what the block calls for is sent."""
        if not awaited:
            raise RemoteProtocolError("a general block that nobody has asked for")
        if self._exchange is None:
            self._exchange = self._new_exchange()
        whole, answers = self._exchange.take(block)
        self._send_all(answers)
        return whole

    def _send_all(self, apdus: list[bytes], *, unasked: bool = False) -> None:
        send = self._framing.send_unsolicited if unasked else self._framing.send_apdu
        for apdu in apdus:
            send(apdu)

    def _new_exchange(self) -> GeneralTransfer:
        return GeneralTransfer(self._window, self._limit)
