"""The worked examples of the Green Book (DLMS UA 1000-2), of RFC 3394 and of the NSA Suite B guide, octet by octet."""

from __future__ import annotations

import pytest

from headend.protocols.base import Role
from headend.protocols.dlms.acse import Aarq, Mechanism
from headend.protocols.dlms.apdu.table import decode_apdu
from headend.protocols.dlms.octets import Reader
from headend.protocols.dlms.security.authentication import GmacAuthentication, Said
from headend.protocols.dlms.security.ciphering import (
    GLOBAL,
    AgreedKey,
    GeneralCiphering,
    Header,
    Scheme,
    decode_general_ciphering,
    decode_service,
    encode_service,
)
from headend.protocols.dlms.security.counters import MemoryCounters, OwnCounter
from headend.protocols.dlms.security.gcm import GcmKey
from headend.protocols.dlms.security.keys import (
    agree,
    derive_key,
    is_signed,
    private_key,
    public_key,
    public_octets,
    sign,
    unwrap_key,
    wrap_key,
)
from headend.protocols.dlms.security.suite import SUITES

EK = bytes(range(16))
AK = bytes(range(0xD0, 0xE0))
CLIENT = bytes.fromhex("4d4d4d0000bc614e")
SERVER = bytes.fromhex("4d4d4d0000000001")
KEY = GcmKey(EK, AK)

GET_TIME = "c0010000080000010000ff0200"
INITIATE = (
    "01"  # InitiateRequest
    "0110 00112233445566778899aabbccddeeff"  # dedicated key
    "00 00"  # response allowed by default, no quality of service
    "06 5f1f0400007e1f 04b0"  # version, conformance, 1200 octets
)


@pytest.mark.parametrize(
    ("plain", "control", "ciphered"),
    [
        (GET_TIME, 0x10, f"c8 1e 10 01234567 {GET_TIME} 06725d910f9221d263877516"),
        (GET_TIME, 0x30, "c8 1e 30 01234567 411312ff935a47566827c467bc 7d825c3be4a77c3fcc056b6b"),
        (
            INITIATE,
            0x30,
            "21 30 30 01234567 801302ff8a7874133d414ced25b42534d28db0047720606b175bd52211be68 41db204d39ee6fdb8e356855",
        ),
    ],
    ids=["authenticated", "both", "initiate"],
)
def test_service_specific_ciphering(plain: str, control: int, ciphered: str) -> None:
    plaintext, apdu = bytes.fromhex(plain), bytes.fromhex(ciphered)
    assert encode_service(GLOBAL[plaintext[0]], KEY.seal(control, CLIENT, 0x01234567, plaintext)) == apdu
    assert KEY.open(CLIENT, decode_service(apdu)) == (control, 0x01234567, plaintext)


# --- HLS with GMAC: challenges "K56iVagY" and "P6wRJ21F" ---

SAID = Said(CLIENT, SERVER, b"K56iVagY", b"P6wRJ21F")


@pytest.mark.parametrize(
    ("prover", "counter", "proof"),
    [
        (Role.CLIENT, 1, "10 00000001 1a52fe7dd3e72748973c1e28"),
        (Role.SERVER, 0x01234567, "10 01234567 fe1466afb3dbcd4f9389e2b7"),
    ],
)
def test_hls_gmac(prover: Role, counter: int, proof: str) -> None:
    """The book calls f(StoC) with the title 4d4d4d0000000001; so its prover has that title."""
    said = Said(SERVER, CLIENT, SAID.client_challenge, SAID.server_challenge)
    own = OwnCounter(MemoryCounters(), "")
    own.raise_to(counter)
    authentication = GmacAuthentication(SUITES[0], KEY, own)
    assert authentication.prove(prover, said) == bytes.fromhex(proof)
    assert authentication.is_proof(prover, said, bytes.fromhex(proof))


def test_aarq_with_gmac() -> None:
    aarq = bytes.fromhex(
        "6036 a109060760857405080101"  # context: logical names
        "8a020780 8b0760857405080205"  # authentication is needed, mechanism 5
        "ac0a8008 4b35366956616759"  # CtoS "K56iVagY"
        "be10040e 01000000065f1f0400007e1f04b0"
    )
    decoded = decode_apdu(aarq)
    assert isinstance(decoded, Aarq)
    assert (decoded.mechanism, decoded.authentication_value) == (Mechanism.HLS_GMAC, b"K56iVagY")
    assert decoded.encode() == aarq


# --- suite 1: pairs of keys (scalar; x; y) ---

SERVER_SIGNING = (
    "ae55414ffe079f9fc95649536bd1c2b5653d200813727e07d501a8b550c69207",
    (
        "933acf15b03a9248e029b2787fb52a0aecaf635f07c42a0019fb3197e38f8f54"
        "9a125ea36781b0ca96be89a0e1fe2cf9b7361ed48b3c5e24592b9c0f4edd31d1"
    ),
)
SERVER_EPHEMERAL = (
    "34a8c23a34dbb519d09b245754c85a6cfe05d14a063efa5aa41545aa8241efae",
    (
        "95f41066009b185b074f5ffff736b71c325fcadb2bc0cf1a4f4b17bbe7ab81d6"
        "2946506bc8169c7b539b39a5d8463787f449c9bd2583fa67a1075b0dbfc638ba"
    ),
)
CLIENT_EPHEMERAL = (
    "47dab03842e5b6e74828ef4f449b378d7dd1a5dae1ffca5ae0b0be0ad18ec57e",
    (
        "c323c2bd45711de4688637d919f92e9db8fb2dfc213a88d21c9dc8dcba917d81"
        "70511de1badb360d50058f794b0960ae11fa28d392cff907a62d13e3357b1dc0"
    ),
)
SERVER_STATIC = (
    "aad3fd0732e991cf52a74c66c1f2827ddc53522a2e0a169d7c4ffcc0fb5d6a4d",
    (
        "a653565b0e06070bae9fbe140a5d2156812aee2dd525053e3efc850bf13bfdff"
        "cb240bc7b77bff5883344e7275908d2287befa3725017295a096989d2338290b"
    ),
)
CLIENT_STATIC = (
    "a51c16ff5c498fcc89323d4a9267cd71bf81fd6f6a891cd240da7f3d6f283e65",
    (
        "07c56de2dcaf0fd793ef29f019c89b4a0cc1e001ce94f4ffbe10bc05e7e66f76"
        "71a13fbcf9e662b9826fff6a6938546d524ed6d3405f020296bde16b04f7a7c2"
    ),
)
SERVER_ONE_PASS_POINT = (
    "6439724714b47cd9cb988897d8424ab946dcd083d37a954637616011b9c23787"
    "73295f0f850d8dafd1bbe9fe666e53e4f097cd10b38b69622152724a90987444"
)
CLIENT_SIGNING_POINT = (
    "baaffde06a8cb1c9dae8d94023c601dbbb249254ba22edd827e820bca2bcc643"
    "62fbb83d86a82b87bb8b7161d2aab5521911a946b97a284a90f7785cd9047d25"
)
CLIENT_EPHEMERAL_SIGNATURE = (
    "b51be089d0b682863b2217201e73a1a9031968a9b4121dcbc3281a69739af874"
    "29f5b3ac5471e7b6a04a2c0f2f8a25fd772a317df97fc5463feac248eb8ab8be"
)
SERVER_EPHEMERAL_SIGNATURE = (
    "e1ff47974a1f6931a6502f58147463f0e8cc517d47f55b0ac56dd8ac5c9d0e48"
    "1934f2d90f9893016bd82b6e3ffe21ff1588f3278b4e9d98eb4fb62add64b380"
)
ONE = SUITES[1]


@pytest.mark.parametrize("pair", [SERVER_SIGNING, SERVER_EPHEMERAL, CLIENT_EPHEMERAL, SERVER_STATIC, CLIENT_STATIC])
def test_pairs_of_keys(pair: tuple[str, str]) -> None:
    assert public_octets(private_key(ONE, bytes.fromhex(pair[0]))).hex() == pair[1]


@pytest.mark.parametrize(
    ("signer", "message", "signature"),
    [
        (CLIENT_SIGNING_POINT, CLIENT_EPHEMERAL[1], CLIENT_EPHEMERAL_SIGNATURE),
        (SERVER_SIGNING[1], SERVER_ONE_PASS_POINT, SERVER_EPHEMERAL_SIGNATURE),
    ],
)
def test_signatures_of_ephemeral_keys(signer: str, message: str, signature: str) -> None:
    """In the one-pass scheme a signature covers the bare public key."""
    key = public_key(ONE, bytes.fromhex(signer))
    assert is_signed(ONE, key, bytes.fromhex(message), bytes.fromhex(signature))
    assert not is_signed(ONE, key, bytes.fromhex(message)[1:], bytes.fromhex(signature))


P384_KEY = "c838b85253ef8dc7394fa5808a5183981c7deef5a69ba8f4f2117ffea39cfcd90e95f6cbc854abacab701d50c1f3cf24"
P384_POINT = (
    "1fbac8eebd0cbf35640b39efe0808dd774debff20a2a329e91713baf7d7f3c3e81546d883730bee7e48678f857b02ca0"
    "eb213103bd68ce343365a8a4c3d4555fa385f5330203bdd76ffad1f3affb95751c132007e1b240353cb0a4cf1693bdf9"
)
P384_SIGNATURE = (
    "a0c27ec893092dea1e1bd2ccfed3cf945c8134ed0c9f81311a0f4a05942db8dbed8dd59f267471d5462aa14fe72de856"
    "20ab3f45b74f10b6e11f96a2c8eb694d206b9dda86d3c7e331c26b22c987b7537726577667adadf168ebbe803794a402"
)


def test_signature_of_suite_2() -> None:
    message = b"This is only a test message. It is 48 bytes long"
    own = private_key(SUITES[2], bytes.fromhex(P384_KEY))
    assert public_octets(own).hex() == P384_POINT
    key = public_key(SUITES[2], bytes.fromhex(P384_POINT))
    assert is_signed(SUITES[2], key, message, bytes.fromhex(P384_SIGNATURE))
    assert is_signed(SUITES[2], key, message, sign(SUITES[2], own, message))


# --- key agreement ---

ONE_PASS_TO_SERVER = "59a71fd81c929a86a99438da17a66c05"
ONE_PASS_TO_CLIENT = "f0184bda9466bfa4601a64a7ef46504a"
STATIC_UNIFIED = "56c46b57df675515c31025455822514a"


@pytest.mark.parametrize(
    ("own", "peer", "parties", "transaction_id", "shared", "key"),
    [
        (
            SERVER_STATIC[0],
            CLIENT_EPHEMERAL[1],
            (CLIENT, SERVER),
            b"",
            "0d4385ba0dd756cbcab9887eb538396ee8f090a14c1079b4359f115b977f4615",
            ONE_PASS_TO_SERVER,
        ),
        (
            CLIENT_STATIC[0],
            SERVER_ONE_PASS_POINT,
            (SERVER, CLIENT),
            b"",
            "2b4302dc49790e2e78d990cfb52ed6e2f273dece441a2d95e4301b93812a9fac",
            ONE_PASS_TO_CLIENT,
        ),
        (
            CLIENT_STATIC[0],
            SERVER_STATIC[1],
            (CLIENT, SERVER),
            bytes(range(1, 9)),
            "b1455b2ad5f68bcffe6ad5412ba89548aca7e0cbf4b1560d6a57496f15e931ad",
            STATIC_UNIFIED,
        ),
    ],
    ids=["one pass to the server", "one pass to the client", "static unified"],
)
def test_key_agreement(
    own: str, peer: str, parties: tuple[bytes, bytes], transaction_id: bytes, shared: str, key: str
) -> None:
    private, public = private_key(ONE, bytes.fromhex(own)), public_key(ONE, bytes.fromhex(peer))
    assert agree(ONE, private, public, *parties, transaction_id=transaction_id).hex() == key
    told = b"\x08" + transaction_id if transaction_id else b""
    assert derive_key(ONE, bytes.fromhex(shared), parties[0] + told, parties[1]).hex() == key


# --- general-ciphering: an ACCESS request (three attributes, three load profile ranges) ---

ACCESS = bytes.fromhex(
    "d94000000000"  # ACCESS.request, long invoke id 40000000, no time
    "040100010000600100ff020100080000010000ff0202001400000d0000ff0702001400000d0000ff08"  # four specifications: get, get, set, set
    "0400000104"  # four data, none for what is read
    "0203090100090cffffffffffffff00000000000901ff0203090101090cffffffffffffff00000000000901ff020309010209"
    "0cffffffffffffff00000000000901ff0203090103090cffffffffffffff00000000000901ff0104020809010011ff11ff11"
    "ff11ff11ff11ff11ff02080901011102110111011101110111011101020809010211ff11ff11ff11ff11ff11ff11ff020809"
    "01031101110211021102110211021102"
)
ONE_PASS_CONTENT = bytes.fromhex(
    "f435069679270c5bf4425ee5777402a6c8d51c620eed52dbb188378b836e2857d5c053e6ddf27fa87409aef502cd9618ae47"
    "017c010224fd109cc0beb21e742d44ab40cd11908743ec90ec8c40e221d517f72228e1a26e827f43dc18ed27b5f458d66508"
    "b05a2a4cc6fed178c881afc3bc67064689be8bb41c80abb3c114a31f4cb03b8b64c7e0b4ce77b2399c93347858888f922397"
    "13b38df01c4858245827a92ef334172ea636b31cbbdf2a96ad5d035f66aa38f1a2d97d4bba99622e6b5f18789cecb2dfb393"
    "7d9f3e17f8b472098e6563238f3752837480"
)
ONE_PASS_TAG = bytes.fromhex("9836002aea6e7012d2adfaa7")
STATIC_CONTENT = bytes.fromhex(
    "607581d83815281b561904e6a72b83bf3fb0b1f2a0a23a82a804b39911f6cb1b4ef9b6f76c6338ed058014ffbf4a13a162e0"
    "eed11eeb8f597757a18215f28e1d3fc2d44586c4b8afe4500b535b579506cdb925cbeff7f1cf6bf96c583b9cf588fe8f6b01"
    "a574824d7cec597f057ffa8700af12ad63a7fa72040439f4392c089b265f9eb1ac308239906dc04e1a8712abe383cf923498"
    "42eba166ef2e9eb2f53d0dba025d79875463398bbc3007bc4a6fc12780c21ee1abf080bf0fa926242834c0ac30d55a1ef885"
    "6e7ded48621f17fdf4d5b54eddadd8741192"
)
ONE_PASS = (
    bytes.fromhex(
        "dd 08 0102030405060708"  # general-ciphering, transaction
        "08 4d4d4d0000bc614e 08 4d4d4d0000000001"  # from the client to the server
        "00 00"  # no time, nothing else
        "01 02 01 01 8180"  # agreed key, C(1e, 1s); the ephemeral key of the client and its signature
        + CLIENT_EPHEMERAL[1]
        + CLIENT_EPHEMERAL_SIGNATURE
        + "81eb 31 00000000"  # ciphered service: suite 1, authenticated and encrypted, counter 0
    )
    + ONE_PASS_CONTENT
    + ONE_PASS_TAG
)


def test_general_ciphering_with_an_agreed_key() -> None:
    ephemeral = bytes.fromhex(CLIENT_EPHEMERAL[1] + CLIENT_EPHEMERAL_SIGNATURE)
    expected = GeneralCiphering(
        header=Header(transaction_id=bytes(range(1, 9)), originator=CLIENT, recipient=SERVER),
        key=AgreedKey(bytes((Scheme.ONE_PASS,)), ephemeral),
        sealed=b"\x31" + bytes(4) + ONE_PASS_CONTENT + ONE_PASS_TAG,
    )
    assert expected.encode() == ONE_PASS
    assert decode_general_ciphering(Reader(ONE_PASS, 1)) == expected


@pytest.mark.parametrize(("key", "content"), [(ONE_PASS_TO_SERVER, ONE_PASS_CONTENT), (STATIC_UNIFIED, STATIC_CONTENT)])
def test_content_of_general_ciphering(key: str, content: bytes) -> None:
    """The content alone: the tags that were published with these examples do not follow from any known AAD."""
    encrypted = b"\x21" + bytes(4) + content
    assert GcmKey(bytes.fromhex(key)).open(CLIENT, encrypted).plaintext == ACCESS
    assert GcmKey(bytes.fromhex(key)).seal(0x21, CLIENT, 0, ACCESS) == encrypted


@pytest.mark.parametrize(
    ("length", "wrapped"),
    [
        (16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
        (32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
    ],
)
def test_key_wrap(length: int, wrapped: str) -> None:
    """RFC 3394, 4.1 and 4.6."""
    master = bytes(range(length))
    key = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")[:length]
    assert wrap_key(master, key).hex() == wrapped
    assert unwrap_key(master, bytes.fromhex(wrapped)) == key
