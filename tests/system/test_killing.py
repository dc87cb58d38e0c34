"""kill -9 at random moments: every reading that the database has reaches the broker, always under the same id."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .killing import kill_again_and_again

KILLS = int(os.environ.get("HEADEND_KILLS", "5"))


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * KILLS)
async def test_what_is_stored_is_delivered_whenever_the_head_end_is_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    outcome = await kill_again_and_again(tmp_path, kills=KILLS)
    outcome.check()
    assert len(outcome.stored) >= 100
    record_property("kills", KILLS)
    record_property("readings stored", len(outcome.stored))
    record_property("readings stored and never delivered", len(outcome.stored - outcome.received.ids.keys()))
    record_property("messages delivered", outcome.received.messages)
    record_property("readings delivered under two ids", sum(len(ids) > 1 for ids in outcome.received.ids.values()))
