"""The statistical model: what it learns from lists, what it says of others, how it is kept."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from headend.drivers.library import Library
from headend.errors import ConfigError
from headend.model.fingerprint import Fingerprint
from headend.services.discovery.classification.calibration import (
    Case,
    expected_calibration_error,
    fit,
    probability,
    wilson,
)
from headend.services.discovery.classification.features import features, object_features
from headend.services.discovery.classification.model_file import dump, load, shipped
from headend.services.discovery.classification.training import thinned, train
from headend.services.discovery.classification.views import Views, read_views
from headend.services.discovery.classify import Classifier

from .collection import objects, write, write_all


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    folder = tmp_path_factory.mktemp("views")
    write_all(folder)
    return read_views(folder)


def seen(found: list[tuple[int, int, str]], **facts: str) -> Fingerprint:
    named = []
    for class_id, version, code in found:
        a, b, c, d, e, f = code.split(".")
        named.append((class_id, version, f"{a}-{b}:{c}.{d}.{e}.{f}"))
    return Fingerprint(digest="", facts={"protocol": "dlms", **facts}, objects=tuple(named))


def test_equal_lists_of_a_maker_are_one_and_those_of_nobody_are_left_out(views: Views) -> None:
    assert (views.files, views.nobody, views.ambiguous, len(views.samples)) == (27, 2, 0, 24)
    assert [each.models for each in views.specifications] == [("SPEC",)]
    (doubled,) = [sample for sample in views.samples if len(sample.files) == 2]
    assert doubled.vendor == "Alpha"
    assert doubled.models == ("M0", "M0 again")
    assert all(sample.may_be_carried for sample in views.samples)


def test_a_list_that_two_makers_have_is_nobodys(tmp_path: Path) -> None:
    write(tmp_path, "a", "Alpha", "M", objects(0, 0))
    write(tmp_path, "b", "Beta", "M", objects(0, 0))
    write(tmp_path, "c", "Beta", "unknown (seen once)", objects(1, 0), licence="no licence file")
    found = read_views(tmp_path)
    assert found.ambiguous == 1
    (sample,) = found.samples
    assert sample.models == ("",)
    assert not sample.may_be_carried


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"objects": [{"class_id": 1}]}', '{"objects": [{"class_id": 1, "obis": "1.2"}]}']
)
def test_what_is_no_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        read_views(tmp_path)


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no object lists"):
        read_views(tmp_path)
    with pytest.raises(ConfigError, match="no labelled"):
        train([])


def test_features_tell_code_kind_and_version() -> None:
    assert object_features(3, 0, "1-0:1.8.0.255") == ("3/1-0:1.8.0", "1-*:1.8", "3 version 0")
    assert object_features(3, -1, "1-0:1.8.0.255") == ("3/1-0:1.8.0", "1-*:1.8")
    assert object_features(0, 0, "holding/0x0001/u16") == ("0/holding/0x0001/u16",)
    assert len(features([(3, 0, "1-0:1.8.1.255"), (3, 0, "1-0:1.8.2.255")])) == 4


def test_a_list_that_was_never_seen_is_told_by_others_of_its_maker(views: Views) -> None:
    classifier = Classifier((), train(views.samples))
    found = classifier.classify(seen(objects(2, 1, seed=77)))
    assert (found.vendor, found.model, found.method) == ("Gamma", "M1", "model")
    assert found.confidence > 0.8
    assert 0 < found.model_confidence <= found.confidence
    assert found.reasons[0].fact == "objects"
    assert any(each.model == "M0" for each in found.runners_up)


@pytest.mark.parametrize("kept", [0.9, 0.7, 0.5])
def test_a_part_of_a_list_is_told_too(views: Views, kept: float) -> None:
    classifier = Classifier((), train(views.samples))
    for sample in views.samples[::5]:
        part = Fingerprint(digest="", facts={}, objects=thinned(sample, kept))
        assert classifier.classify(part).vendor == sample.vendor


def test_a_maker_that_was_never_seen_is_unknown(views: Views) -> None:
    model = train([sample for sample in views.samples if sample.vendor != "Beta"])
    for sample in views.samples:
        if sample.vendor == "Beta":
            found = Classifier((), model).classify(sample.fingerprint())
            assert (found.vendor, found.method) == ("", "none")
            assert found.confidence > 0.5


def test_next_to_nothing_tells_nothing(views: Views) -> None:
    model = train(views.samples)
    assert not model.witnesses(seen([(1, 0, "0.0.42.0.0.255")]))
    assert not model.witnesses(Fingerprint(digest="", facts={}, objects=((0, 0, "holding/0x0001/u16"),) * 9))


def test_an_identifier_outweighs_objects_that_look_like_somebody_elses(views: Views) -> None:
    found = Classifier((), train(views.samples)).classify(
        seen(objects(0, 0, seed=5), logical_device_name="ISK1030789375606", system_title="49534b677513bf3b")
    )
    assert found.vendor == "Iskraemeco"
    assert any(each.fact == "objects" for each in found.against)
    assert any(each.vendor == "Alpha" for each in found.runners_up)


def test_behaviour_counts_where_it_is_known_of_both(tmp_path: Path) -> None:
    write_all(tmp_path)
    found = objects(0, 0, seed=1)
    write(tmp_path, "Alpha-0-1", "Alpha", "M0", found, settings={"max_pdu": "200", "use_ln": "true"})
    model = train(read_views(tmp_path).samples)
    names = features(seen(found).objects)

    def likeness(behaves: dict[str, str]) -> float:
        return next(
            each.likeness for each in model.rank(names, behaves) if (each.vendor, each.model) == ("Alpha", "M0")
        )

    assert likeness({"max_pdu": "200"}) > likeness({}) > likeness({"max_pdu": "1024"})
    assert likeness({"dlms_version": "6"}) == likeness({})


def test_association_and_hdlc_objects_tell_the_behaviour(tmp_path: Path) -> None:
    view = {
        "vendor": "Alpha",
        "objects": [
            # xDLMS context info as public type files hold it: conformance 40 1E 1D, 1024 octets both ways, version 6
            {
                "class_id": 15,
                "version": 1,
                "obis": "0.0.40.0.0.255",
                "attr_values_hex": {"5": "02060418401e1d12040012040011060f000900"},
            },
            {"class_id": 23, "version": 1, "obis": "0.0.22.0.0.255", "attr_values_hex": {"3": "1101", "5": "120080"}},
        ],
    }
    (tmp_path / "one.json").write_text(json.dumps(view), encoding="utf-8")
    (sample,) = read_views(tmp_path).samples
    assert sample.facts == {
        "conformance": "401e1d",
        "max_pdu": "1024",
        "dlms_version": "6",
        "hdlc_window_transmit": "1",
        "hdlc_max_info_transmit": "128",
    }


def test_training_twice_gives_the_same_file_and_the_file_the_same_model(views: Views) -> None:
    text = dump(train(views.samples))
    assert text == dump(train(read_views_again(views)))
    again = load(text, "model.json")
    assert dump(again) == text
    assert again.training.lists == 24
    assert again.training.sha256 == views.digest
    for sample in views.samples[::4]:
        assert again.witnesses(sample.fingerprint()) == train(views.samples).witnesses(sample.fingerprint())


def read_views_again(views: Views) -> list[Any]:
    return list(views.samples)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda document: json.dumps(document)[:-1], "no JSON"),
        (lambda document: json.dumps([document]), "no model file"),
        (lambda document: json.dumps(document | {"format": "else"}), "no model file"),
        (lambda document: json.dumps(document | {"version": 2}), "version 2"),
        (lambda document: json.dumps(document | {"coefficients": [1.0]}), "coefficients"),
        (lambda document: json.dumps(document | {"features": {"x": [1.0, {"99": 1.0}]}}), "broken"),
        (lambda document: json.dumps(document | {"features": {"x": [1.0, {"-1": 1.0}]}}), "prototype -1"),
        (lambda document: json.dumps(document | {"features": {"x": "y"}}), "broken"),
        (lambda document: json.dumps({key: document[key] for key in document if key != "unseen"}), "unseen"),
        (lambda document: json.dumps(document | {"prototypes": [{}]}), "broken"),
    ],
)
def test_a_file_that_is_no_model_says_what_is_wrong(views: Views, change: Any, says: str) -> None:
    document = json.loads(dump(train(views.samples)))
    with pytest.raises(ConfigError, match=says) as raised:
        load(change(document), "mine.json")
    assert "mine.json" in str(raised.value)


def test_the_model_that_comes_along_holds_only_what_may_be_handed_on() -> None:
    model = shipped()
    assert model.training.sources
    for source, licence, lists in model.training.sources:
        assert "/" in source
        assert "no licence" not in licence
        assert lists > 0
    assert sum(each.lists for each in model.prototypes) >= model.training.lists
    assert {each.vendor for each in model.prototypes} >= {"Kamstrup", "Landis+Gyr", "KPZ"}


def test_classifying_with_the_model_takes_less_than_two_milliseconds() -> None:
    classifier = Classifier(Library(), shipped())
    known = max(shipped().prototypes, key=lambda each: each.lists)
    codes = [name.split("/") for name in known.shares if "/" in name]
    print_ = Fingerprint(
        digest="",
        facts={"protocol": "dlms", "logical_device_name": "KPZ1020000000001"},
        objects=tuple((int(class_id), 0, f"{code}.255") for class_id, code in codes),
    )
    assert len(print_.objects) > 100
    assert classifier.classify(print_).vendor == known.vendor
    fastest = 1.0
    for _ in range(30):
        began = time.thread_time()
        classifier.classify(print_)
        fastest = min(fastest, time.thread_time() - began)
    assert fastest < 0.002


def test_a_logistic_regression_finds_what_speaks_for_right() -> None:
    cases = [Case(measures=(x / 50,), right=x >= 25) for x in range(50)]
    found = fit(cases)
    assert probability(found, (0.9,)) > 0.95
    assert probability(found, (0.1,)) < 0.05
    assert probability(found, (0.49,)) == pytest.approx(0.5, abs=0.1)


def test_a_measure_that_may_only_grow_is_left_out_where_it_falls() -> None:
    cases = [Case(measures=(x / 50, 1.0), right=x < 25) for x in range(50)]
    assert fit(cases)[1] < 0
    assert fit(cases, growing=(0,))[1] == pytest.approx(0.0)


def test_how_far_stated_and_real_agree() -> None:
    assert expected_calibration_error([]) == 0
    assert expected_calibration_error([(0.8, True)] * 4 + [(0.8, False)]) == pytest.approx(0.0)
    assert expected_calibration_error([(1.0, False)] * 3) == pytest.approx(1.0)
    # Wilson (1927), as in every textbook: 8 of 10
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
