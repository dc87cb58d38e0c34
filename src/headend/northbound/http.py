"""What sinks that speak HTTP have in common: the options that name a server, and requests whose failures are SinkErrors.

httpx does the work: connections that are kept, TLS, deadlines. It is the extra `headend[http]`, as most installations deliver over
MQTT alone. Redirects are never followed: what is delivered goes where the settings say.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from headend.errors import ConfigError, SinkError
from headend.northbound.sink import Surroundings

if TYPE_CHECKING:
    import httpx

LONGEST_WAIT: Final = 3600.0
"""seconds that a Retry-After is heeded"""
SHOWN: Final = 300
"""characters of an answer that an error shows"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Options of a sink that speaks HTTP."""

    url: str = field(metadata={"description": "https://HOST[:PORT]/PATH, or http:// where nobody listens in between"})
    seconds: float = field(default=30.0, metadata={"description": "to wait for an answer"})
    ca_file: str = field(default="", metadata={"description": "PEM file of the authority that vouches for the server"})
    certificate: str = field(default="", metadata={"description": "PEM file of a client certificate"})
    key_file: str = field(default="", metadata={"description": "PEM file of its key"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: status, headers in small letters, and the body."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def ok(self) -> bool:
        """Whether it took what it was given."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        said = " ".join(self.text[:SHOWN].split())
        return f"the server answers {self.status}{f': {said}' if said else ''}"


class Http:
    """A server as the options name it. It remembers between connections that the server asked to be left alone."""

    def __init__(self, options: HttpOptions, surroundings: Surroundings) -> None:
        """Raises ConfigError."""
        place = f"sinks.{surroundings.name}"
        parts = urlsplit(options.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{place}.url: expected https://HOST/PATH")
        if parts.username or parts.password:
            raise ConfigError(f"{place}.url: a password is not written there", hint="name its place, as env:NAME")
        if importlib.util.find_spec("httpx") is None:
            raise ConfigError(f"{place}: this kind needs the library httpx", hint="pip install 'headend[http]'")
        self.url = options.url
        self._options = options
        self._tls = _tls(options, place) if parts.scheme == "https" else None
        self._not_before = 0.0

    @asynccontextmanager
    async def connect(self, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
        """Something to send requests with; raises SinkError while the server wants to be left alone."""
        import httpx  # noqa: PLC0415 # an extra: loaded where it is used

        left = self._not_before - asyncio.get_running_loop().time()
        if left > 0:
            raise SinkError(f"the server asked to be left alone; {left:.0f} s are left")
        async with httpx.AsyncClient(
            headers=dict(headers),
            verify=self._tls if self._tls is not None else True,
            timeout=self._options.seconds,
            follow_redirects=False,
            trust_env=False,
        ) as client:
            yield Connection(client, self)

    def leave_alone(self, answer: Answer) -> None:
        """Heed a Retry-After."""
        seconds = retry_after(answer.headers.get("retry-after", ""))
        if seconds > 0:
            self._not_before = asyncio.get_running_loop().time() + seconds


class Connection:
    """Sends requests to one server."""

    def __init__(self, client: httpx.AsyncClient, http: Http) -> None:
        self._client = client
        self._http = http

    async def send(
        self, content: bytes | AsyncIterator[bytes], headers: Mapping[str, str], *, url: str = "", method: str = "POST"
    ) -> Answer:
        """Send a request; raises SinkError without an answer, for a redirect, and where the server wants less or nothing now."""
        import httpx  # noqa: PLC0415 # see above

        try:
            got = await self._client.request(
                method, url or self._http.url, content=content or None, headers=dict(headers)
            )
        except httpx.HTTPError as error:
            raise SinkError(f"the server is away: {str(error) or type(error).__name__}") from error
        answer = Answer(got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.text)
        if 300 <= answer.status < 400:
            raise SinkError(f"the server redirects ({answer.status}), which is not followed")
        if answer.status in (408, 425, 429) or answer.status >= 500:
            self._http.leave_alone(answer)
            raise SinkError(str(answer))
        return answer


def retry_after(text: str) -> float:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3); 0 for anything else."""
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _tls(options: HttpOptions, place: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        if options.certificate:
            context.load_cert_chain(options.certificate, options.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{place}: the certificates cannot be used: {error}") from error
    return context
