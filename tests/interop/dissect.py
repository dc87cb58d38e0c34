"""Every service as we encode it, dissected by tshark: `make interop`. Not part of `make test`, which needs no Wireshark.

tshark knows DLMS from 4.6 on. What 4.6.9 cannot do is not among these: it does not decipher, and takes the ciphered
user-information of an AARQ for a plain one; complains about any system title in an AARQ or AARE (A6 0A 04 08 …); reads
the type of every compact array behind it; takes HDLC addresses of two octets for two addresses, and the presence octet of a
selective access for its selector; does not open UI frames.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from headend.protocols.base import Role
from headend.protocols.dlms.acse import Aare, Aarq, Diagnostic, Mechanism, Rlre, Rlrq
from headend.protocols.dlms.apdu import access, action, get, short
from headend.protocols.dlms.apdu import set as setting
from headend.protocols.dlms.apdu.descriptor import (
    AccessSelection,
    ActionResult,
    AttributeDescriptor,
    DataAccessResult,
    MethodDescriptor,
)
from headend.protocols.dlms.apdu.exception import ConfirmedServiceError, ExceptionResponse, ServiceError, StateError
from headend.protocols.dlms.apdu.general_block import GeneralBlock
from headend.protocols.dlms.apdu.notification import DataNotification, EventNotification
from headend.protocols.dlms.initiate import Conformance, InitiateRequest, InitiateResponse
from headend.protocols.dlms.security.ciphering import encode_general, encode_service
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.hdlc import Address, HdlcConnection, Limits
from headend.protocols.wrapper import wrap
from headend.transport.capture import Dialogue, file_header
from tests.drivers.captures.traffic import ACK, CLIENT, METER, SYN, ethernet, pcap, tcp

OLDEST = (4, 6)
WRONG = "_ws.malformed || dlms.check_sequence || dlms.compact_array.bad"
"""Everything that the dissector complains about."""

ENERGY = AttributeDescriptor(3, bytes.fromhex("0100010800ff"), 2)
CLOCK = AttributeDescriptor(8, bytes.fromhex("0000010000ff"), 2)
PROFILE = AttributeDescriptor(7, bytes.fromhex("0100630100ff"), 2)
CONNECT = MethodDescriptor(70, bytes.fromhex("0000600300ff"), 2)
RESET = MethodDescriptor(3, bytes.fromhex("0100010800ff"), 1)
ENTRIES = AccessSelection(2, bytes.fromhex("020406000000010600000002120000120000"))
NUMBER, ROW, NONE = bytes.fromhex("0600000539"), bytes.fromhex("020309060100010800ff0600000539 02020f00161e"), b"\x00"
EVERY_TYPE = bytes.fromhex(
    "0114 00 0301 0408f0 0500000001 0600000001 0901aa 0a0161 0c0161 0d12 0fff 10fffe 1101 120102 14ffffffffffffffff"
    "150000000000000001 1605 173f800000 183ff0000000000000 1907e80101010c0000ff800000 1a07e8010101"
)
ROWS = b"\x01\x14" + ROW * 20
OK, DENIED = DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED
TIME = bytes.fromhex("07e80101010c0000ff800000")
BITS = ~Conformance(0)
LN = InitiateRequest(conformance=BITS).encode()
LN_GRANTED = InitiateResponse(conformance=BITS).encode()
TITLE = b"MMM\0\0\0\0\1"
SEALED = GcmKey(bytes(16), bytes(16)).seal(0x30, TITLE, 1, get.GetRequestNormal(0xC1, ENERGY).encode())

FROM_CLIENT: dict[str, bytes] = {
    "AARQ": Aarq(user_information=LN).encode(),
    "AARQ with a password": Aarq(
        mechanism=Mechanism.LLS, authentication_value=b"12345678", user_information=LN
    ).encode(),
    "AARQ with a challenge": Aarq(
        mechanism=Mechanism.HLS_SHA256,
        authentication_value=b"12345678",
        user_information=LN,
    ).encode(),
    "RLRQ": Rlrq().encode(),
    "GET": get.GetRequestNormal(0xC1, ENERGY).encode(),
    "GET of entries": get.GetRequestNormal(0xC1, PROFILE, ENTRIES).encode(),
    "GET next": get.GetRequestNext(0xC1, 1).encode(),
    "GET list": get.GetRequestWithList(0xC1, ((ENERGY, None), (PROFILE, ENTRIES))).encode(),
    "SET": setting.SetRequestNormal(0xC1, CLOCK, b"\x09\x0c" + TIME).encode(),
    "SET first block": setting.SetRequestFirstDatablock(0xC1, CLOCK, None, False, 1, b"\x09\x0c").encode(),  # noqa: FBT003 - last
    "SET block": setting.SetRequestDatablock(0xC1, True, 2, TIME).encode(),  # noqa: FBT003 - ditto
    "SET list": setting.SetRequestWithList(0xC1, ((ENERGY, None), (CLOCK, None)), (NUMBER, NUMBER)).encode(),
    "SET list, first block": setting.SetRequestWithListAndFirstDatablock(
        0xC1,
        ((ENERGY, None), (CLOCK, None)),
        False,  # noqa: FBT003 - ditto
        1,
        NUMBER,
    ).encode(),
    "ACTION": action.ActionRequestNormal(0xC1, CONNECT, b"\x0f\x00").encode(),
    "ACTION next": action.ActionRequestNextPblock(0xC1, 1).encode(),
    "ACTION list": action.ActionRequestWithList(0xC1, (CONNECT, RESET), (b"\x0f\x00", b"\x0f\x00")).encode(),
    "ACTION first block": action.ActionRequestFirstPblock(0xC1, CONNECT, False, 1, b"\x0f").encode(),  # noqa: FBT003 - ditto
    "ACTION list, first block": action.ActionRequestWithListAndFirstPblock(
        0xC1,
        (CONNECT, RESET),
        False,  # noqa: FBT003 - ditto
        1,
        b"\x02\x0f",
    ).encode(),
    "ACTION block": action.ActionRequestPblock(0xC1, True, 2, b"\x00").encode(),  # noqa: FBT003 - ditto
    "ACCESS": access.AccessRequest(
        0x40000001,
        (
            access.AccessGet(ENERGY),
            access.AccessGet(PROFILE, ENTRIES),
            access.AccessSet(CLOCK),
            access.AccessAction(CONNECT),
        ),
        (NONE, NONE, b"\x09\x0c" + TIME, b"\x0f\x00"),
    ).encode(),
    "READ": short.ReadRequest((short.VariableName(0x708), short.VariableName(0x710))).encode(),
    "READ of entries": short.ReadRequest((short.ParameterizedAccess(0x708, 2, ENTRIES.parameters),)).encode(),
    "READ next": short.ReadRequest((short.BlockNumberAccess(1),)).encode(),
    "WRITE": short.WriteRequest((short.VariableName(0x708),), (NUMBER,)).encode(),
    "UnconfirmedWrite": short.UnconfirmedWriteRequest((short.VariableName(0x708),), (NUMBER,)).encode(),
    "general block": GeneralBlock(
        last_block=True, block_number=1, data=get.GetRequestNormal(0xC1, ENERGY).encode()
    ).encode(),
    "ciphered GET": encode_service(0xC8, SEALED),
    "GET in general ciphering": encode_general(0xDB, TITLE, SEALED),
}
FROM_METER: dict[str, bytes] = {
    "AARE": Aare(user_information=LN_GRANTED).encode(),
    "AARE refused": Aare(result=1, diagnostic=Diagnostic.AUTHENTICATION_FAILURE, user_information=LN_GRANTED).encode(),
    "AARE with a challenge": Aare(
        diagnostic=Diagnostic.AUTHENTICATION_REQUIRED,
        mechanism=Mechanism.HLS_SHA256,
        authentication_value=b"ABCDEFGH",
        user_information=LN_GRANTED,
    ).encode(),
    "RLRE": Rlre().encode(),
    "GET answer": get.GetResponseNormal(0xC1, NUMBER).encode(),
    "GET refused": get.GetResponseNormal(0xC1, DENIED).encode(),
    "GET of every type": get.GetResponseNormal(0xC1, EVERY_TYPE).encode(),
    "GET block": get.GetResponseWithDatablock(0xC1, False, 1, ROWS[:100]).encode(),  # noqa: FBT003 - ditto
    "GET last block": get.GetResponseWithDatablock(0xC1, True, 2, ROWS[100:]).encode(),  # noqa: FBT003 - ditto
    "GET list answer": get.GetResponseWithList(0xC1, (NUMBER, DENIED)).encode(),
    "SET answer": setting.SetResponseNormal(0xC1, OK).encode(),
    "SET block taken": setting.SetResponseDatablock(0xC1, 1).encode(),
    "SET last block taken": setting.SetResponseLastDatablock(0xC1, OK, 2).encode(),
    "SET list, last block taken": setting.SetResponseLastDatablockWithList(0xC1, (OK, DENIED), 2).encode(),
    "SET list answer": setting.SetResponseWithList(0xC1, (OK, DENIED)).encode(),
    "ACTION answer": action.ActionResponseNormal(0xC1, ActionResult.SUCCESS).encode(),
    "ACTION answer with data": action.ActionResponseNormal(0xC1, ActionResult.SUCCESS, NUMBER).encode(),
    "ACTION list answer": action.ActionResponseWithList(
        0xC1, (action.Outcome(ActionResult.SUCCESS), action.Outcome(ActionResult.SUCCESS, NUMBER))
    ).encode(),
    "ACTION block answer": action.ActionResponsePblock(0xC1, True, 1, b"\x06\0\0\5\x39").encode(),  # noqa: FBT003 - ditto
    "ACTION next block wanted": action.ActionResponseNextPblock(0xC1, 1).encode(),
    "ACCESS answer": access.AccessResponse(
        0x40000001,
        (NUMBER, NONE),
        (access.AccessResult(1, OK), access.AccessResult(3, ActionResult.SUCCESS)),
    ).encode(),
    "READ answer": short.ReadResponse((NUMBER, DENIED)).encode(),
    "READ block": short.ReadResponse((short.DataBlock(last_block=False, block_number=1, raw_data=NUMBER),)).encode(),
    "WRITE answer": short.WriteResponse((OK, DENIED)).encode(),
    "InformationReport": short.InformationReport((short.VariableName(0x708),), (NUMBER,)).encode(),
    "exception": ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceError.OPERATION_NOT_POSSIBLE).encode(),
    "service error": ConfirmedServiceError(1, 6, 0).encode(),
    "EventNotification": EventNotification(ENERGY, NUMBER, TIME).encode(),
    "DataNotification": DataNotification(1, TIME, ROW).encode(),
    "general block acknowledged": GeneralBlock(last_block=True, block_number=1, acknowledged=1).encode(),
}


@dataclass(slots=True)
class Capture:
    """Packets of one TCP connection, each with what it is called."""

    names: list[str]
    packets: list[bytes]
    sent: dict[bool, int]

    def say(self, name: str, octets: bytes, *, client: bool) -> None:
        source, target = (CLIENT, METER) if client else (METER, CLIENT)
        self.names.append(name)
        self.packets.append(tcp(source, target, self.sent[client], octets, ack=self.sent[not client]))
        self.sent[client] += len(octets)

    def write(self, folder: Path) -> Path:
        path = folder / "services.pcap"
        path.write_bytes(pcap(map(ethernet, self.packets)))
        return path


def opened() -> Capture:
    made = Capture([], [], {True: 1, False: 1})
    made.packets += [tcp(CLIENT, METER, 0, flags=SYN), tcp(METER, CLIENT, 0, ack=1, flags=SYN | ACK)]
    made.names += ["SYN", "SYN, ACK"]
    return made


@pytest.fixture(scope="module")
def tshark() -> str:
    """The program; skips, saying why, where there is none that knows DLMS."""
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not on the PATH (Debian forky and later have one that knows DLMS)")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)\.\d+", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        pytest.skip(f"{said.partition(chr(10))[0]} does not know DLMS: 4.6 or later is wanted")
    known = subprocess.run([program, "-G", "protocols"], capture_output=True, text=True, check=False, timeout=60).stdout
    if "\tdlms\t" not in known:
        pytest.skip("this tshark was built without its dissector of DLMS")
    return program


def ask(tshark: str, path: Path, fields: Iterable[str], wanted: str) -> list[list[str]]:
    """Fields of the packets that a filter takes."""
    options = [option for field in fields for option in ("-e", field)]
    command = [tshark, "-n", "-r", str(path), "-Y", wanted, "-T", "fields", *options]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return [line.split("\t") for line in said.splitlines()]


def test_every_service_is_dissected(tshark: str, tmp_path: Path) -> None:
    made = opened()
    for name, apdu in FROM_CLIENT.items():
        made.say(name, wrap(apdu, 16, 1), client=True)
    for name, apdu in FROM_METER.items():
        made.say(name, wrap(apdu, 1, 16), client=False)
    path = made.write(tmp_path)
    complaints = {
        made.names[int(number) - 1]: info for number, info in ask(tshark, path, ["frame.number", "_ws.col.Info"], WRONG)
    }
    assert complaints == {}
    seen = {made.names[int(number) - 1] for (number,) in ask(tshark, path, ["frame.number"], "dlms")}
    assert seen == FROM_CLIENT.keys() | FROM_METER.keys()


def test_the_dissector_complains_when_it_should(tshark: str, tmp_path: Path) -> None:
    made = opened()
    made.say("cut", wrap(FROM_METER["GET answer"][:-2], 1, 16), client=False)
    assert len(ask(tshark, made.write(tmp_path), ["frame.number"], WRONG)) == 1


def test_what_it_reads_is_what_was_meant(tshark: str, tmp_path: Path) -> None:
    made = opened()
    made.say("GET", wrap(FROM_CLIENT["GET of entries"], 16, 1), client=True)
    made.say("GET refused", wrap(FROM_METER["GET refused"], 1, 16), client=False)
    command = [tshark, "-n", "-r", str(made.write(tmp_path)), "-V", "-O", "dlms"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    for line in ("(7)", "(1.0.99.1.0.255)", "Attribute Id: buffer (2)", "read-write-denied (3)"):
        assert line in said, said


def test_a_conversation_over_hdlc(tshark: str, tmp_path: Path) -> None:
    """Opening with parameters, an association, a long answer in segments, and the end; check sequences are verified."""
    made = opened()
    limits = Limits(max_information_transmit=64, max_information_receive=64)
    client = HdlcConnection(Role.CLIENT, client=Address.client(16), server=Address.server(1), limits=limits)
    meter = HdlcConnection(Role.SERVER, server=Address.server(1), limits=limits)

    def exchange(name: str) -> None:
        while octets := client.data_to_send():
            made.say(name, octets, client=True)
            meter.receive_data(octets)
            meter.next_event()
            back = meter.data_to_send()
            made.say(f"{name}, answer", back, client=False)
            client.receive_data(back)
            client.next_event()

    client.open()
    exchange("SNRM")
    for name, answer in (("AARQ", "AARE"), ("GET", "GET of every type"), ("RLRQ", "RLRE")):
        client.send_apdu(FROM_CLIENT[name])
        octets = client.data_to_send()
        while octets:
            made.say(name, octets, client=True)
            meter.receive_data(octets)
            if type(meter.next_event()).__name__ == "ApduReceived":
                meter.send_apdu(FROM_METER[answer])
            back = meter.data_to_send()
            made.say(answer, back, client=False)
            client.receive_data(back)
            client.next_event()
            octets = client.data_to_send()
    client.close()
    exchange("DISC")
    path = made.write(tmp_path)
    rows = ask(tshark, path, ["frame.number", "_ws.col.Info"], WRONG)
    assert {made.names[int(number) - 1]: info for number, info in rows} == {}
    seen = Counter(made.names[int(number) - 1] for (number,) in ask(tshark, path, ["frame.number"], "dlms"))
    assert seen == Counter(made.names[2:])
    assert seen["GET of every type"] > 1


def test_our_captures_are_whole(tshark: str, tmp_path: Path) -> None:
    said = Dialogue("127.0.0.1:50000", "127.0.0.9:4059")
    path = tmp_path / "ours.pcapng"
    path.write_bytes(
        file_header()
        + said.opening(1, "meter m1")
        + said.carried(b"ask", 2, sent=True)
        + said.carried(bytes(120_000), 3, sent=False, comment="secrets are masked")
        + said.closing(4)
    )
    rows = ask(tshark, path, ["tcp.len", "frame.comment", "_ws.expert.message"], "tcp")
    assert [row[0] for row in rows] == ["0", "0", "0", "3", "65000", "55000", "0"]
    assert (rows[0][1], rows[4][1]) == ("meter m1", "secrets are masked")
    assert not any("checksum" in row[2].lower() or "lost" in row[2].lower() for row in rows)
