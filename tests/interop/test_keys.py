"""Another stack strengthens the policy of our meter, transfers keys to it, associates under them, and speaks general-ciphering.

Gurux writes the associated data of general-ciphering as we do: control, authentication key, and the five fields of the header
with their lengths. That is the one witness beside our own two roles (the published tags verify in no known form). It wraps
under keys of 16 octets alone ("Key Encrypting Key" for longer ones), so of suite 2 it can transfer no keys; it cannot unwrap,
agree on keys, or sign a request.
"""

from __future__ import annotations

from typing import Any

import pytest

from headend.emulator.meter import VirtualMeter
from headend.model.meter import Secret

from .meeting import NOON, meet

pytestmark = pytest.mark.peers


async def run(peers_python: str, suite: int, policy: int) -> tuple[dict[str, Any], VirtualMeter]:
    length = 32 if suite == 2 else 16
    keys = {name: bytes([start]) * length for start, name in enumerate(("ek", "ak", "mk", "new_ek", "new_ak"), 1)}
    params = {"auth": "gmac", "suite": str(suite), "policy": "1"}
    secrets = {name: Secret(keys[name]) for name in ("ek", "ak", "mk")}
    plan = {"suite": suite, "policy": policy, **{name: key.hex() for name, key in keys.items()}}
    return await meet(peers_python, "gurux_keys.py", params, secrets, **plan)


@pytest.mark.parametrize("suite", [0, 1, 2])
async def test_a_foreign_head_end_changes_the_keys(peers_python: str, suite: int) -> None:
    said, meter = await run(peers_python, suite, 0x6C)
    energy = round(meter.value(0, NOON))  # type: ignore[arg-type] # energies are numbers
    assert said.pop("associate") == "associated"
    assert said.pop("value") == energy
    assert said.pop("suite") == suite
    assert said.pop("titles") == ["4752580000000001", meter_title(meter).hex()]
    assert said.pop("activate") == 0x6C
    setup = meter.keyring[16]  # type: ignore[index] # the meter role's
    if suite == 2:
        assert "Key Encrypting Key" in said.pop("transfer")["error"]
        assert said.pop("old_keys") == "associated"
        return
    assert said.pop("transfer") == "transferred"
    assert said.pop("release") == "released"
    assert "error" in said.pop("old_keys")
    assert said.pop("new_keys") == "associated"
    assert said.pop("new_value") == energy
    assert setup.secrets["ek"].reveal() == bytes([4]) * 16
    assert setup.secrets["ak"].reveal() == bytes([5]) * 16


@pytest.mark.parametrize("suite", [1, 2])
async def test_a_foreign_head_end_speaks_general_ciphering(peers_python: str, suite: int) -> None:
    said, meter = await run(peers_python, suite, 0x6C)
    energy = round(meter.value(0, NOON))  # type: ignore[arg-type] # energies are numbers
    assert said["general_read"] == f"c401c10006{energy:08x}"
    if suite == 1:
        assert said["general_wrapped"] == "dd"
        assert meter.value(1, NOON) == "wrapped"


def meter_title(meter: VirtualMeter) -> bytes:
    from headend.drivers.dlms.meter_security import title_of  # noqa: PLC0415 - only here

    return title_of(meter)
