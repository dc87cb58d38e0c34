"""What FRMR says about the frame that a meter cannot accept (ISO/IEC 13239, 5.5.3.4).

```text
 control field of that frame | V(R) V(R) V(R) C/R V(S) V(S) V(S) 0 | 0 0 0 0 z y x w
```
"""

from __future__ import annotations

from typing import Final

REASONS: Final = (
    (0x01, "control field unknown (w)"),
    (0x02, "information field not allowed (x)"),
    (0x04, "information field too long (y)"),
    (0x08, "receive number invalid (z)"),
)


def explain_rejection(information: bytes) -> str:
    """The information field of FRMR in words; what is not of this form is said to be without a reason."""
    if len(information) != 3:
        return "no reason given"
    control, numbers, bits = information
    reasons = [text for bit, text in REASONS if bits & bit] or ["no reason given"]
    return f"control field {control:02X}, V(S)={numbers >> 1 & 7}, V(R)={numbers >> 5}: {', '.join(reasons)}"
