"""The pages of virtual meters in a real browser: a template made, meters started, broken, mended, led to discovery."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from headend.emulator.faults.kinds import FaultKind, Layer
from headend.model.access import Role
from headend.runtime.settings import load_settings
from headend.runtime.wiring import open_store
from tests.ports import free_port

from .test_console import (
    NAMELESS,
    PASSWORD,
    POOR_CONTRAST,
    SETTINGS,
    STATIC,
    Site,
    Tab,
    chromium,
    tab,
)
from .test_console_alarms import sign_in

__all__ = ["chromium", "tab"]

PATIENCE = 60_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("emulators")
    port = free_port()
    (folder / "headend.toml").write_text(SETTINGS.format(port=port))
    made = Site(folder=folder, port=port)
    with open_store(load_settings(None).model_copy(update={"data": str(folder / "data")})) as store:
        store.access.put_user("boss", Role.ADMIN, PASSWORD)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def signed_in(page: Page, site: Site, place: str) -> None:
    page.goto(f"{site.url}#/{place}")
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "boss")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


@pytest.mark.browser
def test_meters_are_started_broken_mended_and_led_to_discovery(site: Site, tab: Tab) -> None:
    page = tab.page
    page.set_default_timeout(PATIENCE)
    signed_in(page, site, "emulators")

    region(page, "Templates").get_by_role("button", name="New template").click()
    dialog = page.get_by_role("dialog", name="New template")
    dialog.get_by_label("Name").fill("house")
    dialog.locator("[name=profile]").select_option("generic-dlms-1p")
    dialog.locator("[name=framing]").select_option("hdlc")
    dialog.get_by_label("Further settings").fill("[1]")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("an object")
    dialog.get_by_label("Further settings").fill('{"history_days": 2}')
    dialog.get_by_role("button", name="Save").click()
    expect(region(page, "Templates").locator("tbody tr")).to_contain_text("framing hdlc")
    assert site.get("emulators/templates/house")["settings"] == {"framing": "hdlc", "history_days": 2}

    start = region(page, "Start meters")
    start.get_by_role("button", name="10", exact=True).click()
    start.get_by_role("button", name="Start").click()
    group = region(page, "Groups").locator("tbody tr")
    expect(group).to_have_count(1, timeout=PATIENCE)
    meters = region(page, "Virtual meters").locator("tbody tr")
    expect(meters).to_have_count(10)
    (told,) = site.get("emulators/instances")["items"]

    hands = region(page, "Break and mend")
    hands.get_by_label("What is to be wrong").select_option("garbage")
    expect(hands.get_by_role("note")).to_contain_text("random octets")
    hands.get_by_label("Whose name fits").fill(site.get("emulators/meters")["items"][3]["name"])
    expect(meters).to_have_count(1)
    hands.get_by_role("button", name="Break").click()
    expect(meters).to_contain_text("garbage")
    expect(group.locator("td").nth(3)).to_have_text("1")
    hands.get_by_role("button", name="Mend this").click()
    expect(meters).not_to_contain_text("garbage")
    hands.get_by_role("button", name="Switch off").click()
    expect(meters.locator(".state")).to_have_text("off")
    expect(group.locator("td").nth(2)).to_have_text("9")
    hands.get_by_role("button", name="Switch on").click()
    expect(meters.locator(".state")).to_have_text("on")

    clock = region(page, "Clock")
    clock.get_by_label("Seconds that pass").fill("60")
    clock.get_by_role("button", name="Set").click()
    expect(clock.locator("header")).to_contain_text("60 times as fast")

    group.get_by_role("link", name=re.compile("Look for")).click()
    form = page.get_by_role("form", name="Start a scan")
    first, _, last = form.get_by_label("Targets").input_value().partition("-")
    assert first == told["first_address"]
    assert int(last.rpartition(".")[2]) - int(first.rpartition(".")[2]) == 9
    expect(form.get_by_label("Ports", exact=True)).to_have_value(str(told["port"]))

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview").click()
    tiles = page.get_by_role("navigation", name="What there is")
    expect(tiles.get_by_role("link", name=re.compile("virtual meters"))).to_contain_text("10")
    expect(region(page, "Parts").locator("tbody tr", has_text="virtual meters")).to_contain_text("10 started")
    for place in ("overview", "emulators"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            page.goto(f"{site.url}#/{place}")
            expect(page.locator("main")).not_to_contain_text("Loading")
            assert page.evaluate(POOR_CONTRAST) == [], (place, scheme)
            assert page.evaluate(NAMELESS) == [], place
        for width in (1024, 700, 390):
            page.set_viewport_size({"width": width, "height": 844})
            wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (place, width)
        page.set_viewport_size({"width": 1400, "height": 900})

    page.goto(f"{site.url}#/emulators")
    group.get_by_role("button", name="Remove the group house").click()
    expect(group).to_have_count(0)
    expect(page.locator(".head-line [role=status]")).to_contain_text("10 virtual meters of house removed")


def test_every_fault_and_layer_is_in_words() -> None:
    text = (STATIC / "lib/faults.js").read_text(encoding="utf-8")
    known = set(re.findall(r'^  "?([a-z-]+)"?: "', text, re.MULTILINE))
    assert known == {kind.value for kind in FaultKind}
    for layer in Layer:
        assert re.search(rf"[{{ ]{layer.value}: ", text), layer
