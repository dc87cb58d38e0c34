from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.errors import ConfigError
from headend.model import discovery_json as codec
from headend.model.discovery import Evidence, Examination, Fact, Sighting, Trial, TrialOutcome
from headend.model.fingerprint import Candidate, Classification, Fingerprint, Reason
from headend.model.meter import Endpoint, EndpointKind, MeterIdentity
from headend.model.objects import ObjectInfo, ObjectRef

TEXT = st.text(max_size=12)
INT = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(0, 65535)
SHARE = st.floats(0, 1)
PARAMS = st.dictionaries(TEXT, TEXT, max_size=3)
INDICES = st.lists(SMALL, max_size=3).map(tuple)


def some(thing: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(thing, max_size=3).map(tuple)


ENDPOINTS = st.builds(
    Endpoint, kind=st.sampled_from(EndpointKind), host=TEXT, port=SMALL, path=TEXT, baud=SMALL, line=TEXT
)
TRIALS = st.builds(
    Trial,
    client=SMALL,
    server=SMALL,
    referencing=TEXT,
    context=TEXT,
    mechanism=TEXT,
    outcome=st.sampled_from(TrialOutcome),
    max_pdu=st.none() | SMALL,
    evidence=INDICES,
)
OBJECTS = st.builds(
    ObjectInfo,
    ref=st.builds(ObjectRef, TEXT, TEXT),
    class_id=st.none() | SMALL,
    version=st.none() | SMALL,
    history=st.booleans(),
    attributes=st.dictionaries(st.integers(-128, 127), TEXT, max_size=3),
    methods=st.dictionaries(st.integers(-128, 127), TEXT, max_size=3),
)
EXAMINATIONS = st.builds(
    Examination,
    endpoint=ENDPOINTS,
    protocol=TEXT,
    framing=TEXT,
    params=PARAMS,
    identity=st.builds(MeterIdentity, serial=TEXT, system_title=TEXT),
    facts=some(st.builds(Fact, name=TEXT, value=TEXT, evidence=INDICES, note=TEXT)),
    trials=some(TRIALS),
    objects=some(OBJECTS),
    values=PARAMS,
    evidence=some(
        st.builds(Evidence, probe=TEXT, at=INT, sent=st.binary(max_size=9), received=st.binary(max_size=9), note=TEXT)
    ),
    associations=SMALL,
    stopped=TEXT,
)
REASONS = some(st.builds(Reason, text=TEXT, fact=TEXT, weight=st.floats(-9, 9)))


@given(EXAMINATIONS)
def test_an_examination_comes_back_as_it_went(examination: Examination) -> None:
    assert codec.examination_from(codec.to_json(examination)) == examination


@given(
    st.builds(
        Sighting,
        protocol=TEXT,
        framing=TEXT,
        params=PARAMS,
        evidence=INDICES,
        note=TEXT,
        endpoint=st.none() | ENDPOINTS,
    )
)
def test_a_sighting_comes_back_as_it_went(sighting: Sighting) -> None:
    assert codec.sighting_from(codec.to_json(sighting)) == sighting


@given(
    st.builds(Fingerprint, digest=TEXT, facts=PARAMS, unobserved=PARAMS, objects=some(st.tuples(SMALL, SMALL, TEXT)))
)
def test_a_fingerprint_comes_back_as_it_went(fingerprint: Fingerprint) -> None:
    assert codec.fingerprint_from(codec.to_json(fingerprint)) == fingerprint


@given(
    st.builds(
        Classification,
        vendor=TEXT,
        confidence=SHARE,
        reasons=REASONS,
        against=REASONS,
        runners_up=some(st.builds(Candidate, vendor=TEXT, model=TEXT, confidence=SHARE)),
    )
)
def test_a_classification_comes_back_as_it_went(classification: Classification) -> None:
    assert codec.classification_from(codec.to_json(classification)) == classification


def test_half_of_a_character_is_kept() -> None:
    endpoint = Endpoint(kind=EndpointKind.TCP, host="192.0.2.1", port=4059)
    odd = Examination(
        endpoint=endpoint,
        protocol="dlms",
        framing="wrapper",
        values={"x": "\udc80"},
        objects=(ObjectInfo(ref=ObjectRef("dlms", "1"), attributes={1: "r"}),),
        evidence=(Evidence(probe="p", at=1, sent=b"\x00", received=b"\xff"),),
        trials=(
            Trial(client=16, server=1, referencing="ln", context="ln", mechanism="none", outcome=TrialOutcome.SILENT),
        ),
    )
    assert codec.examination_from(codec.to_json(odd)) == odd


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"endpoint": 3}', b'{"objects": [[1]], "digest": 1}'])
def test_what_is_something_else_is_said_to_be(data: bytes) -> None:
    for read in (codec.examination_from, codec.sighting_from, codec.fingerprint_from, codec.classification_from):
        with pytest.raises(ConfigError):
            read(data)
