"""What the answers of a meter mean: values, octets that a method returns, scalers and units; or the error that they are."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headend.errors import DecodeError, HeadendError, RemoteProtocolError
from headend.protocols.dlms.apdu.descriptor import ActionResult, DataAccessResult
from headend.protocols.dlms.apdu.get import GetResponseNormal
from headend.protocols.dlms.axdr import decode_data
from headend.protocols.dlms.classes import to_scaler_unit
from headend.protocols.dlms.refusals import access_error, action_error, refusal_error
from headend.standards.units import find_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headend.drivers.dlms.refs import CosemRef
    from headend.drivers.dlms.shape import Shape
    from headend.model.objects import ObjectInfo, RawValue
    from headend.protocols.dlms.apdu.get import DataOrResult

_SCALERS: Final = range(-18, 19)


class Scale(NamedTuple):
    """Scaler and unit of a value: `exponent` is the power of ten from the raw value to the base unit."""

    exponent: int
    unit: str


UNSCALED: Final = Scale(0, "")


class Static:
    """What a meter does not change while an association lasts: scalers, what its load profiles capture, its object list.

    Asked once, but for scalers that are known from earlier associations; and anew when the association had to be made again
    (the meter may have started with other firmware), when the rows of a load profile do not fit what it was said to
    capture, or when somebody says so.
    """

    __slots__ = ("objects", "scales", "shapes")

    def __init__(self, scales: Mapping[CosemRef, Scale] = MappingProxyType({})) -> None:
        self.scales: dict[CosemRef, Scale | HeadendError] = dict(scales)
        self.shapes: dict[CosemRef, Shape] = {}
        self.objects: Sequence[ObjectInfo] | None = None


def decoded(result: bytes | DataAccessResult, ref: CosemRef) -> RawValue | HeadendError:
    """The value of an attribute."""
    if not isinstance(result, bytes):
        return access_error(result, str(ref))
    try:
        value, end = decode_data(result)
    except DecodeError as error:
        return error
    if end != len(result):
        return DecodeError(f"{ref}: octets follow the value", offset=end, got=result[end:].hex())
    return value


def single(answer: Any, ref: CosemRef) -> RawValue | HeadendError:  # noqa: ANN401 - see Conversation.get
    """The value in an event that answers a request for one attribute."""
    if isinstance(answer, GetResponseNormal):
        return decoded(answer.result, ref)
    return refusal_error(answer, f"GET {ref}")


def encoded(answer: GetResponseNormal, ref: CosemRef) -> bytes:
    """The octets of an attribute's value."""
    if not isinstance(answer.result, bytes):
        raise access_error(answer.result, str(ref))
    return answer.result


def unexpected_error(answer: object, what: str) -> HeadendError:
    """The error of an answer that is none to what was asked."""
    return RemoteProtocolError(f"{what}: an answer of another kind", got=type(answer).__name__)


def returned_by(ref: CosemRef, result: ActionResult, returned: DataOrResult | None) -> bytes | HeadendError | None:
    """What a method has returned, or why it failed."""
    if result != ActionResult.SUCCESS:
        return action_error(result, f"ACTION {ref}")
    if not isinstance(returned, DataAccessResult):
        return returned
    return None if returned == DataAccessResult.SUCCESS else access_error(returned, f"what ACTION {ref} returns")


def to_scale(raw: RawValue, ref: CosemRef) -> Scale | HeadendError:
    """Exponent and base unit from a scaler_unit attribute."""
    try:
        scaler, code = to_scaler_unit(raw)
    except DecodeError as error:
        return error
    if scaler not in _SCALERS:
        return DecodeError(f"{ref}: scaler", expected="-18 to 18", got=str(scaler))
    unit = find_unit(code)
    if unit is None:
        return Scale(scaler, "")
    power = unit.exponent
    return Scale(scaler, unit.symbol) if power is None else Scale(scaler + power, unit.base)
