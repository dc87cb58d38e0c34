from __future__ import annotations

from pathlib import Path

from headend.model.access import Role
from headend.model.intervals import DAY_MS, Grid, Reason
from headend.model.reading import ReadingBatch, Source
from headend.storage.keeping import Keeper
from headend.storage.ledger import mark

from .support import NOW, World, world

QUARTER = 900_000
DAY = NOW // DAY_MS - 2
"""NOW is midnight of 2026-01-01: the ledger begins two days before."""
REF = "7/1-0:99.1.0.255/2"


def fill(head_end: World, zone: str = "UTC") -> None:
    """Two days of which an hour was written over, and an hour may still come."""
    start = DAY * DAY_MS
    for meter in ("m1", "m2"):
        head_end.add(meter)
        book = head_end.store.ledger.open(
            meter, REF, Grid(QUARTER, 0, zone), since=start, until=NOW, name="quarters", serial="1"
        )
        hours = [*range(6), *range(8, 48)] if meter == "m1" else range(12)
        times = [start + hour * 4 * QUARTER + n * QUARTER for hour in hours for n in range(4)]
        batch = ReadingBatch(
            meter_id=meter,
            source=Source.HISTORY,
            received_at=NOW,
            quantities=("active_energy_import_total",) * len(times),
            values=[0] * len(times),
            measured_at=times,
            quality=(0,) * len(times),
            load_profile=REF,
        )
        Keeper(head_end.store.readings, None, mark).write([batch])
        if meter == "m1":
            lost = [start + 6 * 4 * QUARTER + n * QUARTER for n in range(4)]
            head_end.store.ledger.void(book, dict.fromkeys(lost, Reason.WRAPPED))


async def test_the_fleet_day_by_day_and_its_worst_meters(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end)
        body = (await client.get("/api/v1/completeness")).json()
        first, second, today = body["days"]
        assert first == {
            "day": "2025-12-30",
            "expected": 192,
            "arrived": 88 + 48,
            "void": 4,
            "missing": 52,
            "completeness": round(136 / 192, 6),
        }
        assert (second["arrived"], second["missing"]) == (96, 96)
        assert (today["day"], today["expected"], today["arrived"]) == ("2026-01-01", 2, 0)
        assert [line["meter_id"] for line in body["worst"]] == ["m2", "m1"]
        text = await client.get("/api/v1/completeness", params={"format": "csv", "days": 3})
        assert text.headers["content-type"].startswith("text/csv")
        assert text.text.splitlines()[:2] == [
            "day,expected,arrived,void,missing,completeness",
            "2025-12-30,192,136,4,52,0.708333",
        ]


async def test_a_meter_in_its_own_days_and_what_is_not_there_of_it(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end, zone="Asia/Kolkata")
        body = (await client.get("/api/v1/meters/m1/completeness")).json()
        (load_profile,) = body["load_profiles"]
        assert (load_profile["name"], load_profile["time_zone"], load_profile["period"]) == (
            "quarters",
            "Asia/Kolkata",
            QUARTER,
        )
        # India's day of 30 December begins at 18:30 UTC of the 29th: 5 ½ hours of it are before the first.
        days = {day["day"]: day for day in load_profile["days"]}
        assert days["2025-12-30"]["expected"] == 96 - 22
        assert days["2025-12-30"]["reasons"] == {"wrapped": 4}
        assert days["2025-12-31"] | {"reasons": 0} == {
            "day": "2025-12-31",
            "expected": 96,
            "arrived": 96,
            "void": 0,
            "missing": 0,
            "completeness": 1.0,
            "reasons": 0,
        }
        gaps = (await client.get("/api/v1/meters/m1/gaps")).json()["items"]
        start = DAY * DAY_MS + 24 * QUARTER
        assert gaps[0] == {
            "load_profile": REF,
            "first": start,
            "last": start + 3 * QUARTER,
            "count": 4,
            "reason": "wrapped",
        }
        assert (gaps[1]["first"], gaps[1]["count"], gaps[1]["reason"]) == (start + 4 * QUARTER, 4, "")
        text = (await client.get("/api/v1/meters/m1/completeness", params={"format": "csv", "days": 2})).text
        assert text.splitlines()[1].startswith(f"{REF},2025-12-31,96,96,0,0,1.0")


async def test_several_meters_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end)
        head_end.add("m3")
        path = "/api/v1/completeness/meters"
        body = (await client.get(path, params={"meters": "m2,m1,m9,m2,m3", "days": 2})).json()
        assert [each["meter_id"] for each in body["items"]] == ["m2", "m1", "m3"]
        second, first, third = body["items"]
        assert (await client.get("/api/v1/meters/m1/completeness", params={"days": 2})).json() == first
        assert [day["day"] for day in second["load_profiles"][0]["days"]] == ["2025-12-31", "2026-01-01"]
        assert second["load_profiles"][0]["days"][0]["missing"] == 96
        assert third["load_profiles"] == []
        for number in range(101):
            head_end.add(f"n{number}")
        many = await client.get(path, params={"meters": ",".join(f"n{number}" for number in range(101))})
        assert (many.status_code, many.json()["errors"][0]["field"]) == (422, "query.meters")
        assert (await client.get(path)).status_code == 422


async def test_what_was_given_up_is_asked_for_again(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client(Role.OPERATOR) as client:
        fill(head_end)
        span = {"start": str(DAY * DAY_MS), "end": str(DAY * DAY_MS + 8 * 4 * QUARTER)}
        answer = await client.post("/api/v1/meters/m1/gaps/refill", json=span)
        assert answer.json() == {"intervals": 8}
        assert head_end.store.ledger.reasons(DAY, DAY) == {}
        wrong = await client.post("/api/v1/meters/m1/gaps/refill", json={"start": "5", "end": "5"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "body.end")
        assert (await client.post("/api/v1/meters/m9/gaps/refill", json=span)).status_code == 404
        assert (await client.get("/api/v1/meters/m9/gaps")).status_code == 404
    async with world(tmp_path / "other") as head_end, head_end.client(Role.VIEWER) as client:
        head_end.add("m1")
        assert (await client.post("/api/v1/meters/m1/gaps/refill", json=span)).status_code == 403


async def test_the_metrics_of_all(tmp_path: Path) -> None:
    async with world(tmp_path) as head_end, head_end.client() as client:
        fill(head_end)
        head_end.completeness.report()
        text = (await client.get("/metrics")).text
        assert 'headend_info{version="1.2.3"} 1.0' in text
        assert 'headend_completeness_ratio{day="yesterday"} 0.5' in text
        assert 'headend_gaps{reason="wrapped"} 4.0' in text
        assert 'headend_gaps{reason="missing"} 150.0' in text
