"""Answers of DL/T 645: data, an address, a confirmation, or a refusal with the meter's reason."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from headend.errors import AccessDenied, AuthenticationFailed, HeadendError, ObjectUndefined, ServiceRefused
from headend.protocols.dlt645.frame import Address
from headend.standards.dlt645 import error_reasons


class ErrorBit(enum.IntFlag):
    """Bits of the error word."""

    OTHER = 0x01
    NO_SUCH_DATA = 0x02
    NOT_AUTHORISED = 0x04
    BAUD_RATE = 0x08
    SEASONS = 0x10
    DAY_PERIODS = 0x20
    TARIFFS = 0x40


@dataclass(frozen=True, slots=True)
class Data:
    """What was read. `more` follows when the frame says so; `sequence` is that of what followed (2007), else None."""

    di: int
    data: bytes
    more: bool = False
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class MeterAddress:
    """The address of the only meter on the line."""

    address: Address


@dataclass(frozen=True, slots=True)
class Confirmation:
    """It is done. `data` are an echo where the standard wants one (a new password among them: they never show)."""

    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The meter says no: the error word, and what some meters send behind it."""

    error: int
    detail: bytes = b""

    @property
    def reason(self) -> str:
        """The meter's reason in words."""
        return ", ".join(error_reasons(self.error)) or "no reason given"

    def to_error(self, *, password_sent: bool = False) -> HeadendError:
        """The error of our tree, with the meter's reason.

        NOT_AUTHORISED is AuthenticationFailed when a password was sent (never retried: the meter may count), else
        AccessDenied. NO_SUCH_DATA is ObjectUndefined. Everything else is ServiceRefused.
        """
        message = f"the meter refuses: {self.reason} (error word {self.error:02X}{self.detail.hex()})"
        if self.error & ErrorBit.NOT_AUTHORISED:
            return AuthenticationFailed(message) if password_sent else AccessDenied(message)
        if self.error & ErrorBit.NO_SUCH_DATA:
            return ObjectUndefined(message)
        return ServiceRefused(message, reason=self.reason)


Response: TypeAlias = Data | MeterAddress | Confirmation | Refusal
