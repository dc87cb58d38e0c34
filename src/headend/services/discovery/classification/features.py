"""Features of a fingerprint that a statistical model weighs: what is in the object list, and how the protocol behaves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

BEHAVIOUR: Final = (
    "referencing",
    "conformance",
    "max_pdu",
    "dlms_version",
    "hdlc_max_info_receive",
    "hdlc_max_info_transmit",
    "hdlc_window_receive",
    "hdlc_window_transmit",
)
"""Facts that say how a meter behaves, not who it is. A model compares them where it knows them of both."""

IDENTITY: Final = (
    "0-0:42.0.0.",
    "0-0:96.1.",
    "0-0:96.2.",
    "1-0:0.0.",
    "1-0:0.2.",
    "0-0:0.2.",
    "0-0:43.1.",
    "0-0:41.0.0.",
)
"""Objects that hold who a meter is: what emulated variations blank."""


@lru_cache(maxsize=65536)
def object_features(class_id: int, version: int, name: str) -> tuple[str, ...]:
    """Features of one object: class and code without the billing period, its version, and its kind of quantity."""
    head, _, tail = name.partition(":")
    groups = tail.split(".")
    if len(groups) != 4:
        return (f"{class_id}/{name}",)
    code = f"{class_id}/{head}:{groups[0]}.{groups[1]}.{groups[2]}"
    kind = f"{head.partition('-')[0]}-*:{groups[0]}.{groups[1]}"
    return (code, kind) if version < 0 else (code, kind, f"{class_id} version {version}")


def features(objects: Iterable[tuple[int, int, str]]) -> frozenset[str]:
    """The features of an object list; a version below 0 is unknown."""
    return frozenset(feature for each in objects for feature in object_features(*each))


def behaviour(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts of a fingerprint that say how the meter behaves."""
    return {name: facts[name] for name in BEHAVIOUR if facts.get(name)}
