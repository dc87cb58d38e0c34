"""Tables of the field: OBIS codes, units, FLAG manufacturer ids, COSEM classes. Loaded when first asked for."""
