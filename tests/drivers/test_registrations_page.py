"""The page of registrations: what it says there is, and its example is right. UPDATE_DOCS=1 writes the table."""

from __future__ import annotations

import os
import re
from pathlib import Path

from headend.drivers import registrations
from headend.drivers.registrations import built_in, load_registration
from headend.protocols.frame_layout import Algorithm, Form
from headend.protocols.registration import Kind, Policy, Registered

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "registrations.md"
MARK = "<!-- families -->\n"


def families() -> str:
    lines = ["| file | what | frames | acknowledged | then | source |", "| --- | --- | --- | --- | --- | --- |"]
    for name, each in built_in().files.items():
        registration = each.registration
        kinds = ", ".join(dict.fromkeys(form.kind.value for form in registration.frames))
        answered = any(form.acknowledgement for form in registration.frames)
        then = " ".join(filter(None, (registration.protocol, registration.framing))) or "as recognised"
        policy = registration.policy.value if answered else "no"
        lines.append(f"| `{name}` | {registration.name} | {kinds} | {policy} | {then} | {registration.source} |")
    return "\n" + "\n".join(lines) + "\n"


def test_the_table_says_what_there_is() -> None:
    text, _, table = PAGE.read_text(encoding="utf-8").partition(MARK)
    if os.environ.get("UPDATE_DOCS") == "1":
        PAGE.write_text(text + MARK + families(), encoding="utf-8")
        return
    assert table == families(), "run UPDATE_DOCS=1 pytest tests/drivers/test_registrations_page.py"


def test_the_example_is_right() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = load_registration(example, "example")
    (test,) = found.tests
    said = found.registration.match(test.octets)
    assert isinstance(said, Registered)
    assert (said.kind, said.number, said.check_ok) == (test.kind, test.number, test.check_ok)
    assert said.acknowledgement == test.acknowledgement


def test_every_key_and_word_stands_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    keys = set().union(*(value for name, value in vars(registrations).items() if name.endswith("_KEYS")))
    words = {member.value for kind in (Algorithm, Form, Kind, Policy) for member in kind}
    assert not {word for word in keys | words if not re.search(rf"\b{re.escape(word)}\b", text)}
