"""Security of DLMS/COSEM (IEC 62056-5-3, 5): suites, ciphering, counters, keys and authentication, for both roles."""
