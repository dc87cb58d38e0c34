"""Sinks for ThingsBoard: `thingsboard` by its gateway API, `thingsboard-device` by its device API.

```text
values, telemetry, attributes, news    what is said, as payloads                                        pure
limits                                 what the platform takes, and how that is kept to
platform                               one connection: publishes within the limits, asks, hears
rpc                                    remote calls, as the requests that the head-end answers
gateway, devices                       the two sinks
provisioning, tokens                   how a device comes by its access token, and where that is kept
```
"""

from __future__ import annotations

from headend.northbound.sink import SinkKind
from headend.northbound.thingsboard.devices import DeviceSink
from headend.northbound.thingsboard.gateway import GatewaySink
from headend.northbound.thingsboard.options import DeviceOptions, GatewayOptions

gateway = SinkKind(name="thingsboard", options=GatewayOptions, make=GatewaySink)
device = SinkKind(name="thingsboard-device", options=DeviceOptions, make=DeviceSink)
