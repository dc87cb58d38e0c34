"""The DLMS/COSEM driver."""

from headend.drivers.base import Driver
from headend.drivers.dlms.driver import DlmsDriver

driver: Driver = DlmsDriver()
"""What the entry point names."""

__all__ = ["DlmsDriver", "driver"]
