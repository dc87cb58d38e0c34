"""Provisioning: a device that has no access token yet asks for one, with the key and the secret of its device profile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

import aiomqtt
import orjson

from headend.errors import SinkError, SinkRefused
from headend.model.jsontext import dumps
from headend.model.meter import Secret
from headend.northbound.brokered import connection, incoming
from headend.northbound.client import Broker
from headend.northbound.thingsboard.rpc import parse_object

USER: Final = "provision"
REQUEST: Final = "/provision/request"
RESPONSE: Final = "/provision/response"
SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Key and secret of a device profile that lets devices come by themselves."""

    key: Secret
    secret: Secret

    async def token(self, broker: Broker, device: str) -> Secret:
        """The access token of a new device; raises SinkRefused when the platform says no, SinkError when it is away."""
        asked = {
            "deviceName": device,
            "provisionDeviceKey": self.key.reveal().decode(),
            "provisionDeviceSecret": self.secret.reveal().decode(),
        }
        ours = replace(broker, username=USER, password=None, client_id="")
        try:
            async with asyncio.timeout(SECONDS), connection(ours, subscribe=[RESPONSE]) as client:
                await client.publish(REQUEST, dumps(asked), qos=1, retain=False, properties=None, timeout=SECONDS)
                async for message in incoming(client):
                    if message.topic.value == RESPONSE:
                        return _token(bytes(message.payload or b""), device)
        except TimeoutError:
            raise SinkError(f"the platform does not answer the provisioning of {device!r}") from None
        except aiomqtt.MqttError as error:
            raise SinkError(f"the platform is away: {error}") from error
        raise SinkError("the platform closed the connection")


def _token(payload: bytes, device: str) -> Secret:
    try:
        said = parse_object(payload)
    except (orjson.JSONDecodeError, ValueError):
        said = {}
    value, kind = said.get("credentialsValue"), said.get("credentialsType", "ACCESS_TOKEN")
    if said.get("status") == "SUCCESS" and kind == "ACCESS_TOKEN" and isinstance(value, str) and value:
        return Secret(value.encode())
    reason = said.get("errorMsg") or said.get("status") or "an answer without credentials"
    raise SinkRefused(f"the platform does not provision {device!r}: {reason}")
