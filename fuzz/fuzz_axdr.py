"""COSEM Data and profile buffers: the fast decoders against the one with types, rows in pieces against rows at once."""

from __future__ import annotations

import harness

with harness.instrumented():
    from headend.errors import RemoteProtocolError
    from headend.protocols.dlms.axdr import decode_typed, encode_data
    from headend.protocols.dlms.axdr_plain import decode_data
    from headend.protocols.dlms.clock import decode_date_time
    from headend.protocols.dlms.rows import Row, RowStream, decode_rows


def plain(data: bytes) -> tuple[str, int] | None:
    """Value and end, or None where it is refused. As text, because NaN is not equal to itself."""
    try:
        value, end = decode_data(data)
    except RemoteProtocolError:
        return None
    assert end <= len(data)
    return repr(value), end


def typed(data: bytes) -> tuple[str, int] | None:
    """The same from the decoder with types, whose values encode to octets that mean the same."""
    try:
        value, end = decode_typed(data)
    except RemoteProtocolError:
        return None
    again, _ = decode_typed(encode_data(value))
    assert repr(again) == repr(value)
    return repr(value.plain()), end


def rows(data: bytes, size: int) -> None:
    """All rows at once, then in pieces."""
    whole: list[Row] | None
    try:
        whole, end = decode_rows(data)
    except RemoteProtocolError:
        whole, end = None, len(data)
    if whole:
        assert plain(data) == (repr([list(row) for row in whole]), end)
    stream = RowStream()
    got: list[Row] = []
    try:
        for piece in harness.pieces(data[:end], size):
            got += stream.feed(piece)
    except RemoteProtocolError:
        assert whole is None
    else:
        assert whole is None or (stream.done and repr(got) == repr(whole))


def one_input(data: bytes) -> None:
    """First octet: the size of the pieces."""
    if not data:
        return
    size, data = data[0], data[1:]
    assert plain(data) == typed(data)
    rows(data, size)
    try:
        moment = decode_date_time(data)
    except RemoteProtocolError:
        return
    assert moment.to_bytes() == data[:12]
    str(moment)


if __name__ == "__main__":
    harness.fuzz("axdr", one_input)
