"""`decode`: any frame, layer by layer."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import typer

from headend.cli.output import print_json
from headend.drivers import decoding
from headend.drivers.base import Layer
from headend.drivers.captures import is_capture
from headend.drivers.pasted import errors, read_hex
from headend.errors import ConfigError, DecodeError
from headend.runtime.secrets import resolve_secrets

_WIDEST_NAME = 44
"""Columns that names of fields take at most, so that values stand under each other."""


def decode(
    octets: list[str], *, protocol: str, keys: Mapping[str, str], ports: Collection[int], as_json: bool, as_xml: bool
) -> None:
    """Explain octets; the driver that understands most of them speaks. `keys` tells where each is."""
    secrets = resolve_secrets(keys)
    if as_xml:
        typer.echo(decoding.translate(_read(octets), keys=secrets, protocol=protocol or "dlms", ports=ports), nl=False)
        return
    found = decoding.decode(_read(octets), keys=secrets, protocol=protocol, ports=ports)
    length = len(found.octets)
    if as_json:
        print_json({"protocol": found.protocol, "length": length, "layer": decoding.to_document(found.layer)})
    else:
        _print(found.layer, 0, len(str(length)))
    wrong = next(errors(found.layer), "")
    if wrong:
        raise DecodeError(wrong)


def _read(octets: list[str]) -> bytes:
    """What the arguments hold, or the standard input, or the file after an @: hexadecimal, or the octets themselves."""
    if octets == ["-"]:
        return _octets(sys.stdin.buffer.read())
    if len(octets) != 1 or not octets[0].startswith("@"):
        return read_hex(" ".join(octets))
    path = Path(octets[0][1:])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return _octets(content)


def _octets(content: bytes) -> bytes:
    """What a file holds: the octets themselves, or hexadecimal text."""
    if is_capture(content):
        return content
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    return read_hex(text)


def _print(layer: Layer, indent: int, digits: int) -> None:
    """A layer with its fields, each with offset and length; coloured on a terminal."""
    pad = "  " * indent
    typer.echo(_place(layer.offset, layer.length, digits) + pad + typer.style(layer.name, fg="cyan", bold=True))
    width = min(max((len(name) for name, _, _, _ in layer.fields), default=0), _WIDEST_NAME)
    for name, value, offset, length in layer.fields:
        typer.echo(f"{_place(offset, length, digits)}{pad}  {name.ljust(width)}  {value}")
    for inner in layer.layers:
        _print(inner, indent + 1, digits)
    if layer.error:
        typer.echo(" " * (2 * digits + 4) + pad + typer.style(f"! {layer.error}", fg="red", bold=True))


def _place(offset: int, length: int, digits: int) -> str:
    return typer.style(f"{offset:{digits}d} +{length:<{digits}d}  ", dim=True)
