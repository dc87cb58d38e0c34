"""Access tokens of meters: where the settings say, or in a folder, one file for each meter, readable by nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from headend.errors import ConfigError
from headend.model.meter import Secret

SUFFIX = ".token"


class Tokens:
    """Finds the token of a meter, and keeps those that provisioning gives."""

    def __init__(self, places: Mapping[str, str], folder: str, secret: Callable[[str], Secret]) -> None:
        """Raises ConfigError for a place where there is no secret."""
        self._known = {meter_id: secret(place) for meter_id, place in places.items()}
        self._folder = Path(folder).expanduser() if folder else None
        if self._folder is not None and self._folder.is_dir():
            for file in sorted(self._folder.glob(f"*{SUFFIX}")):
                meter_id = unquote(file.name.removesuffix(SUFFIX))
                self._known.setdefault(meter_id, secret(f"file:{file}"))

    def __contains__(self, meter_id: str) -> bool:
        return meter_id in self._known

    def find(self, meter_id: str) -> Secret | None:
        """The token of a meter; None where there is none."""
        return self._known.get(meter_id)

    def keep(self, meter_id: str, token: Secret) -> None:
        """Keep the token of a meter for good; raises ConfigError where it cannot be written."""
        if self._folder is None:
            raise ConfigError("a token needs the setting `token_folder` of the sink: it has to be kept")
        file = self._folder / f"{quote(meter_id, safe='')}{SUFFIX}"
        new = file.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(token.reveal())
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(file)
        except OSError as error:
            raise ConfigError(f"cannot keep a token in {self._folder}: {type(error).__name__}") from None
        self._known[meter_id] = token

    def drop(self, meter_id: str) -> None:
        """Forget the token of a meter that is gone, and remove its file if there is one."""
        self._known.pop(meter_id, None)
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / f"{quote(meter_id, safe='')}{SUFFIX}").unlink()
