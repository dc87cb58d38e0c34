"""Opening and releasing associations: AARQ, AARE, RLRQ, RLRE and the initiate APDUs inside."""

from __future__ import annotations

import harness

with harness.instrumented():
    from headend.errors import HeadendError, RemoteProtocolError
    from headend.protocols.dlms.acse import Aare, Aarq
    from headend.protocols.dlms.apdu.table import decode_apdu
    from headend.protocols.dlms.association import request_from_aarq, response_from_aare
    from headend.protocols.dlms.initiate import decode_initiate_request, decode_initiate_response
    from headend.protocols.dlms.octets import Reader
    from headend.protocols.dlms.refusals import association_error


def one_input(data: bytes) -> None:
    """An APDU; what it says can be said again."""
    for decode in (decode_initiate_request, decode_initiate_response):
        try:
            initiate = decode(Reader(data))
        except RemoteProtocolError:
            continue
        assert decode(Reader(initiate.encode()[1:])) == initiate
    try:
        apdu = decode_apdu(data)
    except RemoteProtocolError:
        return
    said = apdu.encode()  # not always what was decoded: elements are put in order, and what is implied is added
    assert decode_apdu(said).encode() == said
    try:
        if isinstance(apdu, Aarq):
            request_from_aarq(apdu, None)
        elif isinstance(apdu, Aare):
            response = response_from_aare(apdu, None)
            if not response.accepted:
                assert isinstance(association_error(response), HeadendError)
    except RemoteProtocolError:
        return


if __name__ == "__main__":
    harness.fuzz("acse", one_input)
