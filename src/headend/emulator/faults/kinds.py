"""The faults that a virtual meter can have, by layer."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from headend.drivers.base import Trouble
from headend.emulator.shape import mix


class Layer(enum.Enum):
    """Where something is wrong."""

    SESSION = "session"
    """who may connect, and for how long"""
    OCTETS = "octets"
    """what becomes of an answer on its way, whatever the protocol"""
    FRAME = "frame"
    """frames whose defect only those see who know the framing"""
    METER = "meter"
    """what the meter itself does and says"""


class FaultKind(enum.Enum):
    """What is wrong with a meter."""

    SILENT = "silent"
    """takes the connection and never answers"""
    REFUSE = "refuse"
    """drops the connection as soon as it is made"""
    CLOSE = "close"
    """drops the connection instead of answering"""
    CUT = "cut"
    """drops the connection in the middle of an answer"""
    GARBAGE = "garbage"
    """answers with random octets, as many as the answer has"""
    HALF = "half"
    """stops in the middle of an answer"""
    TRUNCATE = "truncate"
    """leaves the last one to four octets of an answer out"""
    CHECKSUM = "checksum"
    """one bit of the last octets is inverted: where the checksum is, for protocols that have one at the end"""
    STALE = "stale"
    """says its previous answer again"""
    DUPLICATE = "duplicate"
    """says each answer twice"""
    FLOOD = "flood"
    """sends 16 KiB of noise before the answer"""
    SLOW = "slow"
    """lets its answer drip for `seconds`, in eight pieces"""
    TRICKLE = "trickle"
    """sends octet by octet, with `seconds` between them"""
    LATENCY = "latency"
    """each answer takes `seconds` on its way"""
    JITTER = "jitter"
    """each answer takes up to `seconds` on its way, in their order"""
    LATE = "late"
    """an answer comes `seconds` later, and later answers overtake it"""
    LOSS = "loss"
    """requests get lost on their way to the meter"""
    HCS = "hcs"
    """one bit of the check of the frame header is inverted (HDLC)"""
    FCS = "fcs"
    """one bit of the check of the frame is inverted (HDLC, Modbus RTU, DL/T 645)"""
    WRONG_ADDRESS = "wrong-address"
    """answers are addressed to, or come from, somebody else: wPort, HDLC address, unit id, meter address"""
    ONE_SESSION = "one-session"
    """takes one connection at a time and drops all others"""
    ZOMBIE = "zombie"
    """the same, and believes in a connection that has ended for `seconds` more"""
    REBOOT = "reboot"
    """reboots instead of answering: drops its connections, and says nothing on new ones for `seconds`"""
    REFUSE_ASSOCIATION = "refuse-association"
    """refuses associations for good, whoever asks (DLMS)"""
    EXHAUSTED = "exhausted"
    """refuses associations for now: all that it can have are taken (DLMS)"""
    ABORT_BLOCKS = "abort-blocks"
    """aborts every long answer after its first block (DLMS)"""
    INVOCATION_RESET = "invocation-reset"
    """begins its invocation counter at 1 with each association (DLMS with keys)"""
    WRONG_SCALER = "wrong-scaler"
    """says of each register that its scaler is one more than it is (DLMS)"""
    COUNTER_RESET = "counter-reset"
    """its registers begin at nothing when it gets the fault"""
    EMPTY_PROFILE = "empty-profile"
    """its load profiles have no rows"""
    CLOCK_JUMP = "clock-jump"
    """its clock jumps by `seconds` when it gets the fault, and back when it is mended"""
    REJECT = "reject"
    """wants a secret that nobody knows; see `fleet`"""

    @property
    def layer(self) -> Layer:
        """Where it is wrong."""
        return _LAYERS.get(self, Layer.OCTETS)


TROUBLES: Final = MappingProxyType(
    {
        FaultKind.REFUSE_ASSOCIATION: Trouble.REFUSES_ASSOCIATION,
        FaultKind.EXHAUSTED: Trouble.NO_ASSOCIATION_LEFT,
        FaultKind.ABORT_BLOCKS: Trouble.ABORTS_BLOCKS,
        FaultKind.INVOCATION_RESET: Trouble.COUNTS_ANEW,
        FaultKind.WRONG_SCALER: Trouble.WRONG_SCALER,
    }
)
"""what drivers do on purpose"""

_LAYERS: Final = MappingProxyType(
    {
        FaultKind.ONE_SESSION: Layer.SESSION,
        FaultKind.ZOMBIE: Layer.SESSION,
        FaultKind.REFUSE: Layer.SESSION,
        FaultKind.HCS: Layer.FRAME,
        FaultKind.FCS: Layer.FRAME,
        FaultKind.WRONG_ADDRESS: Layer.FRAME,
        FaultKind.REBOOT: Layer.METER,
        FaultKind.REJECT: Layer.METER,
        FaultKind.COUNTER_RESET: Layer.METER,
        FaultKind.EMPTY_PROFILE: Layer.METER,
        FaultKind.CLOCK_JUMP: Layer.METER,
        **dict.fromkeys(TROUBLES, Layer.METER),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble: which share of the meters have it, and how likely it is at each answer of such a meter."""

    kind: FaultKind
    meters: float = 1.0
    chance: float = 1.0
    seconds: float = 2.0

    def strikes(self, seed: int, number: int) -> bool:
        """True when the meter of that number has the trouble."""
        return mix(seed + 0x5EED, number) < self.meters * 2**32
