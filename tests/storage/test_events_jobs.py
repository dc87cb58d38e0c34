from __future__ import annotations

import dataclasses

import pytest

from headend.errors import Conflict, NotFound
from headend.model.event import Event, EventType, Severity
from headend.model.job import Command, CommandKind, Job, JobState, Outcome, Verdict
from headend.storage.store import Store


def event(number: int, meter: str = "m1", kind: EventType = EventType.METER_OFFLINE) -> Event:
    data = {"code": "link-timeout", "tries": number, "share": 0.5, "last": True}
    return Event(type=kind, severity=Severity.WARNING, occurred_at=number * 1000, meter_id=meter, data=data)


def test_events_come_back_newest_first_in_pages(store: Store) -> None:
    events = [event(n) for n in range(10)]
    assert store.events.append(events) == 10
    assert store.events.append([]) == 0
    page = store.events.list(limit=4)
    assert [stored.event for stored in page] == events[:5:-1]
    assert [stored.event for stored in store.events.list(before=page[-1].number)] == events[5::-1]
    assert page[0].recorded_at > 1_700_000_000_000


def test_events_are_chosen_by_meter_type_and_time(store: Store) -> None:
    store.events.append([event(1), event(2, "m2"), event(3, kind=EventType.METER_ONLINE), event(4, "")])
    chosen = store.events.list

    def times(**choice: object) -> list[int]:
        return [stored.event.occurred_at for stored in chosen(**choice)]  # type: ignore[arg-type]

    assert times(meter_id="m1") == [3000, 1000]
    assert times(meter_id="") == [4000]
    assert times(types=[EventType.METER_ONLINE, EventType.STORAGE_FULL]) == [3000]
    assert times(since=2000, until=4000) == [3000, 2000]


def test_the_first_acknowledgement_stays(store: Store) -> None:
    store.events.append([event(1)])
    number = store.events.list()[0].number
    first = store.events.acknowledge(number, "ada")
    assert (first.acknowledged_by, first.event) == ("ada", event(1))
    assert first.acknowledged_at
    assert store.events.acknowledge(number, "bob") == first == store.events.list()[0]
    with pytest.raises(NotFound):
        store.events.acknowledge(number + 1, "ada")


def test_old_events_are_purged_and_their_numbers_not_used_again(store: Store) -> None:
    store.events.append([event(n) for n in range(10)])
    last = store.events.list()[0].number
    assert store.events.purge(7000) == 7
    assert len(store.events.list()) == 3
    assert store.events.purge(10**9) == 3
    store.events.append([event(1)])
    assert store.events.list()[0].number == last + 1


def job(number: int, **fields: object) -> Job:
    base = Job(
        id=f"j{number}",
        meter_id="m1",
        command=Command(kind=CommandKind.WRITE, params={"ref": "dlms:3/1-0:1.8.0.255/2", "value": 1.5}),
        actor="ada",
        created_at=number,
        deadline=number + 60_000,
    )
    return dataclasses.replace(base, **fields)  # type: ignore[arg-type]


def test_a_job_is_kept_and_moved_once_from_each_state(store: Store) -> None:
    assert store.jobs.put(job(1)) == job(1) == store.jobs.get("j1")
    running = store.jobs.move("j1", JobState.QUEUED, JobState.RUNNING)
    assert running.state is JobState.RUNNING
    assert running.updated_at > 0
    with pytest.raises(Conflict, match="is running, not queued"):
        store.jobs.move("j1", JobState.QUEUED, JobState.CANCELLED)
    outcome = Outcome(verdict=Verdict.CONFIRMED, detail="read back", observed=True)
    done = store.jobs.move("j1", JobState.RUNNING, JobState.SUCCEEDED, outcome)
    assert store.jobs.get("j1") == done
    assert done.outcome == outcome
    with pytest.raises(NotFound):
        store.jobs.get("j2")
    with pytest.raises(NotFound):
        store.jobs.move("j2", JobState.QUEUED, JobState.RUNNING)


def test_the_same_request_twice_is_one_job(store: Store) -> None:
    first = store.jobs.put(job(1, idempotency_key="k"))
    assert store.jobs.put(job(2, idempotency_key="k")) == first
    assert store.jobs.put(job(3, idempotency_key="k", actor="bob")).id == "j3"
    with pytest.raises(Conflict, match="another request"):
        store.jobs.put(job(4, idempotency_key="k", meter_id="m2"))
    with pytest.raises(Conflict, match="another request"):
        store.jobs.put(job(4, idempotency_key="k", command=Command(kind=CommandKind.DISCONNECT)))
    with pytest.raises(Conflict, match="exists already"):
        store.jobs.put(job(1))
    store.jobs.put(job(5))
    store.jobs.put(job(6))
    assert [known.id for known in store.jobs.list()] == ["j6", "j5", "j3", "j1"]


def test_jobs_are_listed_by_meter_and_state_and_purged_when_ended(store: Store) -> None:
    for number in range(6):
        store.jobs.put(job(number, meter_id=f"m{number % 2}"))
    store.jobs.move("j3", JobState.QUEUED, JobState.RUNNING)
    store.jobs.move("j4", JobState.QUEUED, JobState.CANCELLED)
    assert [known.id for known in store.jobs.list(meter_id="m1")] == ["j5", "j3", "j1"]
    assert [known.id for known in store.jobs.list(states=[JobState.RUNNING, JobState.UNKNOWN])] == ["j3"]
    assert [known.id for known in store.jobs.list(before="j4", limit=2)] == ["j3", "j2"]
    assert store.jobs.purge(0) == 0
    assert store.jobs.purge(2**60) == 1
    assert len(store.jobs.list()) == 5
