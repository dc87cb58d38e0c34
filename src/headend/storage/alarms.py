"""Alarms with their history, where the rules stand with each meter, and the changes of rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from headend.errors import Conflict, NotFound
from headend.model.alarm import Alarm, AlarmKind, Cleared, Level, RuleChange, Standing
from headend.model.event import Severity
from headend.model.reading import Value
from headend.storage.dialect import insert, last_number, note_numbers
from headend.storage.engine import Database
from headend.storage.schema import alarm_rules as rules
from headend.storage.schema import alarm_standings as standings
from headend.storage.schema import alarms as table

_STANDING = ("holds", "since", "last_at", "changed_at", "value", "raises", "alarm")


class Alarms:
    """The record of alarms, newest first, and what a restart needs."""

    def __init__(self, database: Database, millis: Callable[[], int]) -> None:
        self._database = database
        self._millis = millis

    def keep(self, alarms: Iterable[Alarm], changed: Mapping[tuple[str, str, str], Standing | None]) -> None:
        """Write alarms that were raised or cleared, and where rules stand by now (None: quiet), in one transaction."""
        rows = [_row(alarm) for alarm in alarms]
        stand = [_standing_row(each) for each in changed.values() if each is not None]
        quiet = [dict(zip(("m", "r", "q"), key, strict=True)) for key, each in changed.items() if each is None]
        with self._database.write() as connection:
            if rows:
                adding = insert(connection, table)
                new = {name: adding.excluded[name] for name in ("cleared_at", "cleared", "flapping")}
                connection.execute(adding.on_conflict_do_update(index_elements=["number"], set_=new), rows)
                note_numbers(connection, table)
            if stand:
                adding = insert(connection, standings)
                keys = ["meter_id", "rule", "quantity"]
                new = {"standing": adding.excluded.standing}
                connection.execute(adding.on_conflict_do_update(index_elements=keys, set_=new), stand)
            if quiet:
                column = standings.c
                mine = sa.and_(
                    column.meter_id == sa.bindparam("m"),
                    column.rule == sa.bindparam("r"),
                    column.quantity == sa.bindparam("q"),
                )
                connection.execute(standings.delete().where(mine), quiet)

    def standing(self) -> tuple[Sequence[Standing], Sequence[Alarm], int]:
        """Where the rules stand, the active alarms, and the number of the next one."""
        with self._database.read() as connection:
            active = [_alarm(row) for row in connection.execute(sa.select(table).where(table.c.cleared_at.is_(None)))]
            found = [_standing(row) for row in connection.execute(sa.select(standings))]
            return found, active, last_number(connection, table) + 1

    def list(
        self,
        *,
        active: bool | None = None,
        acknowledged: bool | None = None,
        meter_id: str | None = None,
        series: tuple[str, str] | None = None,
        kinds: Sequence[AlarmKind] | None = None,
        severities: Sequence[Severity] | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Alarm]:
        """Alarms by falling number, from the first one below `before`; `series` is rule and quantity."""
        query = sa.select(table)
        if active is not None:
            query = query.where(table.c.cleared_at.is_(None) if active else table.c.cleared_at.is_not(None))
        if acknowledged is not None:
            seen = table.c.acknowledged_at
            query = query.where(seen.is_not(None) if acknowledged else seen.is_(None))
        if meter_id is not None:
            query = query.where(table.c.meter_id == meter_id)
        if series is not None:
            query = query.where(table.c.rule == series[0], table.c.quantity == series[1])
        if kinds is not None:
            query = query.where(table.c.kind.in_([kind.value for kind in kinds]))
        if severities is not None:
            query = query.where(table.c.severity.in_([each.value for each in severities]))
        if before is not None:
            query = query.where(table.c.number < before)
        with self._database.read() as connection:
            return [_alarm(row) for row in connection.execute(query.order_by(table.c.number.desc()).limit(limit))]

    def get(self, number: int) -> Alarm:
        """One alarm; raises NotFound."""
        with self._database.read() as connection:
            return _one(connection, number)

    def counts(self, meter_id: str | None = None) -> tuple[Mapping[Severity, int], int]:
        """The active alarms by severity, and how many of them nobody has acknowledged."""
        query = sa.select(table.c.severity, sa.func.count(), sa.func.count(table.c.acknowledged_at))
        query = query.where(table.c.cleared_at.is_(None)).group_by(table.c.severity)
        if meter_id is not None:
            query = query.where(table.c.meter_id == meter_id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {Severity(row[0]): row[1] for row in rows}, sum(row[1] - row[2] for row in rows)

    def acknowledge(self, number: int, actor: str, note: str) -> Alarm:
        """Note who has seen an alarm. Raises NotFound, and Conflict where somebody has before."""
        mine = table.c.number == number
        seen = {"acknowledged_by": actor, "acknowledged_at": self._millis(), "note": note}
        with self._database.write() as connection:
            done = connection.execute(table.update().where(mine, table.c.acknowledged_at.is_(None)), seen).rowcount
            alarm = _one(connection, number)
        if not done:
            raise Conflict(f"{alarm.acknowledged_by} has acknowledged alarm {number} already")
        return alarm

    def purge(self, before: int) -> int:
        """Remove alarms that were over before a time (milliseconds); returns how many."""
        with self._database.write() as connection:
            return connection.execute(table.delete().where(table.c.cleared_at < before)).rowcount

    # changes of rules

    def rules(self) -> Sequence[RuleChange]:
        """All changes of rules, from the general to the particular."""
        order = {level.value: number for number, level in enumerate(Level)}
        with self._database.read() as connection:
            found = [_change(row) for row in connection.execute(sa.select(rules))]
        return sorted(found, key=lambda change: (order[change.level.value], change.subject, change.rule))

    def put_rule(self, level: Level, subject: str, rule: str, fields: Mapping[str, Value], actor: str) -> RuleChange:
        """Set what is changed of a rule at a level, in the place of what was."""
        change = RuleChange(
            level=level, subject=subject, rule=rule, fields=dict(fields), changed_by=actor, changed_at=self._millis()
        )
        row = {**dataclasses.asdict(change), "level": level.value}
        with self._database.write() as connection:
            adding = insert(connection, rules)
            new = {name: adding.excluded[name] for name in ("fields", "changed_by", "changed_at")}
            keys = ["level", "subject", "rule"]
            connection.execute(adding.on_conflict_do_update(index_elements=keys, set_=new), row)
        return change

    def delete_rule(self, level: Level, subject: str, rule: str) -> None:
        """Take a change of a rule back; raises NotFound."""
        column = rules.c
        mine = sa.and_(column.level == level.value, column.subject == subject, column.rule == rule)
        with self._database.write() as connection:
            if not connection.execute(rules.delete().where(mine)).rowcount:
                where = f"{level.value} {subject}".strip()
                raise NotFound(f"nothing is changed of the rule {rule!r} at {where}")


def _one(connection: sa.Connection, number: int) -> Alarm:
    row = connection.execute(sa.select(table).where(table.c.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"no alarm {number}")
    return _alarm(row)


def _row(alarm: Alarm) -> dict[str, Any]:
    return {
        **dataclasses.asdict(alarm),
        "kind": alarm.kind.value,
        "severity": alarm.severity.value,
        "cleared": None if alarm.cleared is None else alarm.cleared.value,
    }


def _alarm(row: sa.Row[Any]) -> Alarm:
    fields = dict(row._mapping)  # noqa: SLF001 # the public name of SQLAlchemy for a row as a mapping
    kind, severity, cleared = fields.pop("kind"), fields.pop("severity"), fields.pop("cleared")
    return Alarm(
        **fields,
        kind=AlarmKind(kind),
        severity=Severity(severity),
        cleared=None if cleared is None else Cleared(cleared),
    )


def _standing_row(standing: Standing) -> dict[str, Any]:
    return {
        "meter_id": standing.meter_id,
        "rule": standing.rule,
        "quantity": standing.quantity,
        "standing": {name: getattr(standing, name) for name in _STANDING},
    }


def _standing(row: sa.Row[Any]) -> Standing:
    kept = row.standing
    return Standing(
        meter_id=row.meter_id, rule=row.rule, quantity=row.quantity, **{**kept, "raises": tuple(kept["raises"])}
    )


def _change(row: sa.Row[Any]) -> RuleChange:
    return RuleChange(
        level=Level(row.level),
        subject=row.subject,
        rule=row.rule,
        fields=row.fields,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
    )
