"""A head-end played by pymodbus, in a process of its own: `pymodbus_client.py socket|rtu PORT UNIT < STEPS.json`.

Standard input is a list of steps: ["input"|"holding", ADDRESS, COUNT, TYPE] reads and converts (TYPE as in pymodbus:
FLOAT32 …), ["write", ADDRESS, FLOAT] writes a float into two registers, ["identify"] is function 43/14, ["server-id"] is
function 17. Prints a list of what each gave; {"exception": CODE} where the meter refused.
"""

import asyncio
import json
import sys
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerType


async def do(client: AsyncModbusTcpClient, unit: int, step: list[Any]) -> Any:
    match step:
        case ["input" | "holding" as table, address, count, kind]:
            read = client.read_input_registers if table == "input" else client.read_holding_registers
            answer = await read(address, count=count, device_id=unit)
            if not answer.isError():
                return client.convert_from_registers(answer.registers, client.DATATYPE[kind])
        case ["write", address, value]:
            registers = client.convert_to_registers(value, client.DATATYPE.FLOAT32)
            answer = await client.write_registers(address, registers, device_id=unit)
            if not answer.isError():
                return answer.count
        case ["identify"]:
            answer = await client.read_device_information(device_id=unit)
            if not answer.isError():
                return [answer.information[key].decode() for key in sorted(answer.information)]
        case ["server-id"]:
            answer = await client.report_device_id(device_id=unit)
            if not answer.isError():
                return answer.identifier.decode("latin-1")
    return {"exception": answer.exception_code}


async def main() -> None:
    framer, port, unit = sys.argv[1:]
    client = AsyncModbusTcpClient("127.0.0.1", port=int(port), framer=FramerType(framer), timeout=5, retries=0)
    assert await client.connect()
    results = [await do(client, int(unit), step) for step in json.load(sys.stdin)]
    client.close()
    print(json.dumps(results))  # noqa: T201 - the answer to who started us


asyncio.run(main())
