"""The pages of profiles in a real browser: found, changed with a check of each stroke, restored, tried on a meter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from headend.model.access import Role
from headend.runtime.settings import load_settings
from headend.runtime.wiring import open_store
from tests.ports import free_port

from .test_console import (
    NAMELESS,
    PASSWORD,
    POOR_CONTRAST,
    SETTINGS,
    Background,
    Site,
    Tab,
    chromium,
    enter,
    tab,
)
from .test_console_alarms import sign_in

__all__ = ["chromium", "tab"]

FLEET = """
[[group]]
profile = "generic-dlms-1p"
count = 1
framing = "wrapper"
name = "flat-{{number:02}}"
first_address = "127.37.0.1"
port = {0}
"""
PATIENCE = 60_000
VIEWS = ("", "?show=text", "?show=revisions", "?show=difference", "?show=trial")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("profiles")
    meters, port = free_port(), free_port()
    (folder / "fleet.toml").write_text(FLEET.format(meters))
    (folder / "headend.toml").write_text(SETTINGS.format(port=port))
    fleet = Background("emulate", str(folder / "fleet.toml"), "--json", ready="[{")
    made = Site(folder=folder, port=port)
    try:
        enter(folder / "data", json.loads(fleet.said))
        with open_store(load_settings(None).model_copy(update={"data": str(folder / "data")})) as store:
            store.access.put_user("boss", Role.ADMIN, PASSWORD)
        made.start()
        yield made
    finally:
        made.stop()
        fleet.end()


def signed_in(page: Page, site: Site, place: str) -> None:
    page.goto(f"{site.url}#/{place}")
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "boss")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def editor(page: Page) -> tuple[Locator, Locator]:
    card = page.get_by_role("region", name="Text", exact=True)
    return card, card.get_by_label("Text of the profile")


def test_a_profile_is_copied_changed_and_restored(site: Site, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, "profiles")
    library = page.get_by_role("region", name="Library").locator("tbody tr")
    page.get_by_label("Only what holds this").fill("generic-dlms-1p")
    expect(library).to_have_count(1)
    assert page.url.endswith("#/profiles?search=generic-dlms-1p")
    page.get_by_role("button", name="New profile").click()
    dialog = page.get_by_role("dialog", name="New profile")
    dialog.locator("[name=id]").fill("ours-1p")
    dialog.locator("[name=copy]").select_option("generic-dlms-1p")
    dialog.get_by_role("button", name="Make it").click()

    card, area = editor(page)
    before = area.input_value()
    assert before == site.get("profiles/ours-1p")["text"]
    assert site.get("profiles/generic-dlms-1p")["text"].splitlines()[0] in before
    save = card.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    lines = before.split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("model ="))
    area.fill("\n".join([*lines[:at], "model = ", *lines[at + 1 :]]))
    expect(card.locator(".gutter .wrong")).to_have_text(str(at + 1))
    expect(card.get_by_role("alert")).to_contain_text(f"Line {at + 1}")
    expect(save).to_be_disabled()
    card.get_by_role("button", name=f"Line {at + 1}").click()
    assert area.evaluate("(one) => one.value.slice(0, one.selectionStart).split('\\n').length") == at + 1
    area.fill("\n".join([*lines[:at], 'model = "Ours"', *lines[at + 1 :]]))
    expect(card.get_by_label("Changes")).to_contain_text("Ours")
    save.click()
    expect(card.locator("header")).to_contain_text("of revision 2")
    assert site.get("profiles/ours-1p")["model"] == "Ours"

    page.get_by_role("button", name="revisions").click()
    past = page.get_by_role("region", name="Revisions")
    expect(past.locator("tbody tr")).to_have_count(2)
    past.get_by_role("button", name="Restore revision 1").click()
    expect(past.locator("tbody tr")).to_have_count(3)
    assert site.get("profiles/ours-1p")["model"] == site.get("profiles/generic-dlms-1p")["model"]

    page.get_by_role("button", name="difference").click()
    page.get_by_label("Compare with").select_option("generic-dlms-1p")
    expect(page.get_by_role("region", name="Difference").get_by_role("status")).to_contain_text("generic-dlms-1p")
    page.get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it out of use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Profiles")
    assert not [each for each in site.get("profiles")["items"] if each["id"] == "ours-1p"]


def test_who_was_overtaken_is_told_and_may_save_over_it(site: Site, tab: Tab) -> None:
    tab.expected.append("409")
    page = tab.page
    signed_in(page, site, "profiles/generic-dlms-3p?show=text")
    card, area = editor(page)
    text = area.input_value()
    revision = site.get("profiles/generic-dlms-3p")["revision"]
    area.fill(text.replace('model = "', 'model = "My '))
    other = page.evaluate(
        """([text, revision]) => fetch("/api/v1/profiles/generic-dlms-3p", {method: "PUT",
          headers: {"Content-Type": "application/json"}, body: JSON.stringify({text, revision})}).then((one) => one.status)""",
        [text.replace('model = "', 'model = "Their '), revision],
    )
    assert other == 200
    card.get_by_role("button", name="Save", exact=True).click()
    expect(card.get_by_role("alert")).to_contain_text("revision")
    card.get_by_role("button", name="Save mine over it").click()
    expect(card.get_by_role("alert")).to_have_count(0)
    assert site.get("profiles/generic-dlms-3p")["model"].startswith("My ")


def test_a_profile_is_tried_on_a_meter(site: Site, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, "profiles/generic-dlms-1p?show=trial")
    card = page.get_by_role("region", name="Try it")
    expect(card.get_by_label("Meter")).to_have_value("flat-01")
    card.get_by_role("button", name="Test").click()
    count = site.get("profiles/generic-dlms-1p")["object_count"]
    expect(card.get_by_role("status")).to_contain_text(f"{count} of {count} objects answered", timeout=PATIENCE)
    expect(card.get_by_label("Objects that were read").locator("tbody tr")).to_have_count(count)
    for view in VIEWS:
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            page.goto(f"{site.url}#/profiles/generic-dlms-1p{view}")
            expect(page.locator("main")).not_to_contain_text(re.compile("Loading|Checking"))
            assert page.evaluate(POOR_CONTRAST) == [], (view, dark)
            assert page.evaluate(NAMELESS) == [], view
        page.set_viewport_size({"width": 390, "height": 844})
        wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], view
        page.set_viewport_size({"width": 1400, "height": 900})
