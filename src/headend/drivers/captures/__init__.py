"""Captured traffic: files of tcpdump and Wireshark, taken apart into conversations that the drivers explain. Pure.

```text
packets   pcap and pcapng: where each packet lies in the file
flows     Ethernet, Linux cooked, loopback and raw IP; UDP, and TCP put in order: who says what to whom
explain   each conversation explained by the driver that understands it; places are those of the file
```
"""

from headend.drivers.captures.explain import conversations, explain_capture
from headend.drivers.captures.packets import is_capture

__all__ = ["conversations", "explain_capture", "is_capture"]
