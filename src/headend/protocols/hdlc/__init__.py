"""HDLC data link layer of DLMS/COSEM (IEC 62056-46)."""
