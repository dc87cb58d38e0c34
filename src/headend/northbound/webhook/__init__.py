"""Webhooks: what is stored as signed CloudEvents over HTTP."""

from headend.northbound.webhook.sink import kind

__all__ = ["kind"]
