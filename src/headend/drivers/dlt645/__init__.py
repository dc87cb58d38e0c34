"""The DL/T 645 driver: meters of 2007 and of 1997 over TCP and serial lines."""

from headend.drivers.dlt645.driver import Dlt645Driver

driver = Dlt645Driver()

__all__ = ["driver"]
