"""How a server refuses a whole APDU: exception-response D8 and confirmed-service-error 0E."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Final

from headend.protocols.dlms.octets import Reader


class StateError(enum.IntEnum):
    """First half of an exception response."""

    SERVICE_NOT_ALLOWED = 1
    SERVICE_UNKNOWN = 2


class ServiceError(enum.IntEnum):
    """Second half of an exception response."""

    OPERATION_NOT_POSSIBLE = 1
    SERVICE_NOT_SUPPORTED = 2
    OTHER_REASON = 3
    PDU_TOO_LONG = 4
    DECIPHERING_ERROR = 5
    INVOCATION_COUNTER_ERROR = 6


@dataclass(frozen=True, slots=True)
class ExceptionResponse:
    """The server did not take the APDU. With INVOCATION_COUNTER_ERROR comes the counter that it expects."""

    TAG: ClassVar[int] = 0xD8

    state_error: int
    service_error: int
    invocation_counter: int | None = None

    def encode(self) -> bytes:
        """The APDU."""
        counter = b"" if self.invocation_counter is None else self.invocation_counter.to_bytes(4, "big")
        return bytes((0xD8, self.state_error, self.service_error)) + counter


@dataclass(frozen=True, slots=True)
class ConfirmedServiceError:
    """The service failed: the service, the kind of error and the error, as the tables below name them."""

    TAG: ClassVar[int] = 0x0E

    service: int
    kind: int
    value: int

    def encode(self) -> bytes:
        """The APDU."""
        return bytes((0x0E, self.service, self.kind, self.value))

    def describe(self) -> str:
        """The standard's words, or the numbers where it has none."""
        service = SERVICES.get(self.service, f"service {self.service}")
        kind, values = ERRORS.get(self.kind, (f"error kind {self.kind}", ()))
        value = values[self.value] if self.value < len(values) else str(self.value)
        return f"{service}: {kind}: {value}"


SERVICES: Final = {1: "initiate", 5: "read", 6: "write"}
ERRORS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    0: (
        "application-reference",
        (
            "other",
            "time-elapsed",
            "application-unreachable",
            "application-reference-invalid",
            "application-context-unsupported",
            "provider-communication-error",
            "deciphering-error",
        ),
    ),
    1: (
        "hardware-resource",
        (
            "other",
            "memory-unavailable",
            "processor-resource-unavailable",
            "mass-storage-unavailable",
            "other-resource-unavailable",
        ),
    ),
    2: ("vde-state-error", ("other", "no-dlms-context", "loading-data-set", "status-nochange", "status-inoperable")),
    3: ("service", ("other", "pdu-size", "service-unsupported")),
    4: ("definition", ("other", "object-undefined", "object-class-inconsistent", "object-attribute-inconsistent")),
    5: (
        "access",
        ("other", "scope-of-access-violated", "object-access-invalid", "hardware-fault", "object-unavailable"),
    ),
    6: (
        "initiate",
        (
            "other",
            "dlms-version-too-low",
            "incompatible-conformance",
            "pdu-size-too-short",
            "refused-by-the-vde-handler",
        ),
    ),
}
"""Kinds of error and their values (IEC 62056-5-3, ServiceError)."""


def decode_exception_response(reader: Reader) -> ExceptionResponse:
    """Decode after the tag."""
    state_error, service_error = reader.u8("state error"), reader.u8("service error")
    counter = None
    if service_error == ServiceError.INVOCATION_COUNTER_ERROR and reader.left:
        counter = reader.u32("invocation counter")
    reader.finish("exception response")
    return ExceptionResponse(state_error, service_error, counter)


def decode_confirmed_service_error(reader: Reader) -> ConfirmedServiceError:
    """Decode after the tag."""
    error = ConfirmedServiceError(reader.u8("service"), reader.u8("kind of error"), reader.u8("error"))
    reader.finish("confirmed service error")
    return error
