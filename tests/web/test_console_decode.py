"""The page Decode in a real browser: octets as people have them, keys, captures, and what is wrong, by mouse, finger and keys."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.drivers.captures.test_captures import PUSH, session
from tests.drivers.captures.traffic import CLIENT, METER, ethernet, pcap, udp

from .test_console import NAMELESS, POOR_CONTRAST, Site, Tab, chromium, site, tab

__all__ = ["chromium", "site", "tab"]

# a push of two values in an HDLC UI frame, as the handbook of the decoder explains it
UI = "7ea02a410883130413e6e7000f40000000000101020309060100010700ff060000055302020f00161b6e6a7e"
# Green Book, ciphered APDUs: GET of the clock, authenticated and encrypted with suite 0
CIPHERED = "c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b"
EK, AK, TITLE = "00010203 04050607 08090a0b 0c0d0e0f", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF", "4d4d4d0000bc614e"

PATIENCE = 20_000
"""Milliseconds that an answer may take on a machine that is busy."""

pytestmark = pytest.mark.browser


def decode(page: Page, site: Site, text: str) -> None:
    page.goto("about:blank")
    page.goto(f"{site.url}#/decode")
    page.get_by_label("Octets in hexadecimal").fill(text)
    page.get_by_role("button", name="Decode", exact=True).click()
    expect(page.locator(".layer").first).to_be_visible(timeout=PATIENCE)


def test_every_way_to_write_octets(site: Site, tab: Tab) -> None:
    page = tab.page
    octets = bytes.fromhex(UI)
    dump = "".join(f"{at:04x}  {octets[at : at + 16].hex(' ')}\n" for at in range(0, len(octets), 16))
    for text in (UI, UI.upper(), octets.hex(":"), dump, b64encode(octets).decode()):
        decode(page, site, text)
        expect(page.locator("main [role=status]")).to_have_text("dlms, 44 octets, nothing wrong")
        expect(page.locator(".layer tr", has_text="1-0:1.7.0.255 Active power, import")).to_contain_text("1363 W")


def test_what_is_wrong_is_told_in_its_place(site: Site, tab: Tab) -> None:
    page = tab.page
    decode(page, site, "7E A0 07 03 21 93 0F 02 7E")
    findings = page.get_by_role("region", name="Findings")
    expect(findings).to_contain_text("1 problem")
    expect(findings).to_contain_text("FCS wrong (at octet 6, expected 0f01, got 0f02)")
    expect(page.locator(".dump .wrong")).to_have_text(["0f"])
    page.get_by_role("button", name="Go to octet 6").click()
    expect(page.locator(".layer tr:focus")).to_contain_text("FCS")
    decode(page, site, UI.replace("0f4000000000", "0f40000000000c"))
    assert page.locator(".dump .wrong").count() > 0
    decode(page, site, "0f00000001090c07e80101010000000000003c00" + "0600000001")  # as Kaifa writes the time
    expect(findings).to_contain_text("1 peculiarity")
    expect(findings).to_contain_text("date-time as tagged octet-string")


def test_the_keyboard_goes_everywhere(site: Site, tab: Tab) -> None:
    page = tab.page
    decode(page, site, UI)
    page.get_by_label("All octets").focus()
    for _ in ("Layers", "XML", "JSON", "the tree"):
        page.keyboard.press("Tab")
    expect(page.locator(".layer h3:focus")).to_contain_text("HDLC UI")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".layer tr:focus")).to_contain_text("frame format")
    assert page.locator(".dump .on").all_inner_texts() == ["a0", "2a"]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-part]")).to_have_count(1)
    expect(page.locator(".layer h3:focus")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    expect(page.locator(".layer tr:focus")).to_contain_text("1363 W")
    page.locator(".dump [data-at='12']").click()
    expect(page.locator(".layer tr:focus")).to_contain_text("data-notification")


def test_the_same_as_xml_and_json(site: Site, tab: Tab) -> None:
    page = tab.page
    decode(page, site, "c401c10103")
    page.get_by_role("button", name="XML", exact=True).click()
    expect(page.get_by_label("XML", exact=True)).to_contain_text(
        '<DataAccessError Value="ReadWriteDenied" />', timeout=PATIENCE
    )
    page.get_by_role("button", name="JSON", exact=True).click()
    expect(page.get_by_label("JSON", exact=True)).to_contain_text('"get-response-normal (IEC 62056-5-3)"')
    page.get_by_role("button", name="Layers", exact=True).click()
    expect(page.locator(".layer tr", has_text="data-access-result").last).to_contain_text("read-write-denied")
    decode(page, site, "11 03 006B 0003 7687")
    page.get_by_role("button", name="XML", exact=True).click()
    expect(page.get_by_role("region", name="Layers")).to_contain_text("Nothing here can be written in XML")


def test_keys_open_and_are_kept_nowhere(site: Site, tab: Tab) -> None:
    page = tab.page
    decode(page, site, CIPHERED)
    expect(page.locator(".layer tr", has_text="ciphertext")).to_contain_text("give ek")
    page.locator("summary", has_text="Keys").click()
    page.get_by_label("Encryption key").fill(EK)
    page.get_by_label("Authentication key").fill(AK)
    page.get_by_label("System title of the client").fill(TITLE)
    page.keyboard.press("Enter")
    expect(page.locator(".layer tr", has_text="authentication tag")).to_contain_text("(verified)", timeout=PATIENCE)
    expect(page.locator(".layer tr", has_text="logical name")).to_contain_text("Meter clock")
    stored = page.evaluate("location.href + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})")
    assert "0001020304" not in stored.replace("%20", "")
    assert "d0d1d2" not in stored.lower()
    page.reload()
    page.locator("summary", has_text="Keys").click()
    expect(page.get_by_label("Encryption key")).to_have_value("")
    page.get_by_label("Encryption key").fill("00")
    tab.expected.append("422")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("ek: expected 16 or 32 octets, got 1", timeout=PATIENCE)


def test_a_capture_is_opened_or_dropped(site: Site, tab: Tab, tmp_path: Path) -> None:
    page = tab.page
    page.goto(f"{site.url}#/decode")
    data = pcap([*map(ethernet, session()), *[ethernet(udp(METER, CLIENT, PUSH))] * 160])
    (tmp_path / "traffic.pcap").write_bytes(data)
    page.get_by_label("Open a file").set_input_files(str(tmp_path / "traffic.pcap"))
    expect(page.locator("main [role=status]")).to_have_text(
        f"dlms, {len(data):,} octets, nothing wrong", timeout=PATIENCE
    )
    page.get_by_role("button", name="Open TCP").click()
    page.get_by_role("button", name="Open wrapper").first.click()
    page.get_by_role("button", name="Open get-request-normal").click()
    expect(page.locator(".layer tr", has_text="logical name")).to_contain_text("1-0:1.8.0.255")
    expect(page.locator(".layer tr", has_text="said by").first).to_contain_text("192.0.2.1:50000")
    page.get_by_role("button", name="Open UDP").click()
    page.get_by_role("button", name="60 more layers").click()
    page.locator(".layer h3", has_text="wrapper").last.click()
    expect(page.locator(".dump .on").first).to_have_text("00")  # far behind what was shown at first
    page.get_by_role("button", name="Take traffic.pcap away").click()
    expect(page.locator(".layer")).to_have_count(0)
    dropped = page.evaluate_handle(
        "text => { const data = new DataTransfer(); data.items.add(new File([text], 'frame.txt')); return data; }", UI
    )
    page.dispatch_event("form", "drop", {"dataTransfer": dropped})
    expect(page.get_by_label("Octets in hexadecimal")).to_have_value(UI)
    expect(page.locator("main [role=status]")).to_contain_text("44 octets")
    (tmp_path / "long.bin").write_bytes(bytes(300_001))
    page.get_by_label("Open a file").set_input_files(str(tmp_path / "long.bin"))
    expect(page.get_by_role("alert")).to_contain_text("headend decode @long.bin")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_every_screen(site: Site, tab: Tab, scheme: Any) -> None:
    page = tab.page
    page.emulate_media(color_scheme=scheme)
    for text in (UI, UI[:-6] + "00007e", CIPHERED):
        decode(page, site, text)
        page.locator("summary", has_text="Keys").click()
        page.locator(".layer tr").nth(2).click()
        assert page.evaluate(POOR_CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
        for width in (1024, 700, 390):
            page.set_viewport_size({"width": width, "height": 844})
            wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], width
        assert page.locator(".dump div").first.locator("[data-at]").count() == 8
        page.set_viewport_size({"width": 1400, "height": 900})
