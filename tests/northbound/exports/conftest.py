from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.storage.store import Store
from tests.new_database import laid


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(laid(tmp_path / "headend.db"), vault_key=None) as store:
        yield store
