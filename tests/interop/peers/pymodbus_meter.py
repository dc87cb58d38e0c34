"""A meter played by pymodbus, in a process of its own: `pymodbus_meter.py socket|rtu < IMAGE.json`.

The first line of standard input is {"unit": 1, "input": {"ADDRESS": FLOAT}, "holding": {…}, "identity": ["vendor", "code",
"revision"]}. Prints {"port": N} when it listens on loopback; ends when standard input does.
"""

import asyncio
import json
import sys

from pymodbus.framer import FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def blocks(image: dict[str, float]) -> list[SimData]:
    """One SimData per value: addresses in between stay unmapped and are refused."""
    found = [SimData(int(address), values=value, datatype=DataType.FLOAT32) for address, value in image.items()]
    return found or [SimData(0, values=0, datatype=DataType.REGISTERS)]


async def main() -> None:
    image = json.loads(sys.stdin.readline())
    unused = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    device = SimDevice(image["unit"], simdata=(unused, list(unused), blocks(image["holding"]), blocks(image["input"])))
    vendor, code, revision = image["identity"]
    server = ModbusTcpServer(
        device,
        framer=FramerType(sys.argv[1]),
        address=("127.0.0.1", 0),
        identity=ModbusDeviceIdentification(
            info_name={"VendorName": vendor, "ProductCode": code, "MajorMinorRevision": revision}
        ),
    )
    await server.serve_forever(background=True)
    print(json.dumps({"port": server.transport.sockets[0].getsockname()[1]}), flush=True)  # noqa: T201 - the answer to who started us
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
