"""The security control octet, which stands before the invocation counter in everything that is ciphered.

```text
  7           6          5          4              3 … 0
  compressed  broadcast  encrypted  authenticated  security suite
```
"""

from __future__ import annotations

from typing import Final

from headend.errors import CapabilityError, DecodeError

AUTHENTICATED: Final = 0x10
ENCRYPTED: Final = 0x20
BROADCAST: Final = 0x40
"""The key is the global broadcast key, not the unicast one."""
COMPRESSED: Final = 0x80
SUITE: Final = 0x0F
PROTECTION: Final = AUTHENTICATED | ENCRYPTED
SIGNED: Final = 0x40
"""In security policies and access rights, never on the wire, where this bit is that of the broadcast key."""

KEY_LENGTHS: Final = {0: 16, 1: 16, 2: 32}
"""By suite."""


def check_control(control: int, key_length: int) -> None:
    """Refuse a control octet that says nothing sensible for a key; raises DecodeError."""
    if control & COMPRESSED:
        raise DecodeError("security control", offset=0, expected="no compression", got=f"{control:02x}")
    if not control & PROTECTION:
        raise DecodeError("security control", offset=0, expected="authentication or encryption", got=f"{control:02x}")
    if KEY_LENGTHS.get(control & SUITE) != key_length:
        expected = f"a suite with keys of {key_length} octets"
        raise DecodeError("security control", offset=0, expected=expected, got=f"{control:02x}")


def refuse_compression(sealed: bytes) -> None:
    """Say that something could not be opened because it is compressed, if it is; raises CapabilityError."""
    if sealed and sealed[0] & COMPRESSED:
        raise CapabilityError(
            "a compressed APDU: decompression by V.44 is not available",
            hint="set up the meter so that it does not compress",
        )
