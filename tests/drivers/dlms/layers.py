"""Looking into the layers that explaining makes."""

from __future__ import annotations

from collections.abc import Iterator

from headend.drivers.base import Layer


def walk(layer: Layer) -> Iterator[Layer]:
    """The layer and all below it, outermost first."""
    yield layer
    for inner in layer.layers:
        yield from walk(inner)


def names(layer: Layer) -> list[str]:
    """Names of all layers without the documents they stand in."""
    return [each.name.partition(" (IEC")[0] for each in walk(layer)]


def field(layer: Layer, name: str) -> str:
    """The first field of that name, at any depth."""
    return next((value for each in walk(layer) for key, value, _, _ in each.fields if key == name), "")


def errors(layer: Layer) -> list[str]:
    """Everything that is wrong."""
    return [each.error for each in walk(layer) if each.error]


def readings(layer: Layer) -> dict[str, str]:
    """Values by OBIS code."""
    found = (each for each in walk(layer) if each.name.startswith("Readings"))
    return {name.split()[0]: value for each in found for name, value, _, _ in each.fields}


def check_places(layer: Layer, length: int) -> None:
    """Every layer and field lies inside the input and inside its layer; fields and plain layers are in order."""
    assert 0 <= layer.offset <= layer.offset + layer.length <= length, layer.name
    end = layer.offset + layer.length
    places = [(offset, size) for _, _, offset, size in layer.fields]
    places += [(inner.offset, inner.length) for inner in layer.layers]
    for offset, size in places:
        assert layer.offset <= offset <= offset + size <= end, (layer.name, offset, size)
    told_again = ("Readings", "put together")
    inner = [each.offset for each in layer.layers if not each.name.startswith(told_again)]
    assert inner == sorted(inner), layer.name
    if not layer.name.startswith("Readings"):
        starts = [offset for _, _, offset, _ in layer.fields]
        assert starts == sorted(starts), layer.fields
    for each in layer.layers:
        check_places(each, length)
