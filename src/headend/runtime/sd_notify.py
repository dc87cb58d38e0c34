"""What systemd is told: that the head-end is ready, that it makes progress, that it stops. Silent where nobody asked."""

from __future__ import annotations

import os
import socket
from typing import Final

MAX_STATUS: Final = 200


def notify(*lines: str) -> bool:
    """Send lines as `READY=1` to whoever started this process and wants to know; False where nobody does, or is there.

    The address is that of a datagram socket in the environment, `@` stands for the octet 0 of an abstract one.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.settimeout(0)
            to.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def status(text: str) -> str:
    """The line that shows a text where the service is shown."""
    return "STATUS=" + " ".join(text.split())[:MAX_STATUS]


def watchdog_seconds() -> float:
    """How often systemd wants to hear of this process at the latest; 0: never. What is meant for another process is not ours."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    wanted = os.environ.get("WATCHDOG_USEC", "")
    return int(wanted) / 1e6 if wanted.isdigit() else 0.0
