"""Modbus application protocol and its two framings."""
