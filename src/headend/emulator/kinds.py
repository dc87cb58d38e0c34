"""What the meters of a group are: a meter file, a variant of one, or what an object list of a real meter tells."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headend.drivers.library import Library
from headend.emulator.listings import Variant, listing
from headend.errors import ConfigError, NotFound
from headend.model.place import Table
from headend.model.profile import MeterProfile

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_INDEX: Final = "index.json"
"""of a folder of object lists; no list itself"""
_VARIANT_KEYS: Final = {
    *(
        "id",
        "base",
        "vendor",
        "model",
        "flag",
        "firmware",
        "logical_device_name",
        "serial",
        "remove",
        "add",
        "association",
    ),
}


class Kinds:
    """The kinds of meters that groups of a fleet file may name."""

    def __init__(self, library: Library, variants: Sequence[Table]) -> None:
        """Raises ConfigError for a variant that cannot be."""
        self._library = library
        self._variants: dict[str, MeterProfile] = {}
        for table in variants:
            self._variants[table.take("id", str)] = self._variant(table)

    def of(self, table: Table) -> Sequence[MeterProfile]:
        """The kinds of the meters of a group: several for a folder of object lists. Raises ConfigError."""
        named = [key for key in ("profile", "objects", "views") if key in table.values]
        if len(named) > 1:
            raise table.error(named[1], "a group has one of profile, objects and views")
        if "objects" in table.values:
            return [listing(_path(table, "objects"), blanked=table.take("blanked", bool, default=False))]
        if "views" in table.values:
            folder, blanked = _path(table, "views"), table.take("blanked", bool, default=False)
            found = [listing(path, blanked=blanked) for path in sorted(folder.glob("*.json")) if path.name != _INDEX]
            if not found:
                raise table.wrong("views", "a folder of object lists")
            return found
        return [self._named(table, "profile")]

    def _named(self, table: Table, key: str) -> MeterProfile:
        name = table.take(key, str)
        if name in self._variants:
            return self._variants[name]
        try:
            return self._library.get(name)
        except NotFound as error:
            raise table.wrong(key, f"a meter profile ({error.hint})") from None

    def _variant(self, table: Table) -> MeterProfile:
        table.allow(_VARIANT_KEYS)
        base = self._named(table, "base")
        try:
            return Variant(
                base=base,
                vendor=table.take("vendor", str),
                model=table.take("model", str),
                association=table.take("association", dict, {}),
                flag=table.take("flag", str, ""),
                firmware=table.take("firmware", str, ""),
                logical_device_name=table.take("logical_device_name", str, ""),
                serial=table.take("serial", str, ""),
                remove=tuple(map(str, table.take("remove", list, []))),
                add=tuple(map(str, table.take("add", list, []))),
            ).profile()
        except ConfigError as error:
            raise table.error("id", f"{error}") from None


def _path(table: Table, key: str) -> Path:
    """A path, in which `${NAME}` is a variable of the environment."""
    text = table.take(key, str)
    for name in _VARIABLE.findall(text):
        if name not in os.environ:
            raise table.error(key, f"the environment variable {name} is not set")
    return Path(_VARIABLE.sub(lambda found: os.environ[found[1]], text)).expanduser()
