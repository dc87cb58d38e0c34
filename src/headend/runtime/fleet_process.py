"""A fleet of virtual meters in a process of its own, which ends with ours, and the control of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headend.emulator.remote import RemoteControl
from headend.errors import LinkClosed

TOKEN_VARIABLE: Final = "HEADEND_CONTROL_TOKEN"  # noqa: S105 - the name of a variable
START_SECONDS: Final = 30.0
_LONGEST_ROSTER: Final = 1 << 25


@dataclass(frozen=True, slots=True)
class FleetProcess:
    """A fleet at work in a child process."""

    child: asyncio.subprocess.Process
    control: RemoteControl
    meters: Sequence[Mapping[str, str]]
    """url, profile and name of each meter that it began with"""

    @property
    def runs(self) -> bool:
        """False once it has ended."""
        return self.child.returncode is None

    async def aclose(self) -> None:
        """End it, and wait for that."""
        if self.runs:
            self.child.terminate()
        await self.child.wait()


async def start_fleet(
    path: Path, profiles: Path | None = None, *, more: Mapping[str, str] | None = None
) -> FleetProcess:
    """Run the meters of a fleet file, which may have none yet.

    `profiles` is a folder of meter files beside those that are shipped; `more` is added to the environment. Raises LinkClosed
    when the fleet does not come up.
    """
    token = secrets.token_urlsafe(24)
    folders = () if profiles is None else ("--profiles", str(profiles))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headend.cli.main", "emulate", str(path)),
        *("--json", "--until-eof", "--control", "127.0.0.1:0"),
        *folders,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_ROSTER,
        env={**os.environ, **(more or {}), TOKEN_VARIABLE: token},
        start_new_session=True,
    )
    try:
        said = await _first_line(child)
        host, _, port = said["control"].rpartition(":")
        return FleetProcess(child, RemoteControl(host, int(port), token), said["meters"])
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()
        raise


async def _first_line(child: asyncio.subprocess.Process) -> dict[str, Any]:
    if child.stdout is None:
        raise LinkClosed("the virtual fleet has no output")
    try:
        line = await asyncio.wait_for(child.stdout.readline(), START_SECONDS)
    except TimeoutError:
        raise LinkClosed(
            f"the virtual fleet was not ready within {START_SECONDS:g} s",
            hint="the machine is very busy: try again, or with fewer meters",
        ) from None
    if not line:
        raise LinkClosed("the virtual fleet could not start", hint="what it said itself stands above, or in the log")
    said: dict[str, Any] = json.loads(line)
    return said
