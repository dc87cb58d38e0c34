"""Many meters at once, into the database and the head-end that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from headend.errors import HeadendError
from headend.model.meter import Meter, Secret
from headend.web.access import ADMIN
from headend.web.parts import WebParts
from headend.web.problems import Refused
from headend.web.routes import Parts, router
from headend.web.routes.meters import meter_of
from headend.web.schemas import meters as schemas

api = router("meters")

_AT_ONCE: Final = 100
"""Meters that the head-end takes in without doing anything else."""


@api.post("/meters/import", operation_id="importMeters", openapi_extra=ADMIN)
async def import_meters(body: schemas.MeterList, parts: Parts) -> schemas.MetersImported:
    """Add many meters at once, or change those that are known by their id: all of them, or none when one is wrong.

    A meter without id gets its name as one, if that can be an id. How many fit is a matter of the greatest body that the
    server takes (`web.max_body_octets`): some 8000 by default.
    """
    meters, secrets = _described(parts, body)
    added, changed = await asyncio.to_thread(_put, parts, meters, secrets)
    for number, meter in enumerate((*added, *changed), 1):
        if meter.id in parts.roster:
            parts.roster.update(meter)
        else:
            parts.roster.add(meter)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return schemas.MetersImported(added=len(added), changed=len(changed), same=len(meters) - len(added) - len(changed))


def _described(parts: WebParts, body: schemas.MeterList) -> tuple[Sequence[Meter], Mapping[str, Mapping[str, Secret]]]:
    """The meters of a body, and the secrets of each; raises Refused naming the first that is wrong."""
    meters: dict[str, Meter] = {}
    secrets: dict[str, Mapping[str, Secret]] = {}
    for index, each in enumerate(body.meters):
        place = f"body.meters.{index}"
        named = each if each.id is not None else each.model_copy(update={"id": schemas.id_of(each.name)})
        try:
            meter, own = meter_of(parts, named)
        except Refused as error:
            raise Refused(error.code, error.detail, hint=error.hint, field=place) from None
        except HeadendError as error:
            raise Refused("invalid-request", error.message, hint=error.hint, field=place) from None
        if meter.id in meters:
            raise Refused("invalid-request", f"there is a meter {meter.id!r} before it", field=place)
        meters[meter.id] = meter
        if own:
            secrets[meter.id] = own
    return list(meters.values()), secrets


def _put(
    parts: WebParts, meters: Sequence[Meter], secrets: Mapping[str, Mapping[str, Secret]]
) -> tuple[Sequence[Meter], Sequence[Meter]]:
    done = parts.store.meters.put_all(meters)
    for meter_id, own in secrets.items():
        for name, secret in own.items():
            parts.store.secrets.put(meter_id, name, secret)
    return done
