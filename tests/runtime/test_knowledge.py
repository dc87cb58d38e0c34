"""What was learned of meters is there again after a restart, and a file that nobody can read costs nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headend.model.meter import Endpoint, EndpointKind, Meter
from headend.runtime.knowledge import FILE, KnowledgeFile
from headend.services.bus import Bus
from headend.services.roster import Roster


def roster() -> Roster:
    made = Roster(Bus(), lambda: 0)
    endpoint = Endpoint(kind=EndpointKind.MEMORY, path="x")
    made.load(Meter(id=f"m{n}", protocol="modbus", framing="tcp", endpoint=endpoint) for n in range(3))
    return made


async def test_what_was_learned_is_there_again(tmp_path: Path) -> None:
    before = roster()
    kept = KnowledgeFile(tmp_path, before)
    kept.load()
    await kept.save()
    assert not (tmp_path / FILE).exists(), "nothing was learned"
    before.state("m1").knowledge.meet("1.8").tell("length", [60, 64])
    running = asyncio.create_task(kept.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    after = roster()
    KnowledgeFile(tmp_path, after).load()
    assert after.state("m1").knowledge.facts == {"length": [60, 64]}
    assert after.state("m1").knowledge.meet("1.8").facts
    assert not after.state("m1").knowledge.meet("1.9").facts
    assert after.state("m0").knowledge.facts == {}
    assert not (tmp_path / FILE).with_suffix(".new").exists()


@pytest.mark.parametrize("octets", [b"", b"[]", b"{nonsense", b'{"m1": 3, "m9": {"facts": {}}, "m2": {"facts": []}}'])
async def test_a_file_that_nobody_can_read(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE).write_bytes(octets)
    after = roster()
    KnowledgeFile(tmp_path, after).load()
    assert all(not state.knowledge.facts for state in after)


async def test_a_folder_that_is_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    before = roster()
    before.state("m1").knowledge.tell("length", [60, 64])
    await KnowledgeFile(tmp_path / "nowhere", before).save()
