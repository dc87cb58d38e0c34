"""APDUs in the XML notation that translators of DLMS share: one element for each field, values in hexadecimal. Pure.

```text
translate  all APDUs of some octets, in their order, with what was deciphered inside the ciphered ones
apdus      services and refusals       access, short  those of ACCESS and of short names   acse  associations
data       A-XDR values                element  what is written
```

Passwords, keys and everything written to objects that hold them are not shown: `Hidden` says how many octets they are.
"""

from headend.drivers.dlms.translating.translate import translate

__all__ = ["translate"]
