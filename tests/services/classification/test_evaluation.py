"""The evaluation: its figures by hand on a made-up collection, its minimums on the collected lists."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headend.cli.main import app
from headend.services.discovery.classification.evaluation import Verdict, evaluate, figures
from headend.services.discovery.classification.report import markdown
from headend.services.discovery.classification.views import read_views

from .collection import write_all

SIGNATURES = [
    {"manufacturer": "iskraemeco", "system_title": "49534b677513bf3b", "ascii": []},
    {"manufacturer": "kaifa", "apdu_tag": "2f", "ascii": ["KFM5KAIFA-METER"]},
    {"manufacturer": "kamstrup", "ident": "/KAM5", "ascii": ["Kamstrup_V0001"]},
    {"manufacturer": "iskraemeco", "ascii": ["ISK1030789375606"]},
    {"manufacturer": "landis-gyr", "ascii": []},
]


def verdict(vendor: str, said: str, confidence: float, *, known: bool = True, nearest: str = "A") -> Verdict:
    return Verdict(vendor=vendor, known=known, said=said, confidence=confidence, likest=said or "A", nearest=nearest)


def test_figures_are_what_they_say() -> None:
    found = figures(
        [
            verdict("A", "A", 1.0),
            verdict("A", "A", 1.0),
            verdict("A", "", 0.5),
            verdict("B", "A", 0.9),
            verdict("C", "", 0.8, known=False),
            verdict("D", "B", 0.7, known=False),
        ]
    )
    known = found["makers_known"]
    assert (known["right"]["right"], known["right"]["n"]) == (2, 4)
    assert known["macro"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-3)
    assert known["said_unknown"]["right"] == 1
    assert known["likest"]["right"] == 3
    assert found["nearest_neighbour"]["right"]["right"] == 3
    assert found["makers_never_seen"]["said_unknown"]["share"] == 0.5
    assert found["of_those_named_right"]["share"] == 0.5
    assert found["all_decisions_right"]["right"] == 3
    assert found["ece"] == pytest.approx((0 + 0 + 0.5 + 0.9 + 0.2 + 0.7) / 6, abs=1e-3)
    assert {(each["is"], each["said"]) for each in found["confusion"]} == {("A", "unknown"), ("B", "A"), ("D", "B")}


def test_lists_that_differ_by_maker_are_told_and_makers_left_out_are_unknown(tmp_path: Path) -> None:
    write_all(tmp_path)
    results = evaluate(read_views(tmp_path), SIGNATURES)
    lists = results["lists"]
    assert lists["one list left out"]["makers_known"]["right"]["share"] == 1
    assert lists["one maker left out"]["makers_never_seen"]["said_unknown"]["share"] == 1
    assert lists["one list left out"]["model_among_three"]["share"] == 1
    assert lists["another firmware"]["n"] == 24
    assert lists["lists of specifications"]["makers_never_seen"]["said_unknown"]["right"] == 1
    assert results["calibration"]["n"] == 48
    assert results["pushes"]["readable"]["right"] == results["pushes"]["readable"]["n"] == 4
    assert results["pushes"]["not_readable_said_unknown"]["right"] == 1
    text = markdown(results)
    assert "| one maker left out | 100.0 % (24/24;" in text


def test_the_commands_train_and_evaluate(tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    write_all(views)
    model, figures_, pushes = tmp_path / "model.json", tmp_path / "figures.json", tmp_path / "pushes.json"
    pushes.write_text(json.dumps(SIGNATURES), encoding="utf-8")
    trained = CliRunner().invoke(app, ["model", "train", "--views", str(views), "-o", str(model), "--carried"])
    assert trained.exit_code == 0, trained.output
    assert "24 distinct lists of 4 makers" in trained.output
    assert json.loads(model.read_text(encoding="utf-8"))["format"] == "headend-model"
    arguments = ["model", "evaluate", "--views", str(views), "--pushes", str(pushes), "-o", str(figures_)]
    shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output) == json.loads(figures_.read_text(encoding="utf-8"))
    alone = CliRunner().invoke(app, ["model", "evaluate"])
    assert "emulated meters of models that were learned" in alone.output


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_collected_lists_are_told_as_well_as_the_documents_say(corpus: Path) -> None:
    signatures = json.loads((corpus / "push_signatures.json").read_text(encoding="utf-8"))
    results = evaluate(read_views(corpus / "association_views"), signatures)
    assert results["pushes"]["readable"]["share"] >= 0.97
    assert results["identifiers_of_all_forms"]["share"] >= 0.97
    listed, unseen = results["lists"]["one list left out"], results["lists"]["one maker left out"]
    assert listed["makers_known"]["likest"]["share"] >= listed["nearest_neighbour"]["right"]["share"]
    assert listed["makers_known"]["right"]["share"] >= 0.7
    assert listed["of_those_named_right"]["share"] >= 0.88
    assert listed["model_among_three"]["share"] >= 0.8
    assert unseen["makers_never_seen"]["said_unknown"]["share"] >= 0.9
    assert results["calibration"]["ece"] < 0.1
