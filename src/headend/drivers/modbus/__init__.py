"""The Modbus driver: MBAP over TCP, RTU over TCP and serial lines."""

from headend.drivers.modbus.driver import ModbusDriver

driver = ModbusDriver()

__all__ = ["driver"]
