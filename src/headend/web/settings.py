"""What the web server is told: where it listens, whom it trusts, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Settings of the web server. The defaults serve one machine and trust nobody else."""

    host: str = "127.0.0.1"
    """address to listen on"""
    port: int = 8080
    """port to listen on; 0 lets the system choose"""
    allowed_hosts: tuple[str, ...] = ()
    """names under which the server is reached, besides loopback names (and plain addresses beyond loopback)"""
    cors_origins: tuple[str, ...] = ()
    """origins of other web pages that may call the API, `https://host[:port]` each; they need an API key"""
    tls_certificate: Path | None = None
    """PEM file with the certificate chain"""
    tls_key: Path | None = None
    """PEM file with the private key"""
    cookie_secure: bool | None = None
    """Secure attribute of the session cookie; None: with TLS, and beyond loopback"""
    public_read: bool = True
    """reading needs no credential on this machine; never holds beyond loopback"""
    accept_unknown_meters: bool = False
    """a plain reading posted for an unknown meter makes that meter, which is not polled"""
    mbmd: bool = False
    """serve the interface of mbmd: `/api/last`, `/api/avg`, `/api/status`, `/ws`"""
    session_seconds: int = 12 * 3600
    """how long a login holds at most"""
    session_idle_seconds: int = 2 * 3600
    """how long a login holds that nobody uses"""
    max_body_octets: int = 1_048_576
    """largest request body"""
    max_live_clients: int = 500
    """how many may follow live values at once"""
    request_seconds: float = 20.0
    """how long a client may take to send a request, its body included"""

    @property
    def on_loopback(self) -> bool:
        """True when nobody but this machine can connect."""
        return is_loopback(self.host)

    @property
    def tls(self) -> bool:
        """True when the server speaks TLS itself."""
        return self.tls_certificate is not None

    @property
    def secure_cookie(self) -> bool:
        """Whether the session cookie travels over TLS only."""
        return self.cookie_secure if self.cookie_secure is not None else self.tls or not self.on_loopback


def is_loopback(host: str) -> bool:
    """True for `localhost`, names below it, and loopback addresses."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """True for a literal IP address, which no name server can point elsewhere."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
