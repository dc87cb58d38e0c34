"""Credentials with which discovery goes deeper: of one device, or of all meters of a network or with a tag. Kept in the vault.

None is used unless somebody asks for it, and one that a meter has refused is not tried there again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Final

from headend.drivers.base import NO_SECRETS, Secrets
from headend.errors import ConfigError
from headend.model.audit import Action
from headend.model.device import Credentials
from headend.model.meter import NO_PARAMS, Secret
from headend.storage.store import Store

_GROUP: Final = "credentials "
_DEVICE: Final = "device "
"""before the name under which secrets are in the vault: no meter id holds a blank"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Secrets with the parameters that go with them: the client, the mechanism."""

    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    secrets: Secrets = field(default_factory=lambda: NO_SECRETS, repr=False)

    def __bool__(self) -> bool:
        return bool(self.params or self.secrets)


NO_KEY: Final = Key()


class KeyRing:
    """All credentials of discovery. Methods block, and raise StorageError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def groups(self) -> list[Credentials]:
        """The networks and tags that credentials are kept for, without the secrets."""
        names = self._store.secrets.names
        return [replace(each, secrets=tuple(names(_GROUP + each.name))) for each in self._store.devices.groups()]

    def put_group(self, name: str, params: Mapping[str, str], secrets: Mapping[str, Secret], actor: str) -> None:
        """Keep credentials for a network or tag, in the place of those before; raises ConfigError for a network that is none."""
        if not name.strip():
            raise ConfigError("credentials are for a network (10.0.0.0/8) or a tag")
        if "/" in name:
            try:
                name = str(ip_network(name))
            except ValueError as error:
                raise ConfigError(f"{name!r} is no network: {error}") from None
        self._replace(_GROUP + name, secrets)
        self._store.devices.put_group(name, params)
        self._audit(actor, f"credentials:{name}", secrets)

    def remove_group(self, name: str, actor: str) -> None:
        """Forget credentials of a network or tag; raises NotFound."""
        self._store.devices.forget_group(name)
        self._replace(_GROUP + name, {})
        self._audit(actor, f"credentials:{name}", {})

    def put_device(self, device: str, secrets: Mapping[str, Secret], actor: str) -> None:
        """Keep secrets of a device that is no meter of ours yet."""
        self._replace(_DEVICE + device, secrets)
        self._audit(actor, f"device:{device}", secrets)

    def of_device(self, device: str) -> Secrets:
        """Those kept of a device."""
        return self._secrets(_DEVICE + device)

    def of_meter(self, meter_id: str) -> Secrets:
        """Those kept of a meter of ours."""
        return self._secrets(meter_id)

    def of_group(self, host: str, tags: Iterable[str] = ()) -> Key:
        """Those of the smallest network that a host lies in, else of the first of its tags that has any."""
        groups = {each.name: each for each in self._store.devices.groups()}
        found = _network_of(groups, host) or next((tag for tag in tags if tag in groups), None)
        return NO_KEY if found is None else Key(params=groups[found].params, secrets=self._secrets(_GROUP + found))

    def _secrets(self, owner: str) -> Secrets:
        return {name: self._store.secrets.get(owner, name) for name in self._store.secrets.names(owner)}

    def _replace(self, owner: str, secrets: Mapping[str, Secret]) -> None:
        for name in self._store.secrets.names(owner):
            if name not in secrets:
                self._store.secrets.delete(owner, name)
        for name, secret in secrets.items():
            self._store.secrets.put(owner, name, secret)

    def _audit(self, actor: str, subject: str, secrets: Mapping[str, Secret]) -> None:
        self._store.audit.append(actor, Action.SECRET_CHANGED, subject, {"secrets": ",".join(sorted(secrets))})

    def drop_device(self, device: str) -> None:
        """Forget what was kept of a device: it is a meter now, or gone."""
        self._replace(_DEVICE + device, {})


def _network_of(names: Iterable[str], host: str) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    networks = [ip_network(name) for name in names if "/" in name]
    holding = [each for each in networks if each.version == address.version and address in each]
    return str(max(holding, key=lambda each: each.prefixlen)) if holding else None
