"""The pages of alarms in a real browser: raised and cleared live, acknowledged with a note, rules changed and tried."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

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

__all__ = ["chromium", "tab"]

FLEET = """
[[group]]
profile = "generic-dlms-1p"
count = 3
framing = "wrapper"
name = "flat-{{number:02}}"
first_address = "127.35.0.1"
port = {0}
"""
ALARMS = """
[alarms]
nominal_voltage = 120.0
[alarms.rules]
overvoltage = { hold_seconds = 1 }
meter_offline = { enabled = false }
communication_lost = { enabled = false }
"""
PATIENCE = 30_000

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("alarms")
    meters, port = free_port(), free_port()
    (folder / "fleet.toml").write_text(FLEET.format(meters))
    (folder / "headend.toml").write_text(SETTINGS.format(port=port) + ALARMS)
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


def sign_in(page: Page, user: str) -> None:
    dialog = page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("User").fill(user)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()


def test_alarms_come_are_acknowledged_and_go_with_the_rule(site: Site, tab: Tab) -> None:
    page = tab.page
    tab.expected.append("401")
    page.goto(f"{site.url}#/alarms")
    active = page.get_by_role("region", name="Active alarms")
    first = active.get_by_role("listitem").filter(has_text="flat-01")
    expect(first).to_contain_text("Over-voltage", timeout=PATIENCE)
    expect(first).to_contain_text(re.compile(r"2\d\d\.\d V, limit 132\.0 V, now 2\d\d\.\d V"), timeout=PATIENCE)
    expect(page.locator("nav .count")).to_have_text("3", timeout=PATIENCE)
    first.get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Note").fill("crew on its way")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    sign_in(page, "boss")
    expect(first).to_contain_text("boss: crew on its way", timeout=PATIENCE)
    expect(page.get_by_role("status").filter(has_text="2 not acknowledged")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="not acknowledged").click()
    expect(active.get_by_role("listitem")).to_have_count(2)
    assert page.url.endswith("#/alarms?seen=no")
    page.goto(f"{site.url}#/meters/flat-01")
    mine = page.get_by_role("region", name="Alarms")
    expect(mine).to_contain_text("crew on its way")
    mine.get_by_role("link", name="Over-voltage").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Over-voltage L1")
    happened = page.get_by_role("region", name="What happened")
    expect(happened).to_contain_text("Acknowledged by boss: crew on its way")

    page.goto(f"{site.url}#/rules")
    page.get_by_role("button", name="Change Over-voltage").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Threshold", exact=True).fill("200")
    dialog.get_by_label("Meter to try it on").fill("flat-02")
    dialog.get_by_role("button", name="Try").click()
    expect(dialog.get_by_role("status")).to_have_text("1 alarm would have been raised", timeout=PATIENCE)
    dialog.get_by_label("Threshold", exact=True).fill("high")
    dialog.get_by_role("button", name="Save").click()
    tab.expected.append("422")
    expect(dialog.get_by_role("alert")).to_contain_text("overvoltage.threshold: expected a number")
    dialog.get_by_label("Threshold", exact=True).fill("400")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="Over-voltage")
    expect(row).to_contain_text("> 400.0 V")
    expect(row).to_contain_text("set for all")
    expect(page.locator("nav .count")).to_have_count(0, timeout=PATIENCE)
    page.goto(f"{site.url}#/alarms")
    expect(active).to_contain_text("Nothing is wrong.")
    expect(page.get_by_role("region", name="History")).to_contain_text("flat-01")

    page.goto(f"{site.url}#/rules")
    page.get_by_role("button", name="Change Over-voltage").click()
    page.get_by_role("button", name="Take back what is set").click()
    expect(row).to_contain_text("110 % of nominal voltage")
    expect(page.locator("nav .count")).to_have_text("3", timeout=PATIENCE)


def test_a_rule_of_ones_own_for_one_meter(site: Site, tab: Tab) -> None:
    page = tab.page
    tab.expected.append("401")
    page.goto(f"{site.url}#/rules?level=meter&subject=flat-03")
    page.get_by_role("button", name="New rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Short name").fill("awake")
    dialog.get_by_label("Name", exact=True).fill("The grid is awake")
    dialog.get_by_label("Quantity").fill("frequency")
    dialog.get_by_label("Threshold").fill("45")
    dialog.get_by_label("Severity").select_option("critical")
    dialog.get_by_role("button", name="Save").click()
    sign_in(page, "boss")
    expect(page.get_by_role("row").filter(has_text="The grid is awake")).to_contain_text("> 45.00 Hz", timeout=PATIENCE)
    page.goto(f"{site.url}#/alarms?severity=critical")
    active = page.get_by_role("region", name="Active alarms").get_by_role("listitem")
    expect(active).to_have_count(1, timeout=PATIENCE)
    expect(active).to_contain_text("The grid is awake")
    expect(active).to_contain_text("flat-03")
    expect(page.locator("nav .count")).to_have_class("count critical")
    page.goto(f"{site.url}#/rules?level=meter&subject=flat-03")
    page.get_by_role("button", name="Change The grid is awake").click()
    page.get_by_role("button", name="Take back what is set").click()
    expect(page.get_by_role("row").filter(has_text="The grid is awake")).to_have_count(0)
    expect(page.locator("nav .count")).to_have_class("count warning", timeout=PATIENCE)


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_legible_and_fit(site: Site, tab: Tab, theme: str, width: int) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{site.url}#/alarms")
    expect(page.get_by_role("region", name="Active alarms").get_by_role("listitem").first).to_be_visible(
        timeout=PATIENCE
    )
    number = site.get("alarms?limit=1")["items"][0]["number"]
    for address in ("#/alarms", f"#/alarms/{number}", "#/rules", "#/rules?level=meter&subject=flat-01"):
        page.goto(f"{site.url}{address}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading …")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        assert page.evaluate(POOR_CONTRAST) == [], address
        assert page.evaluate(NAMELESS) == [], address
    page.get_by_role("button", name="Change Over-voltage").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(POOR_CONTRAST) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
