"""Where secrets come from: the environment, a file, or the text of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from headend.errors import ConfigError, KeyMissing
from headend.model.meter import Secret


def resolve_secret(place: str, name: str = "secret") -> Secret:
    """The secret at `env:NAME`, `file:PATH`, `hex:…` or `text:…`; raises KeyMissing or ConfigError, never showing it.

    A file's trailing line end is not part of the secret; `hex:` in a variable or a file is understood too.
    """
    form, _, rest = place.partition(":")
    if form == "env":
        value = os.environ.get(rest)
        if value is None:
            raise KeyMissing(f"{name}: the environment variable {rest} is not set")
        return _octets(value, name)
    if form == "file":
        try:
            return _octets(Path(rest).expanduser().read_text(encoding="utf-8").rstrip("\r\n"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise KeyMissing(f"{name}: cannot read the file {rest}: {type(error).__name__}") from None
    if form in ("hex", "text"):
        return _octets(place, name)
    raise ConfigError(f"{name}: it is not said where the secret is", hint="write env:NAME, file:PATH, hex:… or text:…")


def resolve_secrets(places: Mapping[str, str]) -> dict[str, Secret]:
    """All secrets of a meter URL."""
    return {name: resolve_secret(place, name) for name, place in places.items()}


def _octets(text: str, name: str) -> Secret:
    if text.startswith("hex:"):
        try:
            return Secret(bytes.fromhex(text[4:]))
        except ValueError:
            raise ConfigError(f"{name}: expected hexadecimal octets after hex:") from None
    return Secret(text.removeprefix("text:").encode())
