"""Serial links: RS-485 adapters, optical heads. pyserial is imported when the first one is opened."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Final

from headend.errors import ConfigError, LinkError, LinkTimeout
from headend.transport.stream import StreamLink

_PORT: Final = re.compile(r"/dev/(tty|pts/|serial/|rfcomm|cu\.)")
"""Serial ports, pseudo-terminals and the links to them. Opening another device may do things: a watchdog starts to run."""

PARITIES: Final = {"N": "none", "E": "even", "O": "odd"}


class SerialLink(StreamLink):
    """A link over a serial port."""

    __slots__ = ()

    async def set_line(self, baud: int, line: str) -> None:
        """Change speed and character format of the open port, e.g. from 300 7E1 to 9600 8N1; raises LinkError."""
        data_bits, parity, stop_bits = parse_line(line)
        port = self.transport_info("serial")
        if port is not None:
            import termios  # noqa: PLC0415 - absent on some platforms

            try:
                await asyncio.to_thread(port.flush)
                port.apply_settings({"baudrate": baud, "bytesize": data_bits, "parity": parity, "stopbits": stop_bits})
            except (OSError, ValueError, termios.error) as error:
                raise _not_opened(error, self.peer, f"{baud} baud {line}") from error

    def _abort(self, transport: asyncio.Transport) -> None:
        port = transport.get_extra_info("serial")
        if transport.is_closing() and not transport.get_write_buffer_size():
            port.reset_output_buffer()  # it closes as soon as the port has nothing left to send
        else:
            transport.abort()


def parse_line(line: str) -> tuple[int, str, int]:
    """Data bits, parity and stop bits of `8N1`, `7E1`, `8E1` …; raises ConfigError."""
    if len(line) == 3 and line[0] in "78" and line[1] in PARITIES and line[2] in "12":
        return int(line[0]), line[1], int(line[2])
    raise ConfigError(f"expected a character format such as 8N1 or 7E1, got {line!r}")


async def open_serial(path: str, baud: int, timeout: float, *, line: str = "8N1") -> SerialLink:
    """Open a serial port; raises LinkError that names it, ConfigError for a format that does not exist."""
    data_bits, parity, stop_bits = parse_line(line)
    _check_port(path)
    import termios  # noqa: PLC0415 - absent on some platforms

    import serial_asyncio_fast  # noqa: PLC0415 - most head-ends have no serial port

    try:
        async with asyncio.timeout(timeout):
            _, link = await serial_asyncio_fast.create_serial_connection(
                asyncio.get_running_loop(),
                lambda: SerialLink(path, "serial"),
                path,
                baudrate=baud,
                bytesize=data_bits,
                parity=parity,
                stopbits=stop_bits,
                exclusive=True,
            )
            await asyncio.sleep(0)  # the transport calls connection_made in its first turn
    except TimeoutError as error:
        raise LinkTimeout(f"{path} could not be opened within {timeout:g} s") from error
    except (OSError, ValueError, termios.error) as error:  # pyserial's own errors are OSErrors
        raise _not_opened(error, path, f"{baud} baud {line}") from error
    assert isinstance(link, SerialLink)  # noqa: S101 - the factory above
    return link


def _check_port(path: str) -> None:
    if not _PORT.match(os.path.realpath(path)):
        raise LinkError(f"{path} is not a serial port", hint="expected one such as /dev/ttyUSB0 or /dev/serial/by-id/…")


def _not_opened(error: Exception, path: str, settings: str) -> LinkError:
    text = str(error)
    if not isinstance(error, OSError):
        return LinkError(f"{path} does not support {settings}: {text}")
    if "No such file" in text:
        return LinkError(f"there is no serial port {path}", hint="is the adapter plugged in? see `ls /dev/tty*`")
    if "Permission denied" in text:
        return LinkError(f"no permission to open {path}", hint="add the user to the group that owns it, e.g. dialout")
    if "exclusively lock" in text or "busy" in text:
        return LinkError(f"{path} is in use by another program")
    return LinkError(f"cannot open {path}: {text}")
