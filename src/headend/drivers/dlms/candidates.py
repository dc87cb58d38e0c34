"""Objects that a meter may have, for a probe: the published OBIS codes, or those of a pattern. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from headend.drivers.dlms.refs import VALUE_CLASSES, CosemRef, cosem_ref
from headend.errors import ConfigError
from headend.model.objects import ObjectEntry
from headend.model.quantity import for_obis
from headend.standards.codes import codes, find_code
from headend.standards.obis import Obis, parse_pattern

_REGISTER: Final = 3
_STAND_IN: Final = "0-0:0.0.0.0"


def candidates(text: str) -> Iterator[ObjectEntry]:
    """The curated list for an empty text, else what a pattern such as `3/1-0:[1-99].7.0.255/2` names; raises ConfigError."""
    if not text:
        for code in codes().values():
            for class_id in code.classes or (_REGISTER,):
                if class_id in VALUE_CLASSES:
                    yield _entry(CosemRef(class_id, code.obis, 2))
        return
    parts = text.split("/")
    bare = ":" in parts[0]
    pattern = parts[0] if bare else parts[1] if len(parts) > 1 else ""
    if not pattern:
        raise ConfigError(f"{text!r} names no OBIS codes", hint="write 1-0:[1-99].7.0.255 or 3/1-0:1.8.[0-4].255/2")
    around = cosem_ref("/".join([str(_REGISTER), _STAND_IN] if bare else [parts[0], _STAND_IN, *parts[2:]]))
    for groups in product(*map(sorted, parse_pattern(pattern))):
        yield _entry(around._replace(obis=Obis(*groups)))


def _entry(ref: CosemRef) -> ObjectEntry:
    known, quantity = find_code(ref.obis), for_obis(ref.obis)
    value = ref.member == 2
    return ObjectEntry(
        ref=ref.object_ref,
        quantity=quantity.key if quantity is not None and value else "",
        name=known.key.replace("_", " ") if known is not None else "",
        scaler=None,
    )
