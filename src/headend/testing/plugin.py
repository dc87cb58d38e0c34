"""The pytest plugin; loaded with every pytest of an environment that has headend, so it imports nothing before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from headend.testing.meters import VirtualFleetHandle, VirtualMeterHandle, Workshop


@pytest.fixture
def _virtual_workshop() -> Iterator[Workshop]:
    from headend.testing.meters import Workshop  # noqa: PLC0415 - only tests that have meters pay for them

    workshop = Workshop()
    yield workshop
    workshop.close()


@pytest.fixture
def virtual_meter(_virtual_workshop: Workshop) -> Callable[..., VirtualMeterHandle]:
    """Make a virtual meter: `virtual_meter("generic-dlms-3p", framing="hdlc")`; it ends with the test."""
    return _virtual_workshop.meter


@pytest.fixture
def virtual_fleet(_virtual_workshop: Workshop) -> Callable[..., VirtualFleetHandle]:
    """Make a fleet of them: `virtual_fleet("eastron-sdm630", count=30)`, or of the text of a fleet file."""
    return _virtual_workshop.fleet
