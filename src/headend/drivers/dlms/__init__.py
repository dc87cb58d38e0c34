"""The DLMS/COSEM driver."""
