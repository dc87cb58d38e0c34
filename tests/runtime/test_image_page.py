"""The example of the page about images brings one to a virtual meter."""

from __future__ import annotations

from pathlib import Path

import pytest

from headend.drivers.library import Library
from headend.emulator.fleet import Fleet, Group

PAGE = Path(__file__).parents[2] / "docs/how-to/send-an-image.md"


async def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADEND_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "firmware.bin").write_bytes(bytes(1300))
    profile = Library().get("generic-dlms-functions")
    fleet = Fleet([Group(profile=profile, framing="wrapper")], seed=5)
    await fleet.start()
    try:
        url = next(iter(fleet.roster())).url.partition("?")[0]
        example = PAGE.read_text().split("```python\n", 1)[1].split("```", 1)[0]
        assert "dlms://127.1.0.1:4059" in example
        example = example.replace("dlms://127.1.0.1:4059", url).removesuffix("\n\nasyncio.run(main())\n")
        names: dict[str, object] = {}
        exec(example, names)  # noqa: S102 - it is ours
        await names["main"]()  # type: ignore[operator]
    finally:
        await fleet.aclose()
    said = capsys.readouterr().out
    assert "3 of 3 blocks" in said
    assert "ReadyImage(size=1300, identifier=b'firmware 2.1'" in said
