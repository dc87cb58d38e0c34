"""Base names: where attributes and methods are, the object list of an association, names that are given away."""

from __future__ import annotations

import itertools

import pytest

from headend.errors import ConfigError, DecodeError
from headend.protocols.dlms.axdr import decode_data, encode_data
from headend.protocols.dlms.short_names import (
    RESERVED,
    Member,
    ShortNames,
    ShortObject,
    assign_names,
    to_short_names,
)
from headend.standards.cosem import classes, find_class
from headend.standards.obis import Obis

NAME = Obis(1, 0, 1, 8, 0)


def test_attributes_and_methods_of_the_standard() -> None:
    register = ShortObject(0x0700, 3, 0, NAME)
    assert [register.attribute(each) for each in (1, 2, 3)] == [0x0700, 0x0708, 0x0710]
    assert register.method(1) == 0x0728
    assert register.attribute(0) is register.attribute(-1) is register.method(2) is None
    association = ShortObject(0xFA00, 12, 0, Obis(0, 0, 40, 0, 0))
    assert association.attribute(2) == 0xFA08
    assert association.method(3) == 0xFA30  # read_by_logicalname
    assert association.method(8) == 0xFA58  # reply_to_HLS_authentication
    assert ShortObject(0x100, 70, 0, NAME).method(2) == 0x128
    assert ShortObject(0x100, 8, 0, NAME).method(6) == 0x188
    assert ShortObject(0x100, 7, 1, NAME).method(2) == 0x160
    assert ShortObject(0xFFF8, 3, 0, NAME).attribute(2) is None
    assert ShortObject(0xFFF8, 3, 0, NAME).method(1) is None
    assert ShortObject(0x100, 9999, 0, NAME).method(1) is None


def test_every_name_of_every_class_is_found_again() -> None:
    for known in itertools.chain.from_iterable(classes().values()):
        target = ShortObject(0x1000, known.class_id, known.last_version, NAME)
        for attribute_id in known.attributes:
            name = target.attribute(attribute_id)
            assert name is not None
            assert target.member(name) == Member(target, attribute_id, is_method=False)
        for method_id in known.methods:
            name = target.method(method_id)
            if name is not None:
                assert target.member(name) == Member(target, method_id, is_method=True)
        assert target.member(0x1001) is target.member(0xFF8) is target.member(0x1800) is None


def test_objects_of_an_unknown_class_have_attributes() -> None:
    target = ShortObject(0x1000, 9999, 0, NAME)
    assert target.member(0x1008) == Member(target, 2, is_method=False)
    assert target.member(0x1080) is None


def test_given_names_do_not_overlap() -> None:
    wanted = [
        (known.class_id, known.last_version, Obis(0, 0, 1, 2, at))
        for at, known in enumerate(itertools.chain.from_iterable(classes().values()))
        if find_class(known.class_id, known.last_version) is known
    ]
    wanted += [(class_id, 0, name) for class_id, name in RESERVED]
    names = assign_names(wanted)
    assert names.objects == assign_names(wanted).objects
    taken: dict[int, Member] = {}
    for target in names.objects:
        for name in range(target.base_name, min(target.base_name + 0x180, 0x10000)):
            member = names.member(name)
            if member is not None and member.target is target:
                assert taken.setdefault(name, member) is member
    for class_id, version, name in wanted:
        found = names.find(class_id, name)
        assert found is not None
        assert (found.version, found.logical_name) == (version, name)
    for key, base_name in RESERVED.items():
        found = names.find(*key)
        assert found is not None
        assert found.base_name == base_name
    assert names.find(3, Obis(9, 9, 9, 9, 9)) is None
    assert ShortNames(()).member(0) is None


def test_more_objects_than_names() -> None:
    with pytest.raises(ConfigError):
        assign_names((3, 0, Obis(1, 0, at // 256, at % 256, 0)) for at in range(2000))


def test_the_object_list() -> None:
    # array of 2: long base name (negative from 8000 on), class, version, logical name
    octets = bytes.fromhex("0102 0204 100700 120003 1100 0906 0100010800ff 0204 10fa00 12000c 1102 0906 0000280000ff")
    names = to_short_names(decode_data(octets)[0])
    assert names.objects == [ShortObject(0x0700, 3, 0, NAME), ShortObject(0xFA00, 12, 2, Obis(0, 0, 40, 0, 0))]
    assert b"".join(encode_data(each.to_data()) for each in names.objects) == octets[2:]
    assert names.member(0x0708) == Member(names.objects[0], 2, is_method=False)
    assert names.member(0xFA58) == Member(names.objects[1], 8, is_method=True)
    assert names.member(0x0730) is names.member(0x0100) is None


@pytest.mark.parametrize("value", [5, [5], [[1, 2, 3]], [[1, 2, 3, b"12345"]], [["1", 2, 3, b"123456"]]])
def test_object_lists_that_are_none(value: object) -> None:
    with pytest.raises(DecodeError):
        to_short_names(value)  # type: ignore[arg-type] # what a meter may say
