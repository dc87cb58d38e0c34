"""What a driver says to pushes whose meters never say anything unasked."""

from __future__ import annotations

from collections.abc import Sequence

from headend.drivers.base import Ear, MeterModel, Notification, Push, PushList, Secrets
from headend.errors import CapabilityError
from headend.model.meter import Meter
from headend.model.profile import MeterProfile


class Pushless:
    """The half of a Driver that hears pushes, for a protocol that has none; `name` is the driver's."""

    name: str

    def begin(self, model: MeterModel) -> None:
        """There is nothing to begin."""

    def listen(self, max_octets: int) -> Ear:  # noqa: ARG002 - there is nothing to bound
        """There are no pushes."""
        raise self._none()

    def unseal(self, push: Push, meter: Meter, profile: MeterProfile | None, secrets: Secrets) -> Push:  # noqa: ARG002 - never called
        """There are no pushes."""
        raise self._none()

    def understand(
        self,
        push: Push,  # noqa: ARG002 - never called
        meter: Meter | None,  # noqa: ARG002
        profile: MeterProfile | None,  # noqa: ARG002
        lists: Sequence[PushList] = (),  # noqa: ARG002
    ) -> Notification:
        """There are no pushes."""
        raise self._none()

    def _none(self) -> CapabilityError:
        return CapabilityError(f"{self.name} meters push nothing")
