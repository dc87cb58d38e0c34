"""Statistics in the store: slots are added to, read back by meter and for the fleet, removed by day."""

from __future__ import annotations

from headend.model.statistics import SLOT_MS, Figures
from headend.storage.store import Store

SLOT = 1_767_225_600_000


def figures(reads: int, *times: float) -> Figures:
    made = Figures(reads_ok=reads, octets_in=100 * reads, messages=7 * reads, reconnections=reads)
    for each in times:
        made.took(each)
    return made


def test_a_slot_is_added_to(store: Store) -> None:
    kept = store.statistics
    kept.add(SLOT, {"a": figures(1, 0.3), "b": figures(5)})
    kept.add(SLOT, {"a": figures(2, 0.04, 7.0)})
    kept.add(SLOT + SLOT_MS, {"a": figures(1, 0.2)})
    (first, of_first), (second, _) = kept.of_meter("a", SLOT, SLOT + 2 * SLOT_MS)
    assert (first, second) == (SLOT, SLOT + SLOT_MS)
    assert (of_first.reads_ok, of_first.octets_in, of_first.fastest, of_first.slowest) == (3, 300, 0.04, 7.0)
    assert (of_first.messages, of_first.messages_late, of_first.reconnections) == (21, 0, 3)
    assert sum(of_first.classes) == 3
    assert [slot for slot, _ in kept.of_meter("a", SLOT, SLOT + SLOT_MS)] == [SLOT]


def test_the_time_of_a_meter_that_was_not_read_does_not_count_as_the_fastest(store: Store) -> None:
    store.statistics.add(SLOT, {"a": figures(0)})
    store.statistics.add(SLOT, {"a": figures(1, 0.5), "b": figures(3)})
    assert store.statistics.of_meter("a", SLOT, SLOT + 1)[0][1].fastest == 0.5
    ((slot, fleet),) = store.statistics.of_fleet(SLOT, SLOT + 1)
    assert (slot, fleet.reads_ok, fleet.fastest, fleet.slowest) == (SLOT, 4, 0.5, 0.5)


def test_old_days_go(store: Store) -> None:
    day = SLOT // 86_400_000
    store.statistics.add(SLOT - SLOT_MS, {"a": figures(1)})
    store.statistics.add(SLOT, {"a": figures(1)})
    assert store.statistics.purge(day) == 1
    assert [slot for slot, _ in store.statistics.of_meter("a", 0, SLOT + 1)] == [SLOT]
