"""What is shipped beside the package: alert rules that fire when they should, and a unit that systemd understands."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "headend.rules.yml"
UNIT = DEPLOY / "systemd" / "headend.service"
TELEMETRY = Path(__file__).parents[2] / "src" / "headend" / "telemetry.py"


def test_the_rules_alert_when_they_should(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    tests = tmp_path / "tests.yml"
    tests.write_text((Path(__file__).parent / "headend.rules.test.yml").read_text().replace("RULES", str(RULES)))
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_and_names_metrics_that_there_are() -> None:
    text = RULES.read_text()
    tests = (Path(__file__).parent / "headend.rules.test.yml").read_text()
    names = re.findall(r"alert: (\w+)", text)
    assert names
    assert [name for name in names if f"alertname: {name}" not in tests] == []
    declared = set(re.findall(r'"(headend_\w+)"', TELEMETRY.read_text()))
    used = set(
        re.findall(r"headend_\w+", "\n".join(line for line in text.splitlines() if "expr" in line or "sum(" in line))
    )
    assert used - declared == set()


def test_the_unit_is_hardened_and_watched(tmp_path: Path) -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # names of directives have capitals
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    assert int(service["WatchdogSec"]) > 0
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace(service["ExecStart"].split()[0], "/bin/true"))
    checked = subprocess.run(
        [analyze, "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "headend.service" not in checked.stderr, checked.stderr
    security = subprocess.run(
        [analyze, "security", "--offline=yes", str(UNIT)], capture_output=True, text=True, check=False, timeout=60
    )
    exposure = re.search(r"exposure level for headend.service: ([\d.]+)", security.stdout)
    assert exposure is None or float(exposure[1]) < 2.5, security.stdout
