"""What goes wrong with virtual meters, on purpose and by layer.

```text
 kinds      what can be wrong, and which share of the meters has it
 octets     what becomes of an answer on its way          latency, loss, garbage …
 wire       the link that does it, switchable while it is open
 seats      who may connect                               one-session, zombie, reboot, off
```

What is wrong with the meter itself, and not with its wire, is told to the meter (`VirtualMeter.suffer`), which tells its driver.
"""

from headend.emulator.faults.kinds import Fault, FaultKind, Layer
from headend.emulator.faults.wire import FaultyLink

__all__ = ["Fault", "FaultKind", "FaultyLink", "Layer"]
