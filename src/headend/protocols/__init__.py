"""Sans-IO protocol code: bytes to events and back, both roles; no I/O, no clock, no log, no randomness."""
