"""Acquisition, completeness, delivery and the form of a meter in a real browser: what is wrong is named, and mended from there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from headend.model.access import Role
from headend.model.intervals import DAY_MS, Grid, Reason
from headend.model.url import parse_url
from headend.runtime.settings import load_settings
from headend.runtime.wiring import open_store
from tests.ports import free_port

from .receiver import Receiver
from .test_console import (
    NAMELESS,
    PASSWORD,
    POOR_CONTRAST,
    SETTINGS,
    Background,
    Site,
    Tab,
    chromium,
    tab,
)
from .test_console_alarms import sign_in

__all__ = ["chromium", "tab"]

FLEET = """
[[group]]
profile = "generic-dlms-1p"
count = 3
framing = "wrapper"
name = "flat-{{number:02}}"
first_address = "127.46.0.1"
port = {0}

[[group]]
profile = "generic-dlms-1p"
count = 1
framing = "wrapper"
name = "mute-{{number:02}}"
first_address = "127.46.1.1"
port = {0}
faults = [{{ kind = "silent" }}]
"""
MORE = """
[recovery]
open_after = 1
[ledger]
spread_seconds = 0.5
[sinks.hook]
kind = "webhook"
url = "{hook}"
handshake = true
"""
NEW = "flat-03"
"""The virtual meter that the head-end does not know yet."""
REF = "7/1-0:99.1.0.255/2"
QUARTER = 900_000
DAYS = 4
PATIENCE = 90_000

pytestmark = pytest.mark.browser


@dataclass(slots=True)
class Place(Site):
    """A head-end with what it reads, and what it delivers to."""

    hook: Receiver | None = None
    urls: dict[str, str] | None = None
    lost: int = 0
    """the first of four quarters of an hour that were given up"""

    @property
    def receiver(self) -> Receiver:
        assert self.hook is not None
        return self.hook

    def url_of(self, name: str) -> str:
        assert self.urls is not None
        return self.urls[name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("acquisition")
    meters, port = free_port(), free_port()
    receiver = Receiver()
    (folder / "fleet.toml").write_text(FLEET.format(meters))
    (folder / "headend.toml").write_text(SETTINGS.format(port=port) + MORE.format(hook=receiver.url))
    fleet = Background("emulate", str(folder / "fleet.toml"), "--json", ready="[{")
    made = Place(folder=folder, port=port, hook=receiver)
    try:
        made.urls = {line["name"]: line["url"] for line in json.loads(fleet.said)}
        made.lost = enter(folder / "data", made.urls)
        made.start()
        yield made
    finally:
        made.stop()
        fleet.end()
        receiver.end()


def enter(data: Path, urls: dict[str, str]) -> int:
    """All meters but the new one, a user, and a ledger of which an hour was given up; when that began."""
    now = time.time_ns() // 1_000_000
    since = (now // DAY_MS - DAYS) * DAY_MS
    lost = since + DAY_MS + 24 * QUARTER
    with open_store(load_settings(None).model_copy(update={"data": str(data)})) as store:
        for name, url in urls.items():
            if name != NEW:
                store.meters.put(parse_url(url).meter(name, name=name, poll_seconds=1.0, tags=("test",)))
        store.access.put_user("boss", Role.ADMIN, PASSWORD)
        book = store.ledger.open("flat-01", REF, Grid(QUARTER, 0, "UTC"), since=since, until=now, name="quarters")
        assert store.ledger.void(book, dict.fromkeys(range(lost, lost + 4 * QUARTER, QUARTER), Reason.WRAPPED)) == 4
    return lost


def region(page: Page, name: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("region", name=name, exact=isinstance(name, str))


def signed_in(page: Page, site: Site, place: str) -> None:
    page.set_default_timeout(PATIENCE)
    page.goto(f"{site.url}#/{place}")
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "boss")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible(timeout=PATIENCE)


def test_a_sink_that_is_away_is_named_and_catches_up(site: Place, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, "delivery")
    row = region(page, "Sinks").get_by_role("row").filter(has_text="hook")
    expect(row).to_contain_text(re.compile("has everything|catching up"), timeout=PATIENCE)
    site.receiver.here = False
    expect(row).to_contain_text("away", timeout=PATIENCE)
    expect(row).to_contain_text("503")
    expect(page.locator(".head-line [role=status]")).to_have_text("1 away")
    expect(row.locator("td.num").first).to_have_text(re.compile(r"^[1-9]"), timeout=PATIENCE)

    page.goto(f"{site.url}#/overview")
    tiles = page.get_by_role("navigation", name="What there is")
    expect(tiles.get_by_role("link", name=re.compile("hook away"))).to_be_visible(timeout=PATIENCE)
    delivery = region(page, "Parts").get_by_role("row").filter(has_text="delivery")
    expect(delivery).to_contain_text("not ready")
    expect(delivery).to_contain_text("away: hook")

    before = set(site.receiver.taken)
    site.receiver.here = True
    expect(delivery.locator(".state")).to_have_text("ready", timeout=PATIENCE)
    tiles.get_by_role("link", name=re.compile("sink")).click()
    expect(row).to_contain_text("has everything", timeout=PATIENCE)
    assert set(site.receiver.taken) > before
    assert site.get("sinks/hook")["lost"] == 0


def test_what_a_sink_refused_is_tried_again_and_a_span_is_sent_again(site: Place, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, "delivery")
    row = region(page, "Sinks").get_by_role("row").filter(has_text="hook")
    refused = row.get_by_role("button", name=re.compile("^Refused by hook"))
    expect(refused).to_have_text("Refused 1", timeout=PATIENCE)
    refused.click()
    expect(page).to_have_url(re.compile("#/delivery.sink=hook$"))
    list_of = region(page, "Refused by hook")
    line = list_of.locator("tbody tr")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("400")
    poison = site.receiver.poison
    assert poison not in site.receiver.taken
    site.receiver.picky = False
    line.get_by_role("button", name=f"Try {poison} again").click()
    expect(list_of).to_contain_text("It has refused nothing.", timeout=PATIENCE)
    assert site.receiver.taken[poison] == 1

    row.get_by_role("button", name="Send again to hook").click()
    dialog = page.get_by_role("dialog", name="Send again to hook")
    dialog.get_by_label("From").fill("2020-01-01T00:00")
    dialog.get_by_label("To").fill("2098-01-01T00:00")
    dialog.get_by_role("button", name="Send again").click()
    status = page.locator(".head-line [role=status]")
    expect(status).to_have_text(re.compile(r"^[\d,]+ entr(y|ies) of hook (is|are) sent again$"), timeout=PATIENCE)
    while site.receiver.taken[poison] < 2:  # the time-out of the test ends it
        page.wait_for_timeout(100)
    expect(row).to_contain_text("has everything", timeout=PATIENCE)


def test_a_wire_with_trouble_is_named_with_its_circuit(site: Place, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{site.url}#/acquisition")
    wires = region(page, "Wires")
    mute = wires.locator("tbody tr").filter(has_text="127.46.1.1")
    expect(mute).to_contain_text(re.compile("open|half-open"), timeout=PATIENCE)
    expect(mute).to_contain_text("127.46.1.1")
    page.get_by_role("button", name="with trouble").click()
    expect(page).to_have_url(re.compile("#/acquisition.only=troubled$"))
    expect(mute).to_have_count(1)
    page.get_by_label("Only what holds this").fill("no such wire")
    expect(wires).to_contain_text("No wire fits.")
    page.get_by_label("Only what holds this").fill("127.46.1.1")
    expect(wires.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="all wires").click()
    page.get_by_label("Only what holds this").fill("FLAT-01")
    expect(wires.locator("tbody tr")).to_have_count(1)
    expect(mute).to_have_count(0)

    page.goto(f"{site.url}#/overview")
    tile = page.get_by_role("link", name=re.compile("open circuit"))
    expect(tile).to_have_text(re.compile("^[1-9]"), timeout=PATIENCE)
    tile.click()
    expect(mute).to_contain_text(re.compile("open|half-open"))

    performance = region(page, "Performance: All meters")
    expect(performance.locator("dl")).to_contain_text("Success")
    expect(performance.locator(".chart canvas")).to_have_count(1)
    for view in ("reads", "success", "octets"):
        performance.get_by_role("button", name=view, exact=True).click()
        expect(performance.locator(".chart canvas")).to_have_count(1)
        expect(performance.locator(".chart")).to_have_attribute("aria-label", re.compile(f"^{view} of All meters"))


def test_the_calendar_says_why_and_asks_the_meter_again(site: Place, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, "completeness")
    day = time.strftime("%Y-%m-%d", time.gmtime(site.lost / 1000))
    calendar = region(page, "Meters by day")
    cell = calendar.get_by_role("button", name=f"flat-01, {day}:")
    expect(cell).to_have_attribute(
        "aria-label",
        re.compile("92 of 96 intervals; 4 never: the meter no longer holds it"),
        timeout=PATIENCE,
    )
    page.get_by_label("Search meters").fill("flat-01")
    expect(calendar.locator("tbody tr").filter(has_text="flat-01")).to_have_count(1)
    cell.click()
    drawer = region(page, re.compile("What is missing of flat-01"))
    gap = drawer.locator("tbody tr")
    expect(gap).to_have_count(1)
    expect(gap).to_contain_text("the meter no longer holds it")
    drawer.get_by_role("button", name="Ask the meter again").click()
    expect(drawer.get_by_role("status")).to_have_text("4 intervals asked for", timeout=PATIENCE)
    # the virtual meter does hold them
    expect(cell).to_have_attribute("aria-label", re.compile("96 of 96 intervals$"), timeout=PATIENCE)
    drawer.get_by_role("button", name="Close").click()
    expect(drawer).to_have_count(0)

    page.goto(f"{site.url}#/meters/flat-01")
    own = region(page, "Completeness")
    expect(own.get_by_role("button", name=f"flat-01, {day}: 96 of 96 intervals")).to_be_visible()
    page.goto(f"{site.url}#/overview")
    expect(page.get_by_role("link", name=re.compile("yesterday's intervals"))).to_contain_text("100 %")


def test_a_meter_is_tried_added_changed_and_removed(site: Place, tab: Tab) -> None:
    page = tab.page
    tab.expected += ["502", "404"]
    signed_in(page, site, "")
    page.get_by_role("button", name="Add a meter").click()
    dialog = page.get_by_role("dialog", name="Add a meter")
    where = dialog.get_by_label("How it is reached")
    url = site.url_of(NEW)
    where.fill(url.replace("127.46.0.3", "127.46.0.99"))
    dialog.get_by_role("button", name="Try the connection").click()
    expect(dialog.get_by_role("alert")).to_contain_text("127.46.0.99", timeout=PATIENCE)
    where.fill(url)
    dialog.get_by_label("Name", exact=True).fill("The new one")
    dialog.get_by_label("Read every … seconds").fill("1")
    dialog.get_by_role("button", name="Try the connection").click()
    said = dialog.get_by_role("status")
    expect(said).to_contain_text("It answers.", timeout=PATIENCE)
    expect(said).to_contain_text(re.compile(r"It says it is .*HED"))
    expect(said).to_contain_text(re.compile(r"\d+ values read in"))
    assert site.get("meters")["total"] == 3
    dialog.get_by_role("button", name="Add", exact=True).click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("The new one", timeout=PATIENCE)
    expect(page.locator(".head-line .state")).to_have_text("online", timeout=PATIENCE)
    expect(page.locator(".head-line")).to_contain_text("last reading", timeout=PATIENCE)

    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog", name="Change The new one")
    expect(dialog.get_by_label("How it is reached")).to_have_value(re.compile("127.46.0.3"))
    dialog.get_by_label("Name", exact=True).fill("The newer one")
    dialog.get_by_label("Read every … seconds").fill("2")
    dialog.get_by_label("Tags").fill("north, cell:12")
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(heading).to_have_text("The newer one", timeout=PATIENCE)
    settings = region(page, "Settings")
    expect(settings).to_contain_text("every 2 s", timeout=PATIENCE)
    expect(settings).to_contain_text("cell:12")

    page.get_by_role("button", name="Remove", exact=True).click()
    dialog = page.get_by_role("dialog", name="Remove The newer one")
    expect(dialog.get_by_label("keep its readings")).to_be_checked()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert site.get("meters")["total"] == 4
    page.get_by_role("button", name="Remove", exact=True).click()
    dialog.get_by_label("keep its readings").uncheck()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(heading).to_have_text("Fleet", timeout=PATIENCE)
    expect(page.locator(".window [role=row]")).to_have_count(3, timeout=PATIENCE)
    assert site.get("meters")["total"] == 3


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_legible_and_fit(site: Place, tab: Tab, theme: str, width: int) -> None:
    page = tab.page
    page.set_default_timeout(PATIENCE)
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    for place in ("acquisition", "completeness", "delivery", "overview", "meters/flat-01"):
        page.goto(f"{site.url}#/{place}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading …")).to_have_count(0, timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
        assert page.evaluate(POOR_CONTRAST) == [], place
        assert page.evaluate(NAMELESS) == [], place
    for name in ("Change", "Remove"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate(POOR_CONTRAST) == [], name
        assert page.evaluate(NAMELESS) == [], name
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
