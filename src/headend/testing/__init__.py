"""Virtual meters for other people's tests: a pytest plugin with the fixtures `virtual_meter` and `virtual_fleet`.

They run in a thread of their own, on loopback addresses and free ports: plain tests and tests in an event loop use them alike.
`docs/how-to/test-with-virtual-meters.md` shows how.
"""

from headend.testing.meters import VirtualFleetHandle, VirtualMeterHandle

__all__ = ["VirtualFleetHandle", "VirtualMeterHandle"]
