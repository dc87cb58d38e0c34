"""Any octets of any installed protocol in words: frames as they are pasted, or the file of a capture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from textwrap import indent

from headend.drivers.base import NO_SECRETS, Driver, Layer, Secrets
from headend.drivers.captures import conversations, explain_capture, is_capture
from headend.drivers.pasted import explain_any, read_hex
from headend.drivers.registry import driver, driver_names
from headend.model.meter import Secret


@dataclass(frozen=True, slots=True)
class Decoded:
    """What octets mean: `protocol` is the driver's name, those of all conversations of a capture, or empty."""

    protocol: str
    octets: bytes
    layer: Layer


def decode(
    octets: bytes | str,
    *,
    keys: Mapping[str, bytes | Secret] | None = None,
    protocol: str = "",
    ports: Iterable[int] = (),
) -> Decoded:
    """Explain frames, APDUs, data, or a capture file (pcap, pcapng), layer by layer.

    ```python
    found = headend.decode("7ea0070321930f017e")
    print(found.layer.name, found.layer.fields)
    found = headend.decode(Path("push.pcap").read_bytes(), keys={"ek": ek, "ak": ak})
    ```

    Args:
        octets: the octets themselves, or text: hexadecimal in any grouping, a hexdump, `base64:…`.
        keys: what ciphered APDUs are opened with, by name: `ek`, `ak`; `headend.drivers.dlms.explaining.KEYS` has them all.
        protocol: the name of a driver; without it the one that understands most of the octets speaks.
        ports: explain only conversations of these ports in a capture; without them, those of the protocols' own ports
            and what begins like one of them.

    Every layer and field says where in the octets it lies. What is malformed ends in a layer with `error` set; what cannot
    be tried (no hexadecimal digits, a key of the wrong length, an unknown protocol) raises ConfigError.
    """
    data = read_hex(octets) if isinstance(octets, str) else octets
    secrets = {name: key if isinstance(key, Secret) else Secret(key) for name, key in (keys or {}).items()}
    drivers = [driver(name) for name in ([protocol] if protocol else driver_names())]
    return decode_with(drivers, data, secrets, ports)


def decode_with(
    drivers: Iterable[Driver], data: bytes, secrets: Secrets = NO_SECRETS, ports: Iterable[int] = ()
) -> Decoded:
    """The same with drivers that are loaded."""
    drivers = list(drivers)
    if is_capture(data):
        name, layer = explain_capture(data, drivers, secrets, ports)
    else:
        name, layer = explain_any(data, drivers, secrets)
    return Decoded(name, data, layer)


def translate(
    octets: bytes | str,
    *,
    keys: Mapping[str, bytes | Secret] | None = None,
    protocol: str = "dlms",
    ports: Iterable[int] = (),
) -> str:
    """Frames and APDUs in the XML notation of the protocol's translators; deciphered where there are keys.

    Those of a capture stand in an element for each conversation. Raises DecodeError for what is malformed, CapabilityError
    for a protocol without such a notation.
    """
    data = read_hex(octets) if isinstance(octets, str) else octets
    secrets = {name: key if isinstance(key, Secret) else Secret(key) for name, key in (keys or {}).items()}
    return translate_with(driver(protocol), data, secrets, ports)


def translate_with(chosen: Driver, data: bytes, secrets: Secrets = NO_SECRETS, ports: Iterable[int] = ()) -> str:
    """The same with a driver that is loaded."""
    if not is_capture(data):
        return chosen.translate(data, secrets)
    lines = ["<Conversations>"]
    for name, said in conversations(data, chosen, ports):
        document = indent(chosen.translate(said, secrets), "    ")
        lines.append(f'  <Conversation Name="{escape(name)}">\n{document}  </Conversation>')
    return "\n".join([*lines, "</Conversations>"]) + "\n"


def to_document(layer: Layer) -> dict[str, object]:
    """A layer as JSON has it, the same in the command line and in REST."""
    return {
        "name": layer.name,
        "offset": layer.offset,
        "length": layer.length,
        "fields": [
            {"name": name, "value": value, "offset": offset, "length": length}
            for name, value, offset, length in layer.fields
        ],
        "layers": [to_document(inner) for inner in layer.layers],
        "error": layer.error,
    }
