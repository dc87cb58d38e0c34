"""HLS 2: authentication mechanisms that manufacturers have thought of, by name.

A mechanism is a function of challenge and secret that gives the proof. It is registered by code, or by an installed package
under the entry point group `headend.dlms_hls`; meters name it in the parameter `hls`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final, TypeAlias

from headend.errors import ConfigError

HlsFunction: TypeAlias = Callable[[bytes, bytes], bytes]
"""The proof, from challenge and secret."""

GROUP: Final = "headend.dlms_hls"
_known: dict[str, HlsFunction] = {}


def register_hls(name: str, function: HlsFunction) -> None:
    """Make a mechanism known; a name that is taken is taken over."""
    _known[name] = function


def hls_function(name: str) -> HlsFunction:
    """The mechanism of a name; raises ConfigError."""
    if name not in _known:
        found = tuple(entry_points(group=GROUP, name=name))
        if not found:
            raise ConfigError(f"nobody has registered the authentication {name!r}", hint="hls=NAME, see register_hls")
        _known[name] = found[0].load()
    return _known[name]
