"""Headend: a head-end system for electricity meters.

```python
async with headend.connect("dlms://192.0.2.7?client=16") as meter:
    print(await meter.read("1-0:1.8.0.255"))

print(headend.decode("7ea0070321930f017e").layer)
```

Everything else is in docs/reference/python-api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headend.drivers.decoding import decode as decode
    from headend.runtime.connect import connect as connect

__all__ = ["connect", "decode"]


def __getattr__(name: str) -> object:
    """Load the public names when first asked for: importing the package costs nothing."""
    if name == "connect":
        from headend.runtime.connect import connect  # noqa: PLC0415 - loaded on first use

        return connect
    if name == "decode":
        from headend.drivers.decoding import decode  # noqa: PLC0415 - ditto

        return decode
    raise AttributeError(f"module 'headend' has no attribute {name!r}")
