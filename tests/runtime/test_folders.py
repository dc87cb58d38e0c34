"""Where invocation counters are kept: one file in the data folder, for the running head-end and for programs."""

from __future__ import annotations

from pathlib import Path

import pytest

import headend
from headend.drivers.dlms import driver
from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group
from headend.runtime.folders import counter_file, data_folder
from headend.runtime.settings import load_settings
from headend.runtime.wiring import running


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("HEADEND_DATA", raising=False)
    assert data_folder() == load_settings(None).data_folder == tmp_path / "headend"
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path / "other"))
    assert data_folder() == load_settings(None).data_folder == tmp_path / "other"
    assert data_folder("named") == Path("named")


async def test_the_head_end_and_programs_share_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path))
    settings = load_settings(None)
    quiet = settings.model_copy(
        update={
            "web": settings.web.model_copy(update={"enabled": False}),
            "mqtt": settings.mqtt.model_copy(update={"enabled": False}),
        }
    )
    async with running(quiet):
        assert driver.counters.store is counter_file(tmp_path)  # type: ignore[attr-defined]
    fleet = Fleet([Group(profile=Library().get("generic-dlms-1p"), framing="wrapper")], seed=3)
    await fleet.start()
    try:
        async with headend.connect(next(iter(fleet.roster())).url) as meter:
            assert await meter.session.identify()
            assert driver.counters.store is counter_file(tmp_path)  # type: ignore[attr-defined]
    finally:
        await fleet.aclose()
    assert not (tmp_path / "counters.db").exists()  # nothing was ciphered
