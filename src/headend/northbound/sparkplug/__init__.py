"""Sparkplug B: the head-end as an edge node, each meter a device."""

from headend.northbound.sparkplug.sink import kind

__all__ = ["kind"]
