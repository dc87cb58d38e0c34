"""Reads of a voltage and of an energy, with dlt645; see README.md. The first line has the answers to take."""

from __future__ import annotations

import json
import struct
import sys
import time

from dlt645.common.base_log import disable_logging
from dlt645.model.types.dlt645_type import CtrlCode
from dlt645.protocol.protocol import DLT645Protocol
from dlt645.service.clientsvc.client_service import MeterClientService

disable_logging()
given = {name: bytes.fromhex(text) for name, text in json.loads(sys.stdin.readline()).items()}
client = MeterClientService(None)
client.set_address("610100000000")  # in the order of the wire


def read(di: int, answer: bytes) -> object:
    DLT645Protocol.build_frame(client.address, CtrlCode.ReadData, struct.pack("<I", di))
    return client.handle_response(DLT645Protocol.deserialize(answer)).value


def voltage() -> object:
    return read(0x02010100, given["voltage"])


def energy() -> object:
    return read(0x00010000, given["energy"])


works = {"voltage": voltage, "energy": energy}
assert voltage() == 100.1
assert energy() == 7502.64
print("ready", flush=True)
for line in sys.stdin:
    work, number = line.split()
    act = works[work]
    since = time.process_time()
    for _ in range(int(number)):
        act()
    print(time.process_time() - since, flush=True)
