"""Devices become meters of ours: the way a meter goes that is entered by hand, for many at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from headend.drivers.base import Secrets
from headend.drivers.library import Library
from headend.errors import ConfigError, HeadendError, NotFound
from headend.model.device import Device, DeviceState, Papers
from headend.model.meter import Meter
from headend.services.discovery.credentials import NO_KEY, KeyRing
from headend.services.roster import Roster
from headend.storage.store import Store

log = structlog.get_logger(__name__)

AT_ONCE: Final = 500
"""devices in one transaction"""
_FIELD: Final = re.compile(r"\{(\w+)\}")
_NO_ID: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """How devices become meters. `name` is a template: `{vendor} {model} {serial} {host} {port} {id}` and each parameter."""

    name: str = "{vendor} {serial}"
    tags: tuple[str, ...] = ()
    poll_seconds: float = 60.0
    enabled: bool = True
    profile_id: str = ""
    """for all of them; empty: the meter file that fits each, else the draft of one"""
    drafts: bool = True
    """keep drafts in the library where no meter file fits; else such a meter has none"""
    credentials: bool = False
    """read it with those kept for its network or tags"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What became of one: the meter that it is, or why it could not be."""

    device_id: str
    meter_id: str = ""
    new: bool = False
    """False for one that was a meter of ours already"""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entering:
    device: Device
    meter: Meter
    secrets: Secrets


class Adopter:
    """Makes meters of devices. `enter` blocks and stores; `announce` belongs to the event loop and tells everybody."""

    def __init__(
        self, store: Store, roster: Roster, library: Library, keys: KeyRing, keep_draft: Callable[[str, str], str]
    ) -> None:
        """`keep_draft` blocks, takes the text of a draft and an actor, and returns the id that it has in the library."""
        self._keep_draft = keep_draft
        self._store = store
        self._roster = roster
        self._library = library
        self._keys = keys

    def enter(
        self, ids: Sequence[str], adoption: Adoption, actor: str, taken: Callable[[str], bool]
    ) -> tuple[Sequence[Adopted], Sequence[Meter]]:
        """Store the meters: what became of each device, and the meters that are new. `taken` says which ids are in use."""
        if adoption.profile_id:
            self._library.get(adoption.profile_id)
        done: list[Adopted] = []
        entering: dict[str, _Entering] = {}
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            known = {
                device.id: (device, papers) for device, papers in self._store.devices.some_papers(0, len(some), some)
            }
            for device_id in some:
                if device_id not in known:
                    done.append(Adopted(device_id=device_id, error=str(NotFound(f"no device {device_id!r}"))))
                    continue
                device, papers = known[device_id]
                if device.meter_id and taken(device.meter_id):
                    done.append(Adopted(device_id=device_id, meter_id=device.meter_id))
                    continue
                try:
                    one = self._entering(device, papers, adoption, actor, lambda name: name in entering or taken(name))
                except HeadendError as error:
                    done.append(Adopted(device_id=device_id, error=str(error)))
                    continue
                entering[one.meter.id] = one
        meters = [one.meter for one in entering.values()]
        self._store.meters.put_all(meters)
        for one in entering.values():
            for name, secret in one.secrets.items():
                self._store.secrets.put(one.meter.id, name, secret)
            if one.secrets:
                self._keys.drop_device(one.device.id)
        self._store.devices.mark(DeviceState.ADOPTED, {one.device.id: one.meter.id for one in entering.values()})
        done += [Adopted(device_id=one.device.id, meter_id=one.meter.id, new=True) for one in entering.values()]
        return done, meters

    def announce(self, meters: Sequence[Meter]) -> None:
        """Meters that were stored are polled from now on."""
        for meter in meters:
            self._roster.add(meter)

    def _entering(
        self, device: Device, papers: Papers, adoption: Adoption, actor: str, taken: Callable[[str], bool]
    ) -> _Entering:
        examination = papers.examination
        key = self._keys.of_group(device.host, adoption.tags) if adoption.credentials else NO_KEY
        params = {**examination.params, **key.params}
        names = {**params, **_words(device)}
        name = " ".join(_FIELD.sub(lambda match: names.get(match[1], ""), adoption.name).split())
        meter = Meter(
            id=invent_id(name or device.url.partition("?")[0], taken),
            name=name,
            protocol=examination.protocol,
            framing=examination.framing,
            endpoint=examination.endpoint,
            params=params,
            profile_id=self._profile(device, adoption) or self._drafted(papers, adoption, actor),
            identity=examination.identity,
            poll_seconds=adoption.poll_seconds,
            enabled=adoption.enabled,
            tags=tuple(dict.fromkeys(adoption.tags)),
        )
        return _Entering(device=device, meter=meter, secrets={**key.secrets, **self._keys.of_device(device.id)})

    def _profile(self, device: Device, adoption: Adoption) -> str:
        """The meter file for a device; empty where the library has none."""
        for profile_id in filter(None, (adoption.profile_id, device.profile_id)):
            try:
                profile = self._library.get(profile_id)
            except NotFound:
                continue
            if profile.protocol == device.protocol:
                return profile_id
            if profile_id == adoption.profile_id:
                raise ConfigError(f"the profile {profile_id!r} is not for {device.protocol}")
        return ""

    def _drafted(self, papers: Papers, adoption: Adoption, actor: str) -> str:
        """The id of its draft in the library; empty where it is not wanted, or no meter file."""
        if not adoption.drafts or not papers.draft:
            return ""
        try:
            return self._keep_draft(papers.draft, actor)
        except ConfigError as error:
            log.warning("draft not kept", reason=str(error))
            return ""


def _words(device: Device) -> Mapping[str, str]:
    return {
        "vendor": device.vendor,
        "model": device.model,
        "serial": device.serial,
        "host": device.host,
        "port": str(device.port),
        "protocol": device.protocol,
        "id": device.id,
    }


def invent_id(text: str, taken: Callable[[str], bool]) -> str:
    """An id from a name or an address that no meter has yet."""
    stem = _NO_ID.sub("-", text.lower()).strip("-")[:48].strip("-") or "meter"
    return next(each for each in _numbered(stem) if not taken(each))


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1
