"""What FRMR says about the frame that a meter cannot accept (ISO/IEC 13239, 5.5.3.4).

```text
 control field of that frame | V(R) V(R) V(R) C/R V(S) V(S) V(S) 0 | 0 0 0 0 z y x w
```
"""

from __future__ import annotations

from typing import Final

from headend.protocols.hdlc.frame import Frame

INFORMATION_LENGTH: Final = 0x04
RECEIVE_NUMBER: Final = 0x08
REASONS: Final = (
    (0x01, "control field unknown (w)"),
    (0x02, "information field not allowed (x)"),
    (INFORMATION_LENGTH, "information field too long (y)"),
    (RECEIVE_NUMBER, "receive number invalid (z)"),
)


def encode_rejection(frame: Frame, send_next: int, receive_next: int, reason: int) -> bytes:
    """The information field of FRMR about a numbered frame of a client."""
    control = frame.receive_sequence << 5 | frame.final << 4 | frame.send_sequence << 1 | frame.kind.value
    return bytes((control, receive_next << 5 | send_next << 1, reason))


def explain_rejection(information: bytes) -> str:
    """The information field of FRMR in words; what is not of this form is said to be without a reason."""
    if len(information) != 3:
        return "no reason given"
    control, numbers, bits = information
    reasons = [text for bit, text in REASONS if bits & bit] or ["no reason given"]
    return f"control field {control:02X}, V(S)={numbers >> 1 & 7}, V(R)={numbers >> 5}: {', '.join(reasons)}"
