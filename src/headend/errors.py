"""The whole error tree.

```text
HeadendError
├── ConfigError            a setting, a file or an argument is wrong: it names the place and what was expected
├── CapabilityError        the meter, its profile or its protocol cannot do this; raised before any byte is sent
├── NotFound               no such meter, reading, job, profile
├── Conflict               it exists already, or was changed meanwhile
├── PermissionDenied       who asks may not do this
├── LinkError              the bytes did not travel                                                        retryable
│   ├── ConnectRefused     nobody listens there, or the way there is closed
│   ├── LinkTimeout        no (complete) answer before the deadline
│   ├── LinkClosed         the peer or the network closed the link
│   └── NotConnected       a meter that dials in has not done so, or is gone
├── ProtocolError
│   ├── LocalProtocolError     our side asked for something the state or the standard forbids: our bug
│   └── RemoteProtocolError    the peer sent bytes that the standard forbids: offset, expected, got       retryable
│       └── DecodeError        … in the content of an otherwise well-formed frame
├── MeterError             the meter understood and said no
│   ├── AssociationRejected    AARE with a result other than accepted: result, diagnostic
│   ├── AccessDenied           read-write-denied, scope-of-access-violated
│   ├── ObjectUndefined        object-undefined, class-inconsistent, illegal data address
│   ├── ServiceRefused         exception-response, confirmed-service-error, illegal function
│   └── Busy                   temporary-failure, server device busy                                      retryable
├── SecurityError          never retried
│   ├── AuthenticationFailed · DecipherFailed · ReplayDetected · KeyMissing
├── ProbeEnded             discovery stops here: its budget for this place is spent, or who is there defends itself
├── StorageError           the database is away, full or damaged
└── SinkError              a northbound peer (broker, platform) is away                                   retryable
    └── SinkRefused        it does not take what it is given, now or later: one of it is poison
```

`code` is stable text for machines (problem+json, metric labels, alarm rules, docs), `retryable` tells a lane whether the
same request may succeed later, `hint` tells a person what to try next. Foreign exceptions are mapped to this tree at one
seam per layer. A message never contains a secret.
"""

from __future__ import annotations

from typing import ClassVar


class HeadendError(Exception):
    """Root of the tree. `str(error)` is a complete sentence fragment for people; `hint` says what to try next."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(HeadendError):
    """A setting, a file or an argument is wrong; the message names file, line and field where they are known."""

    code = "config"


class CapabilityError(HeadendError):
    """The protocol, the meter profile or the meter lacks the capability; no byte was sent."""

    code = "capability"


class NotFound(HeadendError):
    """What was asked for does not exist."""

    code = "not-found"


class Conflict(HeadendError):
    """It exists already, or was changed by somebody else meanwhile."""

    code = "conflict"


class PermissionDenied(HeadendError):
    """The caller is not who may do this."""

    code = "permission-denied"


class LinkError(HeadendError):
    """The bytes did not travel."""

    code = "link"
    retryable = True


class ConnectRefused(LinkError):
    """Nobody listens at the endpoint, or the way there is closed."""

    code = "connect-refused"


class LinkTimeout(LinkError):
    """No complete answer came before the deadline."""

    code = "link-timeout"


class LinkClosed(LinkError):
    """The peer or the network closed the link."""

    code = "link-closed"


class NotConnected(LinkError):
    """A meter that dials in has no connection open just now; it is not asked before it comes."""

    code = "not-connected"


class ProtocolError(HeadendError):
    """A rule of the protocol was broken by one of the two sides."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our side asked for something that the state or the standard forbids: a bug of ours, or of the caller."""

    code = "local-protocol"


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that the standard forbids.

    `offset` counts octets from the start of the frame or APDU being decoded; `expected` and `got` are short texts.
    """

    code = "remote-protocol"
    retryable = True

    def __init__(
        self, message: str, *, offset: int | None = None, expected: str = "", got: str = "", hint: str = ""
    ) -> None:
        detail = [f"at octet {offset}"] if offset is not None else []
        if expected:
            detail.append(f"expected {expected}")
        if got:
            detail.append(f"got {got}")
        super().__init__(f"{message} ({', '.join(detail)})" if detail else message, hint=hint)
        self.offset = offset
        self.expected = expected
        self.got = got


class DecodeError(RemoteProtocolError):
    """The content of a well-formed frame cannot be decoded."""

    code = "decode"


class MeterError(HeadendError):
    """The meter understood the request and said no."""

    code = "meter"


class AssociationRejected(MeterError):
    """The AARE refused the association; `result` and `diagnostic` are the values on the wire (IEC 62056-5-3, 7.3)."""

    code = "association-rejected"

    def __init__(self, message: str, *, result: int, diagnostic: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.diagnostic = diagnostic


class AccessDenied(MeterError):
    """read-write-denied or scope-of-access-violated."""

    code = "access-denied"


class ObjectUndefined(MeterError):
    """The meter does not have the object, attribute, register or data identifier."""

    code = "object-undefined"


class ServiceRefused(MeterError):
    """The meter does not do this service now, or not at all; `reason` is its own word."""

    code = "service-refused"

    def __init__(self, message: str, *, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Busy(MeterError):
    """temporary-failure or server device busy: the same request may succeed later."""

    code = "busy"
    retryable = True


class SecurityError(HeadendError):
    """A security rule was broken; never retried, because a retry may lock the meter."""

    code = "security"


class AuthenticationFailed(SecurityError):
    """The meter refused our secret, or failed to prove its own."""

    code = "authentication-failed"


class DecipherFailed(SecurityError):
    """The authentication tag does not hold, or the key does not fit."""

    code = "decipher-failed"


class ReplayDetected(SecurityError):
    """The invocation counter of a received message is not greater than the last one."""

    code = "replay-detected"


class KeyMissing(SecurityError):
    """A key or password is needed that nobody has configured."""

    code = "key-missing"


class ProbeEnded(HeadendError):
    """Discovery stops here: its budget for this place is spent, or who is there defends itself."""

    code = "probe-ended"


class StorageError(HeadendError):
    """The database is away, full or damaged; `reason` says which.

    `full` and `locked` pass, `away` (it cannot be reached) too; `damaged`, `closed` and `failed` do not by themselves.
    """

    code = "storage"

    def __init__(self, message: str, *, reason: str = "failed", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SinkError(HeadendError):
    """A northbound peer (broker, platform) is away."""

    code = "sink"
    retryable = True


class SinkRefused(SinkError):
    """A northbound peer does not take what it is given, now or later."""

    code = "sink-refused"
    retryable = False
