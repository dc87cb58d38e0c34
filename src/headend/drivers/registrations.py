"""The descriptions of logins and heartbeats: one TOML file per family, in the package and in folders of the user's own.

The form of the files is described in `docs/reference/registrations.md`. A user's file with the name of a built-in one replaces it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

from headend.errors import ConfigError, NotFound
from headend.model.place import Table, line_of
from headend.protocols.frame_layout import Algorithm, Check, Field, Form, Layout, Length, Part, Wrapped, to_octets
from headend.protocols.registration import FrameForm, Kind, Policy, Registration

_TOP_KEYS: Final = {"registration", "wrapper", "field", "check", "frame", "test"}
_REGISTRATION_KEYS: Final = {
    *("name", "source", "note", "protocol", "framing", "period", "acknowledge", "zero_number"),
}
_WRAPPER_KEYS: Final = {"source", "destination"}
_FIELD_KEYS: Final = {"form", "octets", "pad", "strays", "order", "values"}
_CHECK_KEYS: Final = {"algorithm", "from", "order"}
_FRAME_KEYS: Final = {"kind", "layout", "acknowledgement", "wrapped", "answer", "opening", "alone"}
_TEST_KEYS: Final = {"name", "kind", "number", "check", "octets", "acknowledgement"}
_WORD: Final = re.compile(r"\s*(?:'([^']*)'|((?:[0-9A-F]{2})+)(?=\s|$)|([a-z][a-z_0-9]*)(?=\s|$))")
_ORDERS: Final = ("little", "big")
_CHECKED: Final = {"right": True, "wrong": False, "none": None}

_T = TypeVar("_T", Kind, Policy, Form, Algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationTest:
    """An example in a file: octets, and what they must come out as."""

    name: str
    kind: Kind
    number: str
    check_ok: bool | None
    octets: bytes
    acknowledgement: bytes | None
    """None where the example does not say it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationFile:
    """What a file says."""

    registration: Registration
    note: str
    tests: tuple[RegistrationTest, ...]


class Registrations:
    """The descriptions at hand."""

    def __init__(self, folders: Iterable[Path] = (), acknowledge: Policy | None = None) -> None:
        """`folders` are read after the built-in files; the last file with a name wins. `acknowledge` overrules all of them.

        Raises ConfigError that names file, line and key.
        """
        paths: dict[str, Path] = {}
        for folder in (_built_in(), *folders):
            if not folder.is_dir():
                raise ConfigError(f"no folder of registrations at {folder}")
            paths.update((path.stem, path) for path in sorted(folder.glob("*.toml")))
        self.files = {name: _load(path) for name, path in sorted(paths.items())}
        """by id"""
        self._registrations = tuple(
            each.registration if acknowledge is None else replace(each.registration, policy=acknowledge)
            for each in self.files.values()
        )

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._registrations)

    def get(self, registration_id: str) -> Registration:
        """A description by id; raises NotFound."""
        for each in self._registrations:
            if each.id == registration_id:
                return each
        raise NotFound(f"no registration {registration_id!r}", hint="there are " + ", ".join(self.files))


@cache
def built_in() -> Registrations:
    """Those of the package."""
    return Registrations()


def _built_in() -> Path:
    return Path(str(files("headend"))) / "registrations"


def _load(path: Path) -> RegistrationFile:
    return load_registration(path.read_text(encoding="utf-8"), path.stem, str(path))


def load_registration(text: str, registration_id: str, origin: str = "") -> RegistrationFile:
    """Parse the text of a file; `registration_id` is its name without `.toml`.

    Raises ConfigError `FILE:LINE: [table] key: expected …, got …`.
    """
    origin = origin or registration_id
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    return _Reader(origin, text, document).read(registration_id)


class _Reader:
    """One file while it is read."""

    def __init__(self, origin: str, text: str, document: Mapping[str, Any]) -> None:
        self._origin, self._text, self._document = origin, text, document
        self._top = Table(origin, text, "", 0, document)
        self._top.allow(_TOP_KEYS)
        self._fields = {name: self._field(name) for name in self._single("field").values}
        self._check: tuple[Algorithm, str, str] | None = self._read_check() if "check" in document else None
        self._wrapped = self._wrapper() if "wrapper" in document else None

    def read(self, registration_id: str) -> RegistrationFile:
        """All of it."""
        about = self._single("registration")
        about.allow(_REGISTRATION_KEYS)
        frames = tuple(map(self._frame, self._several("frame")))
        if not frames:
            raise ConfigError(f"{self._origin}: [[frame]]: expected at least one")
        registration = Registration(
            id=registration_id,
            name=about.take("name", str),
            frames=frames,
            source=about.take("source", str),
            protocol=about.take("protocol", str, ""),
            framing=about.take("framing", str, ""),
            policy=_member(about, "acknowledge", Policy, Policy.WHEN_RIGHT),
            zero_is_blank=_one_of(about, "zero_number", ("peer", "number"), "peer") == "peer",
            period=about.take("period", int, 0),
        )
        tests = tuple(map(_test, self._several("test")))
        return RegistrationFile(registration=registration, note=about.take("note", str, "").strip(), tests=tests)

    def _single(self, name: str) -> Table:
        found = self._document.get(name, {})
        if not isinstance(found, dict):
            raise ConfigError(f"{self._origin}:{line_of(self._text, name)}: write [{name}]: there is only one")
        return Table(self._origin, self._text, name, 0, found)

    def _several(self, name: str) -> list[Table]:
        found = self._document.get(name, [])
        if not isinstance(found, list):
            raise ConfigError(f"{self._origin}:{line_of(self._text, name)}: write [[{name}]]: there may be several")
        return [Table(self._origin, self._text, name, index, values) for index, values in enumerate(found)]

    def _field(self, name: str) -> Field:
        values = self._document["field"][name]
        if not isinstance(values, dict) or name in {"length", "check"}:
            raise ConfigError(f"{self._origin}: [field.{name}]: expected a table with a name of its own")
        table = Table(self._origin, self._text, f"field.{name}", 0, values)
        table.allow(_FIELD_KEYS)
        least, most = _sizes(table)
        pad = _hex(table, "pad") if "pad" in values else b""
        if len(pad) > 1:
            raise table.wrong("pad", "one octet in hexadecimal")
        named: Mapping[str, Any] = table.take("values", dict, {})
        try:
            allowed = {bytes.fromhex(octet)[0]: str(said) for octet, said in named.items()}
        except (ValueError, IndexError):
            raise table.wrong("values", "names by one octet in hexadecimal") from None
        return Field(
            name=name,
            form=_member(table, "form", Form, Form.HEX),
            least=least,
            most=most,
            ranges=isinstance(values["octets"], list),
            pad=pad[0] if pad else None,
            strays=table.take("strays", int, 0),
            reverse=_one_of(table, "order", _ORDERS, "big") == "little",
            values=allowed,
        )

    def _read_check(self) -> tuple[Algorithm, str, str]:
        table = self._single("check")
        table.allow(_CHECK_KEYS)
        order = _one_of(table, "order", _ORDERS, "little")
        return _member(table, "algorithm", Algorithm), table.take("from", str, ""), order

    def _wrapper(self) -> Wrapped:
        table = self._single("wrapper")
        table.allow(_WRAPPER_KEYS)
        return Wrapped(source=_ports(table, "source"), destination=_ports(table, "destination"))

    def _frame(self, table: Table) -> FrameForm:
        table.allow(_FRAME_KEYS | set(self._fields))
        wrapped = self._wrapped if table.take("wrapped", bool, self._wrapped is not None) else None
        layout = Layout(parts=self._parts(table, "layout"), wrapped=wrapped)
        acknowledgement = None
        given: dict[str, bytes] = {}
        if "acknowledgement" in table.values:
            answer = _answer_ports(table) if wrapped is not None else None
            acknowledgement = Layout(parts=self._parts(table, "acknowledgement"), wrapped=answer)
            given = {
                name: to_octets(acknowledgement, name, table.take(name, str))
                for name in self._fields
                if name in table.values
            }
            known = {part.name for part in layout.parts if isinstance(part, Field)} | set(given)
            for part in acknowledgement.parts:
                if isinstance(part, Field) and part.name not in known:
                    raise table.wrong("acknowledgement", f"fields of the layout, or a value for {part.name}")
        return FrameForm(
            kind=_member(table, "kind", Kind),
            layout=layout,
            acknowledgement=acknowledgement,
            given=given,
            opening=table.take("opening", bool, default=False),
            alone=table.take("alone", bool, default=False),
        )

    def _parts(self, table: Table, key: str) -> tuple[Part, ...]:
        words = table.take(key, str).rstrip()
        parts: list[Part] = []
        names: list[str] = []
        at = 0
        while at < len(words):
            word = _WORD.match(words, at)
            if word is None:
                raise table.wrong(key, "octets as 0A, texts as 'A=', names of fields, length and check")
            at = word.end()
            names.append(word[3] or "")
            parts.append(self._part(table, key, names, word))
        if not parts or parts[0] == b"":
            raise table.wrong(key, "at least one octet")
        return tuple(parts)

    def _part(self, table: Table, key: str, names: list[str], word: re.Match[str]) -> Part:
        text, octets, name = word.groups()
        if text is not None:
            return _ascii(table, key, text)
        if octets is not None:
            return bytes.fromhex(octets)
        if name == "length":
            return Length()
        if name == "check":
            if self._check is None:
                raise table.wrong(key, "a table [check]")
            algorithm, first, order = self._check
            if first and first not in names:
                raise table.wrong(key, f"{first}, from which [check] counts")
            return Check(algorithm=algorithm, first=names.index(first) if first else 0, order=order)
        if name not in self._fields:
            raise table.wrong(key, "one of " + ", ".join([*self._fields, "length", "check"]) + f" for {name}")
        return self._fields[name]


def _ascii(table: Table, key: str, text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise table.wrong(key, "texts in ASCII") from None


def _sizes(table: Table) -> tuple[int, int]:
    """The least and the greatest number of octets."""
    said = table.values.get("octets")
    sizes = [size for size in (said if isinstance(said, list) else [said, said]) if type(size) is int]
    if len(sizes) == 2 and 0 < sizes[0] <= sizes[1] <= MAX_FIELD:
        return sizes[0], sizes[1]
    raise table.wrong("octets", f"a number of octets, or [least, most], up to {MAX_FIELD}")


MAX_FIELD: Final = 64
"""Octets of a field."""


def _ports(table: Table, key: str) -> frozenset[int]:
    said: list[Any] = table.take(key, list, [])
    if not all(type(port) is int and 0 < port <= 0xFFFF for port in said):
        raise table.wrong(key, "a list of ports")
    return frozenset(said)


def _answer_ports(table: Table) -> Wrapped:
    """The ports of the acknowledgement: without `answer` those of the frame, the other way round."""
    said: Mapping[str, Any] = table.take("answer", dict, {})
    if not set(said) <= _WRAPPER_KEYS or not all(type(port) is int and 0 < port <= 0xFFFF for port in said.values()):
        raise table.wrong("answer", "source and destination port")
    return Wrapped(**{key: frozenset({port}) for key, port in said.items()})


def _one_of(table: Table, key: str, known: tuple[str, ...], default: str) -> str:
    said = table.take(key, str, default)
    if said not in known:
        raise table.wrong(key, " or ".join(known))
    return said


def _member(table: Table, key: str, kind: type[_T], default: _T | None = None) -> _T:
    said = table.take(key, str, None if default is None else default.value)
    try:
        return kind(said)
    except ValueError:
        raise table.wrong(key, " or ".join(each.value for each in kind)) from None


def _test(table: Table) -> RegistrationTest:
    table.allow(_TEST_KEYS)
    return RegistrationTest(
        name=table.take("name", str),
        kind=_member(table, "kind", Kind),
        number=table.take("number", str, ""),
        check_ok=_CHECKED[_one_of(table, "check", tuple(_CHECKED), "none")] if "check" in table.values else True,
        octets=_hex(table, "octets"),
        acknowledgement=_hex(table, "acknowledgement") if "acknowledgement" in table.values else None,
    )


def _hex(table: Table, key: str) -> bytes:
    try:
        return bytes.fromhex(table.take(key, str))
    except ValueError:
        raise table.wrong(key, "octets in hexadecimal") from None
