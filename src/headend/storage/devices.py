"""Devices that discovery has found, with their papers, and the fingerprints that they had before."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from headend.errors import NotFound, StorageError
from headend.model.device import (
    Credentials,
    Device,
    DevicePage,
    DeviceQuery,
    DeviceState,
    Finding,
    Noted,
    Papers,
    PastFingerprint,
    device_id,
    url_of,
)
from headend.model.discovery import Sighting
from headend.model.discovery_json import (
    classification_from,
    examination_from,
    fingerprint_from,
    sighting_from,
    to_json,
)
from headend.storage.dialect import insert
from headend.storage.engine import Database
from headend.storage.schema import device_history as history
from headend.storage.schema import device_papers as papers
from headend.storage.schema import devices as table
from headend.storage.schema import group_credentials as groups
from headend.storage.schema import scan_devices, scans

_LEVEL: Final = 3
"""of compression: five times smaller, at a third of the time of the usual one"""
_SHOWN: Final = tuple(column for column in table.c if column.name not in ("wire", "names"))


class Devices:
    """The table of devices, in the order in which they were found first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, findings: Sequence[Finding], scan_id: str = "") -> Sequence[Noted]:
        """Keep what was found, all in one transaction; who adopted or ignored a device before has done so still."""
        rows = [_Row(finding, scan_id) for finding in findings]
        noted: list[Noted] = []
        with self._database.write() as connection:
            known = _known(connection, [row.id for row in rows])
            for row in rows:
                before = known.get(row.id)
                noted.append(_keep(connection, row, before))
                known[row.id] = noted[-1].device
            if scan_id:
                number = sa.select(scans.c.number).where(scans.c.id == scan_id)
                if (scan := connection.execute(number).scalar_one_or_none()) is not None:
                    found = [{"scan": scan, "device": each.device.number} for each in noted]
                    connection.execute(insert(connection, scan_devices).on_conflict_do_nothing(), found)
        return noted

    def get(self, device: str) -> Device:
        """One device by its id; raises NotFound."""
        with self._database.read() as connection:
            return _one(connection, device)

    def papers(self, device: str) -> Papers:
        """What is kept of a device; raises NotFound."""
        with self._database.read() as connection:
            query = sa.select(papers).where(papers.c.device == _one(connection, device).number)
            return _papers(connection.execute(query).one())

    def at(self, wire: str) -> Sequence[Sighting]:
        """By what the devices of a place were found."""
        query = sa.select(papers.c.sighting).join(table, papers.c.device == table.c.number).where(table.c.wire == wire)
        with self._database.read() as connection:
            return [sighting_from(_unpack(packed)) for packed in connection.execute(query).scalars()]

    def history(self, device: str) -> Sequence[PastFingerprint]:
        """The fingerprints that a device had, the present one last; raises NotFound."""
        with self._database.read() as connection:
            number = _one(connection, device).number
            query = sa.select(history).where(history.c.device == number).order_by(history.c.at)
            return [
                PastFingerprint(at=row.at, fingerprint=fingerprint_from(_unpack(row.fingerprint)))
                for row in connection.execute(query)
            ]

    def list(self, query: DeviceQuery) -> DevicePage:
        """The devices that a query chooses, page by page."""
        chosen = _chosen(sa.select(*_SHOWN), query).where(table.c.number > query.after)
        counted = _chosen(sa.select(sa.func.count()).select_from(table), query)
        with self._database.read() as connection:
            rows = connection.execute(chosen.order_by(table.c.number).limit(query.limit + 1)).all()
            total = int(connection.execute(counted).scalar_one())
        items = [_device(row) for row in rows[: query.limit]]
        return DevicePage(items=items, total=total, next=items[-1].number if len(rows) > query.limit else None)

    def counts(self, scan_id: str | None = None) -> Sequence[tuple[str, str, DeviceState, str, int]]:
        """How many there are of each vendor, protocol, state and host, in all or of a scan: (vendor, protocol, state, host, n)."""
        column = table.c
        parts = (column.vendor, column.protocol, column.state, column.host)
        query = _chosen(sa.select(*parts, sa.func.count()), DeviceQuery(scan=scan_id)).group_by(*parts)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [(row[0], row[1], DeviceState(row[2]), row[3], row[4]) for row in rows]

    def some_papers(self, after: int, limit: int, ids: Sequence[str] | None = None) -> Sequence[tuple[Device, Papers]]:
        """Devices beyond a number with their papers, all or those of some ids: for who goes through them."""
        query: sa.Select[Any] = sa.select(*_SHOWN, papers).join(papers, papers.c.device == table.c.number)
        query = query.where(table.c.number > after)
        if ids is not None:
            query = query.where(table.c.id.in_(ids))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.number).limit(limit)).all()
        return [(_device(row), _papers(row)) for row in rows]

    def seen_at(self, since: int) -> Mapping[str, int]:
        """When somebody answered last, by wire: those seen since a time."""
        query = sa.select(table.c.wire, sa.func.max(table.c.last_seen)).where(table.c.last_seen >= since)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(table.c.wire))}

    def seen_again(self, wires: Iterable[str], scan_id: str) -> int:
        """Devices of these places were there in a scan, too, without being asked again; returns how many."""
        chosen = list(wires)
        number = sa.select(scans.c.number).where(scans.c.id == scan_id).scalar_subquery()
        found = sa.select(number, table.c.number).where(table.c.wire.in_(chosen), number.is_not(None))
        with self._database.write() as connection:
            adding = insert(connection, scan_devices).from_select(["scan", "device"], found).on_conflict_do_nothing()
            return len(connection.execute(adding.returning(scan_devices.c.device)).all()) if chosen else 0

    def mark(self, state: DeviceState, meters: Mapping[str, str]) -> int:
        """What we have done about devices: by id, the meter that each of them is now, or an empty text. Returns how many."""
        mine = table.update().where(table.c.id == sa.bindparam("which"))
        mine = mine.values(state=state.value, meter_id=sa.bindparam("meter"))
        with self._database.write() as connection:
            return sum(
                connection.execute(mine, {"which": device, "meter": meter}).rowcount for device, meter in meters.items()
            )

    def forget(self, device: str) -> None:
        """Remove a device with all that is kept of it; raises NotFound."""
        with self._database.write() as connection:
            number = _one(connection, device).number
            connection.execute(scan_devices.delete().where(scan_devices.c.device == number))
            connection.execute(table.delete().where(table.c.number == number))

    # credentials of groups; their secrets are in the vault

    def put_group(self, name: str, params: Mapping[str, str]) -> None:
        """Keep the parameters that go with the secrets of a network or tag."""
        with self._database.write() as connection:
            adding = insert(connection, groups)
            adding = adding.on_conflict_do_update(index_elements=["name"], set_={"params": adding.excluded.params})
            connection.execute(adding, {"name": name, "params": dict(params)})

    def groups(self) -> Sequence[Credentials]:
        """All networks and tags that credentials are kept for, without the names of their secrets."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(groups).order_by(groups.c.name)).all()
        return [Credentials(name=row.name, params=row.params) for row in rows]

    def forget_group(self, name: str) -> None:
        """Forget the parameters; raises NotFound."""
        with self._database.write() as connection:
            if not connection.execute(groups.delete().where(groups.c.name == name)).rowcount:
                raise NotFound(f"no credentials are kept for {name!r}")


_SEEN = ("last_seen", "scan", "stopped", "meter_id", "state")
"""what changes of a device that was seen, but not examined to the end"""


class _Row:
    """A finding as the tables hold it: packed before the transaction begins."""

    def __init__(self, finding: Finding, scan_id: str) -> None:
        found = finding.papers
        examination, classification = found.examination, found.classification
        facts, endpoint, identity = found.fingerprint.facts, examination.endpoint, examination.identity
        self.at = finding.at
        self.id = device_id(endpoint, found.sighting)
        self.fingerprint = found.fingerprint
        self.packed = {
            "sighting": _pack(to_json(found.sighting)),
            "examination": _pack(to_json(examination)),
            "fingerprint": _pack(to_json(found.fingerprint)),
            "classification": _pack(to_json(classification)),
            "draft": _pack(found.draft.encode("utf-8", "surrogatepass")),
        }
        url = _storable(url_of(examination))
        serial = _storable(identity.serial or facts.get("serial_number", "") or identity.meter_address)
        said = (url, serial, identity.manufacturer, identity.model, identity.logical_device_name, identity.system_title)
        names = (*said, classification.vendor, classification.model, classification.flag)
        self.meter_id = finding.meter_id
        self.fields: dict[str, Any] = {
            "url": url,
            "wire": endpoint.wire,
            "protocol": examination.protocol,
            "framing": examination.framing,
            "host": endpoint.host or endpoint.path,
            "port": endpoint.port,
            "last_seen": finding.at,
            "vendor": _storable(classification.vendor),
            "model": _storable(classification.model),
            "firmware": _storable(classification.firmware or identity.firmware),
            "serial": serial,
            "confidence": classification.confidence,
            "method": classification.method,
            "profile_id": classification.profile_id,
            "digest": found.fingerprint.digest,
            "objects": len(examination.objects),
            "coverage": finding.coverage,
            "stopped": _storable(examination.stopped),
            "names": "\n".join(filter(None, map(_storable, names))).casefold(),
            **({"scan": scan_id} if scan_id else {}),
            **({"meter_id": finding.meter_id, "state": DeviceState.ADOPTED.value} if finding.meter_id else {}),
        }


def _keep(connection: sa.Connection, row: _Row, before: Device | None) -> Noted:
    if before is not None and row.fields["stopped"] and _is_whole(connection, before):  # it shows less than before
        seen = {name: row.fields[name] for name in _SEEN if name in row.fields}
        update = table.update().where(table.c.number == before.number).values(seen)
        return Noted(device=_device(connection.execute(update.returning(*_SHOWN)).one()), new=False, changed=False)
    changed = True
    if before is not None:
        query = sa.select(papers.c.fingerprint).where(papers.c.device == before.number)
        changed = fingerprint_from(_unpack(connection.execute(query).scalar_one())) != row.fingerprint
    fields = row.fields | ({"changed_at": row.at} if changed else {})
    if before is None:
        begin = {"id": row.id, "first_seen": row.at, "scan": "", "state": DeviceState.NEW.value, "meter_id": ""}
        change: Any = table.insert().values({**begin, **fields})
    else:
        change = table.update().where(table.c.number == before.number).values(fields)
    stored = _device(connection.execute(change.returning(*_SHOWN)).one())
    adding = insert(connection, papers).values({"device": stored.number, **row.packed})
    connection.execute(adding.on_conflict_do_update(index_elements=["device"], set_=row.packed))
    if changed:
        then = insert(connection, history).values(
            device=stored.number, at=row.at, fingerprint=row.packed["fingerprint"]
        )
        new = {"fingerprint": row.packed["fingerprint"]}
        connection.execute(then.on_conflict_do_update(index_elements=["device", "at"], set_=new))
    return Noted(device=stored, new=before is None, changed=changed and before is not None)


def _is_whole(connection: sa.Connection, device: Device) -> bool:
    """Did the examination that is kept of a device go to its end?"""
    query = sa.select(papers.c.examination).where(papers.c.device == device.number)
    return not examination_from(_unpack(connection.execute(query).scalar_one())).stopped


def _known(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Device]:
    query = sa.select(*_SHOWN).where(table.c.id.in_(ids))
    return {row.id: _device(row) for row in connection.execute(query)}


def _one(connection: sa.Connection, device: str) -> Device:
    row = connection.execute(sa.select(*_SHOWN).where(table.c.id == device)).one_or_none()
    if row is None:
        raise NotFound(f"no device {device!r}")
    return _device(row)


def _chosen(query: sa.Select[Any], wanted: DeviceQuery) -> sa.Select[Any]:
    column = table.c
    if wanted.state is not None:
        query = query.where(column.state == wanted.state.value)
    for each, value in ((column.vendor, wanted.vendor), (column.protocol, wanted.protocol)):
        if value is not None:
            query = query.where(each == value)
    if wanted.scan is not None:
        number = sa.select(scans.c.number).where(scans.c.id == wanted.scan).scalar_subquery()
        found = sa.select(scan_devices.c.device).where(scan_devices.c.scan == number)
        query = query.where(column.number.in_(found))
    if wanted.search:
        query = query.where(column.names.contains(wanted.search.casefold(), autoescape=True))
    return query


def _device(row: sa.Row[Any]) -> Device:
    fields = {column.name: getattr(row, column.name) for column in _SHOWN}
    return Device(**{**fields, "state": DeviceState(fields["state"])})


def _papers(row: sa.Row[Any]) -> Papers:
    return Papers(
        sighting=sighting_from(_unpack(row.sighting)),
        examination=examination_from(_unpack(row.examination)),
        fingerprint=fingerprint_from(_unpack(row.fingerprint)),
        classification=classification_from(_unpack(row.classification)),
        draft=_unpack(row.draft).decode("utf-8", "surrogatepass"),
    )


def _pack(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def _unpack(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise StorageError(f"the papers of a device are damaged: {error}", reason="damaged") from error


def _storable(text: str) -> str:
    """A text of a meter without halves of characters, and without NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
