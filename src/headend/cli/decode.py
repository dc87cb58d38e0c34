"""`decode`: any frame, layer by layer."""

from __future__ import annotations

import re
import sys

import typer

from headend.cli.output import print_json
from headend.drivers.base import Layer
from headend.drivers.registry import driver, driver_names
from headend.errors import ConfigError, DecodeError


def decode(octets: list[str], *, protocol: str, as_json: bool) -> None:
    """Explain a frame; the driver that understands most of it speaks."""
    text = sys.stdin.read() if octets == ["-"] else " ".join(octets)
    data = _from_hex(text)
    names = [protocol] if protocol else list(driver_names())
    layers = [driver(name).explain(data) for name in names]
    best = min(layers, key=lambda layer: (bool(_errors(layer)), -_depth(layer)))
    if as_json:
        print_json(to_document(best))
    else:
        _print(best, 0)
    wrong = _errors(best)
    if wrong:
        raise DecodeError(wrong[0])


def to_document(layer: Layer) -> dict[str, object]:
    """A layer as JSON."""
    return {
        "name": layer.name,
        "offset": layer.offset,
        "length": layer.length,
        "fields": [
            {"name": name, "value": value, "offset": offset, "length": length}
            for name, value, offset, length in layer.fields
        ],
        "layers": [to_document(inner) for inner in layer.layers],
        **({"error": layer.error} if layer.error else {}),
    }


def _from_hex(text: str) -> bytes:
    digits = re.sub(r"0[xX]|[\s:,;_|-]", "", text)
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        wrong = next((char for char in digits if char not in "0123456789abcdefABCDEF"), None)
        said = f"{wrong!r} is no hexadecimal digit" if wrong else "an odd number of digits"
        raise ConfigError(f"expected a frame as hexadecimal octets: {said}") from None
    if not data:
        raise ConfigError("expected a frame as hexadecimal octets, got nothing")
    return data


def _depth(layer: Layer) -> int:
    return 1 + len(layer.fields) + sum(_depth(inner) for inner in layer.layers)


def _errors(layer: Layer) -> list[str]:
    found = [layer.error] if layer.error else []
    for inner in layer.layers:
        found += _errors(inner)
    return found


def _print(layer: Layer, indent: int) -> None:
    pad = "  " * indent
    typer.echo(f"{layer.offset:5d} +{layer.length:<4d} {pad}{layer.name}")
    for name, value, offset, length in layer.fields:
        typer.echo(f"{offset:5d} +{length:<4d} {pad}  {name}: {value}")
    for inner in layer.layers:
        _print(inner, indent + 1)
    if layer.error:
        typer.echo(f"      !     {pad}  {layer.error}")
