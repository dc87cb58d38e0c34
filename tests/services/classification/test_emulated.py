"""Emulated meters of the models that come along are told, whole and changed."""

from headend.services.discovery.classification.emulated import evaluate_emulated, samples_of
from headend.services.discovery.classification.model_file import shipped
from headend.services.discovery.classification.report import markdown


def test_a_list_is_made_for_each_model() -> None:
    samples = list(samples_of(shipped()))
    assert len(samples) == len(shipped().prototypes)
    assert all(sample.objects for sample in samples)
    assert all(name.endswith(".255") and class_id > 0 for each in samples for class_id, _, name in each.objects)


def test_emulated_meters_are_told_though_they_change() -> None:
    found = evaluate_emulated(shipped())
    assert {"as it is", "50 % of the objects missing", "another firmware", "identity objects blanked"} <= set(found)
    for name, each in found.items():
        assert each["maker"]["share"] >= 0.9, name
        assert each["model_among_three"]["share"] >= 0.8, name
    assert "| as it is | 100.0 %" in markdown({"emulated": found})
