"""xDLMS APDUs, one module per service."""
