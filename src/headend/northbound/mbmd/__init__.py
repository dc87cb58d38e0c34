"""mbmd: readings under the names and topics of the Modbus Measurement Daemon, for those who come from it."""

from headend.northbound.mbmd.sink import kind

__all__ = ["kind"]
