from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.storage.store import Store

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data" / "headend.db", vault_key=KEY) as store:
        yield store
