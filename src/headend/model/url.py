"""Meter URLs: one string that says how to reach a meter, in the CLI, REST, configuration and scan results.

```text
dlms://HOST[:4059]                  TCP wrapper        dlms+udp://HOST[:4059]        UDP wrapper
dlms+apdu://HOST:PORT               APDUs in TCP without wrapper
dlms+hdlc://HOST:PORT               HDLC over TCP      dlms+serial:///dev/ttyUSB0?baud=9600[&mode_e=1]
dlt645://HOST:PORT/000000001234                        dlt645+serial:///dev/ttyUSB0/000000001234
modbus://HOST[:502]/UNIT            Modbus TCP         modbus+rtu://HOST:PORT/UNIT   RTU over TCP    modbus+serial:///dev/…/UNIT
inbound://IDENTITY                  a meter that dials in
```

A serial port takes `baud` (9600; 2400 in DL/T 645) and `line` (data bits, parity and stop bits: 8N1; 8E1 in DL/T 645). The
other query parameters go to the driver as text, `profile=ID` chooses the meter file, and the secrets (`SECRET_PARAMS`) are
given as `env:NAME`, `file:PATH`, `hex:…` or `text:…` and never appear in the text that `format_url` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from headend.errors import ConfigError
from headend.model.meter import NO_PARAMS, Endpoint, EndpointKind, Meter

SECRET_PARAMS = ("secret", "ek", "ak", "mk", "bk", "signing", "agreement")
"""Query parameters that hold secrets: password or LLS/HLS secret; encryption, authentication, master and broadcast key; our
private keys that sign and that agree on keys."""

SECRET_FORMS = ("env:", "file:", "hex:", "text:")

# scheme -> (protocol, framing, endpoint kind, default port, what the path holds)
SCHEMES: Mapping[str, tuple[str, str, EndpointKind, int, str]] = {
    "dlms": ("dlms", "wrapper", EndpointKind.TCP, 4059, ""),
    "dlms+udp": ("dlms", "wrapper", EndpointKind.UDP, 4059, ""),
    "dlms+apdu": ("dlms", "apdu", EndpointKind.TCP, 0, ""),
    "dlms+hdlc": ("dlms", "hdlc", EndpointKind.TCP, 0, ""),
    "dlms+serial": ("dlms", "hdlc", EndpointKind.SERIAL, 0, ""),
    "dlt645": ("dlt645", "tcp", EndpointKind.TCP, 0, "address"),
    "dlt645+serial": ("dlt645", "serial", EndpointKind.SERIAL, 0, "address"),
    "modbus": ("modbus", "tcp", EndpointKind.TCP, 502, "unit"),
    "modbus+rtu": ("modbus", "rtu", EndpointKind.TCP, 0, "unit"),
    "modbus+serial": ("modbus", "rtu", EndpointKind.SERIAL, 0, "unit"),
    "inbound": ("", "", EndpointKind.INBOUND, 0, ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUrl:
    """A parsed meter URL. `secrets` maps a parameter to where the secret is (`env:NAME` …); it is left out of repr."""

    protocol: str
    framing: str
    endpoint: Endpoint
    params: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS)
    profile_id: str = ""
    secrets: Mapping[str, str] = field(default_factory=lambda: NO_PARAMS, repr=False)

    def meter(self, meter_id: str, **fields: object) -> Meter:
        """A Meter with this address; `fields` are further fields of Meter."""
        values = {"profile_id": self.profile_id, **fields}
        return Meter(
            id=meter_id,
            protocol=self.protocol,
            framing=self.framing,
            endpoint=self.endpoint,
            params=self.params,
            **values,  # type: ignore[arg-type] # the caller's names are Meter's
        )


def address_param(protocol: str) -> str:
    """The parameter that holds the address of a meter on its wire; empty for a protocol without one, or an unknown one."""
    return next((param for name, _, _, _, param in SCHEMES.values() if name == protocol and param), "")


def parse_url(text: str) -> MeterUrl:
    """Parse a meter URL; raises ConfigError that names what was expected. The error never repeats the query."""
    shown = text.split("?", 1)[0]
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{shown!r} is not a meter URL: {error}", hint="write dlms://HOST:PORT, for example"
        ) from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"unknown scheme {parts.scheme or shown!r} in a meter URL",
            hint="one of " + ", ".join(f"{s}://" for s in SCHEMES),
        )
    if parts.username or parts.password:
        raise ConfigError("a meter URL takes no user name or password", hint="use ?secret=env:NAME")
    protocol, framing, kind, default_port, path_param = SCHEMES[parts.scheme]
    params, secrets = _split_query(parts.query)
    path = unquote(parts.path)
    if path_param and kind is EndpointKind.SERIAL:
        path, _, last = path.rpartition("/")
        params.setdefault(path_param, last)
    elif path_param and path.strip("/"):
        params[path_param] = path.strip("/")
    usual_baud, usual_line = _usual_port(protocol)
    baud = _number(params.pop("baud", usual_baud), "baud")
    line = params.pop("line", usual_line).upper()
    if kind is EndpointKind.SERIAL:
        if not path.startswith("/") or parts.hostname:
            raise ConfigError(f"{shown!r} names no serial device", hint=f"write {parts.scheme}:///dev/ttyUSB0")
        endpoint = Endpoint(kind=kind, path=path, baud=baud, line=line)
    else:
        host = parts.hostname or ""
        if not host:
            raise ConfigError(f"{shown!r} names no host")
        if kind is not EndpointKind.INBOUND and not (port or default_port):
            raise ConfigError(f"{shown!r} names no port", hint=f"write {parts.scheme}://{host}:PORT")
        endpoint = Endpoint(kind=kind, host=host, port=port or default_port)
    return MeterUrl(
        protocol=params.pop("protocol", protocol),
        framing=params.pop("framing", framing),
        endpoint=endpoint,
        profile_id=params.pop("profile", ""),
        params=params,
        secrets=secrets,
    )


def format_url(meter: Meter) -> str:
    """The URL of a meter, without its secrets; raises ConfigError when its protocol has no such framing."""
    endpoint = meter.endpoint
    scheme, path_param = _scheme(meter)
    params = dict(meter.params)
    tail = f"/{quote(params.pop(path_param))}" if path_param and path_param in params else ""
    if endpoint.kind is EndpointKind.SERIAL:
        where = f"{endpoint.path}{tail}"
        params["baud"] = str(endpoint.baud)
        if endpoint.line != _usual_port(meter.protocol)[1]:
            params["line"] = endpoint.line
    elif endpoint.kind is EndpointKind.INBOUND:
        where = endpoint.host
        named = {"protocol": meter.protocol, "framing": meter.framing}
        params = {name: value for name, value in named.items() if value} | params
    else:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        where = f"{host}:{endpoint.port}{tail}"
    if meter.profile_id:
        params["profile"] = meter.profile_id
    query = f"?{urlencode(params, safe='/:,')}" if params else ""
    return f"{scheme}://{where}{query}"


def _usual_port(protocol: str) -> tuple[str, str]:
    """Speed and character format of serial ports where a URL does not say them."""
    return ("2400", "8E1") if protocol == "dlt645" else ("9600", "8N1")


def _scheme(meter: Meter) -> tuple[str, str]:
    """The scheme of a meter, and which parameter its path holds."""
    kind = meter.endpoint.kind
    for scheme, spec in SCHEMES.items():
        if spec[2] is kind and (kind is EndpointKind.INBOUND or spec[:2] == (meter.protocol, meter.framing)):
            return scheme, spec[4]
    raise ConfigError(f"{meter.protocol} has no framing {meter.framing!r} over {kind.value}")


def _split_query(query: str) -> tuple[dict[str, str], dict[str, str]]:
    params: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in params or name in secrets:
            raise ConfigError(f"parameter {name!r} is given twice in a meter URL")
        if name not in SECRET_PARAMS:
            params[name] = value
        elif value.startswith(SECRET_FORMS):
            secrets[name] = value
        else:
            raise ConfigError(
                f"parameter {name!r} does not say where the secret is",
                hint=f"write {name}=env:NAME, file:PATH, hex:… or text:…",
            )
    return params, secrets


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"parameter {name!r} of a meter URL: expected a number, got {text!r}")
    return int(text)
