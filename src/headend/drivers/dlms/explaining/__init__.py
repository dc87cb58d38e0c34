"""Any octets of DLMS in words: frames, APDUs, data and readings, each with its place in the input. Pure.

```text
explain   what is it: HDLC, wrapper, LLC, gateway, M-Bus, an APDU, data
hdlc      frames, also damaged and cut ones; segments           mbus     long frames
stream    APDUs that come in blocks or behind a gateway
apdu      services, field by field    acse  associations        ciphered  general and service-specific ciphering
dialogue  keys, system titles and dedicated keys of both sides
short     services of short names     names    what such a name stands for     signers  signatures
data      A-XDR values                readings  values of pushes words    names of everything
```

`Octets` know the place of each of them in the input, so whatever is put together still says where it came from. Nothing
here raises for malformed input: a layer ends in its `error`.
"""

from headend.drivers.dlms.explaining.dialogue import KEYS
from headend.drivers.dlms.explaining.explain import explain

__all__ = ["KEYS", "explain"]
