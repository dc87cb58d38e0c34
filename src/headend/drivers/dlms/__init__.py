"""The DLMS/COSEM driver."""

from headend.drivers.dlms.driver import DlmsDriver

driver = DlmsDriver()
"""What the entry point names."""

__all__ = ["DlmsDriver", "driver"]
