"""Exports and sinks over HTTP as the settings file says them, in a head-end that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headend.errors import ConfigError
from headend.northbound.influx.sink import InfluxOptions
from headend.northbound.webhook.sink import WebhookOptions
from headend.runtime.database import open_store
from headend.runtime.settings import load_settings
from headend.runtime.sinks import plan_sinks
from headend.runtime.wiring import running
from tests.northbound.exports.world import DAY, IMPORT, meter, put, register, utc

START = utc(2026, 3, 1)


def write(folder: Path, text: str) -> Path:
    file = folder / "headend.toml"
    quiet = f'data = "{folder}/data"\n[web]\nenabled = false\n[mqtt]\nenabled = false\n[gateway]\nenabled = false\n'
    file.write_text(quiet + text)
    return file


async def test_a_head_end_writes_the_days_that_are_over_when_it_starts(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, f'[exports.daily]\nformat = "csv"\nfolder = "{tmp_path}/out"\nfirst = 2026-03-01\n')
    )
    with open_store(settings) as store:
        store.meters.put(meter("m1", poll_seconds=0), revision=0)
        await asyncio.to_thread(put, store, "m1", IMPORT, register(START, START + 2 * DAY))
    file = tmp_path / "out" / "daily-20260302.csv"
    async with running(settings), asyncio.timeout(60):
        while not file.exists():  # noqa: ASYNC110 - a file cannot be awaited
            await asyncio.sleep(0.02)
    assert len((tmp_path / "out" / "daily-20260301.csv").read_text().splitlines()) == 97


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ('format = "docx"', "exports.daily: no export format 'docx'"),
        ('format = "nem12"\nperiod_minutes = 60', "exports.daily: intervals of NEM12"),
        ('format = "csv"\nzone = "Nowhere"', "exports.daily: no time zone"),
    ],
)
async def test_what_cannot_be_exported_ends_the_start(tmp_path: Path, said: str, what: str) -> None:
    settings = load_settings(write(tmp_path, f'[exports.daily]\nfolder = "{tmp_path}/out"\n{said}\n'))
    with pytest.raises(ConfigError, match=what):
        async with running(settings), asyncio.timeout(60):
            await asyncio.Event().wait()


def test_sinks_over_http_take_their_options_from_the_file(tmp_path: Path) -> None:
    settings = load_settings(
        write(
            tmp_path,
            '[sinks.hook]\nkind = "webhook"\nurl = "https://host/hook"\nmode = "binary"\nsecrets = ["env:A", "env:B"]\n'
            '[sinks.influx]\nkind = "influxdb"\nurl = "http://host:8086"\nbucket = "b"\ntags = { site = "here" }\n',
        )
    )
    hook, influx = plan_sinks(settings)
    assert isinstance(hook.options, WebhookOptions)
    assert (hook.options.mode, hook.options.secrets) == ("binary", ("env:A", "env:B"))
    assert isinstance(influx.options, InfluxOptions)
    assert (influx.options.tags, influx.options.version) == ({"site": "here"}, "2")
    wrong = load_settings(write(tmp_path, '[sinks.hook]\nkind = "webhook"\nurl = "https://host"\nmode = "other"\n'))
    with pytest.raises(ConfigError, match="mode"):
        plan_sinks(wrong)
