"""The pages of discovery in a real browser: a scan of virtual meters, its devices as they come, adopted, looked into, compared."""

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
first_address = "127.36.0.1"
port = {0}
"""
PATIENCE = 60_000

pytestmark = pytest.mark.browser


class Place:
    """Where the virtual meters are."""

    port = 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("discovery")
    Place.port, port = free_port(), free_port()
    (folder / "fleet.toml").write_text(FLEET.format(Place.port))
    (folder / "headend.toml").write_text(SETTINGS.format(port=port))
    fleet = Background("emulate", str(folder / "fleet.toml"), "--json", ready="[{")
    made = Site(folder=folder, port=port)
    try:
        assert len(json.loads(fleet.said)) == 3
        with open_store(load_settings(None).model_copy(update={"data": str(folder / "data")})) as store:
            store.access.put_user("boss", Role.ADMIN, PASSWORD)
        made.start()
        yield made
    finally:
        made.stop()
        fleet.end()


def scan(page: Page, targets: str) -> None:
    page.get_by_label("Targets").fill(targets)
    page.get_by_label("Ports", exact=True).fill(str(Place.port))
    page.get_by_role("button", name="Start the scan").click()


def signed_in(page: Page, site: Site, tab: Tab) -> None:
    tab.expected.append("401")
    page.goto(site.url)
    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "boss")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible(timeout=PATIENCE)


def found(page: Page) -> Locator:
    return page.get_by_role("region", name="Meters found")


def all_found(page: Page, site: Site) -> None:
    """Scan, where no test before has, until the three meters are there."""
    if site.get("devices")["total"] < 3:
        page.goto(f"{site.url}#/discovery")
        scan(page, "127.36.0.1-127.36.0.3")
        expect(page.get_by_role("region", name="Scans").get_by_text("finished")).to_be_visible(timeout=PATIENCE)


def test_a_scan_shows_who_it_finds_and_they_are_adopted(site: Site, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, tab)
    page.goto(f"{site.url}#/discovery?state=all")
    expect(page.get_by_role("heading", level=1)).to_have_text("Discovery")
    tab.expected.append("422")
    scan(page, "127.36.0.1 nobody!here")
    expect(page.locator(".field.targets").get_by_role("alert")).to_contain_text("nobody!here")
    page.get_by_label("Ports", exact=True).fill("99999")
    page.get_by_role("button", name="Start the scan").click()
    expect(page.locator(".field.ports").get_by_role("alert")).to_contain_text("99999")
    page.locator("summary", has_text="How").click()
    page.get_by_label("also places looked into a short while ago").check()
    scan(page, "127.36.0.1-127.36.0.3")
    line = page.get_by_role("region", name="Scans").get_by_role("listitem").first
    expect(line).to_contain_text("127.36.0.1-127.36.0.3")
    expect(found(page).locator("tbody tr")).to_have_count(3, timeout=PATIENCE)
    expect(found(page)).to_contain_text("Generic")
    expect(line).to_contain_text("finished", timeout=PATIENCE)
    expect(line).to_contain_text("3 meters")

    if site.get("devices?state=new")["total"] < 3:
        return  # adopted by a run before
    page.get_by_role("button", name="new", exact=True).click()
    page.get_by_label("Only meters that hold this").fill("127.36.0.2")
    expect(found(page).locator("tbody tr")).to_have_count(1, timeout=PATIENCE)
    found(page).get_by_role("checkbox", name=re.compile("^Choose Generic")).check()
    found(page).get_by_role("button", name="Ignore").click()
    expect(found(page)).to_contain_text("No meter fits", timeout=PATIENCE)
    page.get_by_role("button", name="ignored", exact=True).click()
    found(page).get_by_label("Choose all of this page").check()
    found(page).get_by_role("button", name="Show again").click()
    expect(found(page)).to_contain_text("No meter fits", timeout=PATIENCE)

    page.get_by_label("Only meters that hold this").fill("")
    page.get_by_role("button", name="new", exact=True).click()
    page.get_by_label("Protocol").select_option("modbus")
    expect(found(page)).to_contain_text("No meter fits", timeout=PATIENCE)
    page.get_by_label("Protocol").select_option("dlms")
    found(page).get_by_role("button", name="Choose all 3").click(timeout=PATIENCE)
    found(page).get_by_role("button", name="Adopt").click()
    dialog = page.get_by_role("dialog", name="Adopt 3 meters")
    dialog.get_by_label("Name").fill("cellar {serial}")
    dialog.get_by_label("Tags").fill("cellar, north")
    dialog.get_by_label("Polled every").fill("1")
    dialog.get_by_role("button", name="Adopt").click()
    expect(page.get_by_text("3 meters adopted")).to_be_visible(timeout=PATIENCE)
    meters = site.get("meters?tag=cellar")["items"]
    assert len(meters) == 3
    assert all(meter["name"].startswith("cellar ") and meter["poll_seconds"] == 1 for meter in meters)
    page.goto(f"{site.url}#/meters/{meters[0]['id']}")
    page.get_by_role("link", name="How it was found").click()
    expect(page.get_by_role("link", name="Its meter")).to_be_visible(timeout=PATIENCE)


def test_a_scan_is_cancelled(site: Site, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, tab)
    page.goto(f"{site.url}#/discovery")
    page.locator("summary", has_text="How").click()
    page.get_by_label("Connections a second").fill("-1")
    scan(page, "127.36.1.0/24")
    tab.expected.append("422")
    expect(page.locator(".field.rate").get_by_role("alert")).to_contain_text("greater than 0")
    page.get_by_label("Connections a second").fill("1")
    page.get_by_role("button", name="Start the scan").click()
    line = page.get_by_role("region", name="Scans").get_by_role("listitem").filter(has_text="127.36.1.0/24")
    expect(line.get_by_role("progressbar")).to_be_visible(timeout=PATIENCE)
    line.get_by_role("button", name="Cancel").click()
    expect(line).to_contain_text("cancelled", timeout=PATIENCE)
    expect(line.get_by_role("progressbar")).to_have_count(0)
    line.get_by_role("link", name="Report of the scan").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Scan of 127.36.1.0/24")
    expect(page.get_by_role("region", name="Networks")).to_contain_text("127.36.1.0/24")


def test_a_device_says_who_it_is_and_why(site: Site, tab: Tab) -> None:
    page = tab.page
    signed_in(page, site, tab)
    all_found(page, site)
    one, other = (each["id"] for each in site.get("devices?limit=2")["items"])
    page.goto(f"{site.url}#/devices/{one}")
    who = page.get_by_role("region", name="Who it is")
    expect(who).to_contain_text("Generic", timeout=PATIENCE)
    expect(who).to_contain_text("What speaks for it")
    facts = page.get_by_role("region", name="Fingerprint")
    expect(facts.get_by_role("row", name=re.compile("^system_title "))).to_contain_text("not observable: ")
    facts.get_by_role("button", name="Evidence of conformance").click()
    sent = facts.locator(".octet-line.sent pre").first
    expect(sent).to_contain_text(re.compile("^00 01 00 10 00 01 00 1f 60"))  # an AARQ of client 16 in a wrapper
    matrix = page.get_by_role("region", name="Associations")
    matrix.get_by_role("button", name="Client 16, ln, none: accepted").click()
    expect(matrix.locator(".trial-detail")).to_contain_text("selective-access")
    objects = page.get_by_role("region", name="Objects")
    row = objects.get_by_role("row").filter(has_text="1-0:1.8.0.255")
    expect(row).to_contain_text("active_energy_import_total")
    expect(objects).to_contain_text("100 %")
    page.get_by_role("region", name="Draft").get_by_role("button", name="Show").click()
    expect(page.get_by_label("Draft, TOML")).to_contain_text("[meter]", timeout=PATIENCE)

    page.get_by_label("Device to compare with", exact=True).select_option(other)
    told = page.get_by_role("region", name="Differences")
    expect(told.get_by_role("status")).to_contain_text("the same model", timeout=PATIENCE)
    expect(told.get_by_role("row").filter(has_text="serial_number")).to_contain_text("of this meter")
    assert page.url.endswith(f"?with={other}")

    page.get_by_role("button", name="Examine again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Password or secret")).to_have_attribute("type", "password")
    dialog.get_by_label("Password or secret").fill("a wrong horse")
    dialog.get_by_label("Reason").fill("to see it again")
    dialog.get_by_role("button", name="Examine").click()
    expect(page.get_by_text(re.compile(r"^Examined: \d+ steps$"))).to_be_visible(timeout=PATIENCE)

    facts.get_by_role("button", name="Evidence of conformance").click()
    if not sent.is_visible():
        facts.get_by_role("button", name="Evidence of conformance").click()
    facts.get_by_role("link", name="Explain what was sent").first.click()
    expect(page.locator(".layer h3", has_text=re.compile("aarq", re.IGNORECASE)).first).to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_legible_and_fit(site: Site, tab: Tab, theme: str, width: int) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    signed_in(page, site, tab)
    all_found(page, site)
    one, other = (each["id"] for each in site.get("devices?limit=2")["items"])
    number = site.get("scans")["items"][0]["id"]
    for address, ready in (
        ("discovery?state=all", found(page).locator("tbody tr").first),
        (f"discovery/{number}", page.get_by_role("region", name="Networks")),
        (f"devices/{one}?with={other}", page.get_by_role("region", name="Differences").get_by_role("status")),
    ):
        page.goto(f"{site.url}#/{address}")
        expect(ready).to_be_visible(timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        assert page.evaluate(POOR_CONTRAST) == [], address
        assert page.evaluate(NAMELESS) == [], address
    page.get_by_role("button", name="Evidence of conformance").click()
    expect(page.get_by_role("button", name="Evidence of conformance")).to_have_attribute("aria-expanded", "true")
    assert page.evaluate(POOR_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    page.get_by_role("button", name="Examine again").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(POOR_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
