"""InfluxDB, and whatever else takes its line protocol."""

from headend.northbound.influx.sink import kind

__all__ = ["kind"]
