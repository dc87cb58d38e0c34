"""Services of short names as elements (IEC 62056-5-3). Pure."""

from __future__ import annotations

from headend.drivers.dlms.translating.data import data_element
from headend.drivers.dlms.translating.element import Element, hidden, holds, items, number, octets, text
from headend.protocols.dlms.apdu import short
from headend.protocols.dlms.apdu.descriptor import DataAccessResult


def short_element(
    apdu: short.ShortRequest | short.ShortResponse | short.UnconfirmedWriteRequest | short.InformationReport,
) -> Element:
    """One APDU; what is written is not shown, as a name does not tell what it is."""
    match apdu:
        case short.ReadRequest():
            return items("ReadRequest", tuple(map(_variable, apdu.variables)))
        case short.ReadResponse():
            return items("ReadResponse", tuple(map(_read_result, apdu.results)))
        case short.WriteResponse():
            return items("WriteResponse", tuple(map(_write_result, apdu.results)))
    variables = items("ListOfVariableAccessSpecification", tuple(map(_variable, apdu.variables)))
    if isinstance(apdu, short.InformationReport):
        time = [text("CurrentTime", apdu.time.decode("ascii", "replace"))] if apdu.time else []
        return holds(
            "InformationReportRequest", *time, variables, items("ListOfData", tuple(map(data_element, apdu.data)))
        )
    name = "WriteRequest" if isinstance(apdu, short.WriteRequest) else "UnconfirmedWriteRequest"
    return holds(name, variables, items("ListOfData", tuple(hidden("OctetString", each) for each in apdu.data)))


def _variable(variable: short.VariableAccess) -> Element:
    match variable:
        case short.VariableName(name):
            return number("VariableName", name, 2)
        case short.ParameterizedAccess(name, selector, parameters):
            return holds(
                "ParameterisedAccess",
                number("VariableName", name, 2),
                number("Selector", selector),
                holds("Parameter", data_element(parameters)),
            )
        case short.BlockNumberAccess(block_number):
            return holds("BlockNumberAccess", number("BlockNumber", block_number, 2))
        case short.ReadDataBlockAccess(last, block_number, raw):
            parts = number("LastBlock", last), number("BlockNumber", block_number, 2), octets("RawData", raw)
            return holds("ReadDataBlockAccess", *parts)
        case short.WriteDataBlockAccess(last, block_number):
            return holds("WriteDataBlockAccess", number("LastBlock", last), number("BlockNumber", block_number, 2))


def _read_result(result: short.ReadResult) -> Element:
    match result:
        case bytes():
            return holds("Data", data_element(result))
        case short.DataBlock(last, block_number, raw):
            parts = number("LastBlock", last), number("BlockNumber", block_number, 2), octets("RawData", raw)
            return holds("DataBlockResult", *parts)
        case short.BlockNumber(block_number):
            return number("BlockNumber", block_number, 2)
        case DataAccessResult():
            return number("DataAccessError", result)


def _write_result(result: short.WriteResult) -> Element:
    if isinstance(result, short.BlockNumber):
        return number("BlockNumber", result.block_number, 2)
    return Element("Success") if result == DataAccessResult.SUCCESS else number("DataAccessError", result)
