"""HDLC data link layer of DLMS/COSEM (IEC 62056-46)."""

from headend.protocols.hdlc.address import Address
from headend.protocols.hdlc.connection import HdlcConnection
from headend.protocols.hdlc.listener import HdlcListener
from headend.protocols.hdlc.parameters import Limits
from headend.protocols.hdlc.prepared import PreparedFrames
from headend.protocols.hdlc.state import State

__all__ = ["Address", "HdlcConnection", "HdlcListener", "Limits", "PreparedFrames", "State"]
