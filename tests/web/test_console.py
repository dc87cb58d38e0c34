"""The console in a real browser, over a head-end and a small virtual fleet in processes of their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from headend.model.access import Role
from headend.model.url import parse_url
from headend.runtime.settings import load_settings
from headend.runtime.wiring import open_store
from tests.ports import free_port

STATIC = Path(__file__).resolve().parents[2] / "src/headend/web/static"
OPENAPI = Path(__file__).with_name("openapi.json")
PASSWORD = "correct horse battery"
METERS = 10
PATIENCE = 60_000
"""milliseconds that the browser waits for what a test expects, on a machine that does much else"""
FLEET = """
[fleet]
seed = 11

[[group]]
profile = "generic-dlms-1p"
count = 5
framing = "wrapper"
name = "flat-{{number:02}}"
first_address = "127.31.0.1"
port = {0}

[[group]]
profile = "eastron-sdm630"
count = 4
framing = "tcp"
name = "panel-{{number:02}}"
first_address = "127.32.0.1"
port = {1}

[[group]]
profile = "generic-dlms-1p"
count = 1
framing = "wrapper"
name = "broken-{{number:02}}"
first_address = "127.33.0.1"
port = {2}
faults = [{{ kind = "silent" }}]
"""
SETTINGS = "[web]\nport = {port}\n[mqtt]\nenabled = false\n[poll]\ntimeout = 2.0\n[log]\njson_lines = true\n"
FRAME = "0001 0010 0001 000d c0 01 c1 00 03 01 00 01 08 00 ff 02 00"
PAGES = (
    "#/",
    "#/meters/panel-06",
    "#/meters/broken-10",
    "#/events",
    "#/alarms",
    "#/rules",
    f"#/decode?hex={quote(FRAME)}",
    "#/nothing",
)

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => console.error("CSP", event.violatedDirective, event.blockedURI));
"""

# the contrast of each visible text with what is behind it, where it is below the 4.5 of WCAG AA
POOR_CONTRAST = """() => {
  const parts = (text) => {
    const found = text.match(/[\\d.]+(e-\\d+)?/g).map(Number);
    const share = text.startsWith("color(") ? 255 : 1;
    return [...found.slice(0, 3).map((one) => one * share), found[3] ?? 1];
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parts(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.slice(0, 3).map((one) => linear(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    if (element.closest(":disabled, .tool[aria-disabled=true], noscript, option, .unseen, .skip")) continue;
    const ground = behind(element);
    const text = over(parts(getComputedStyle(element).color), ground);
    const [high, low] = [light(text), light(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push(`${element.className || element.tagName} ${element.textContent.slice(0, 30)}: ${ratio}`);
  }
  return poor;
}"""

NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea")].filter((one) =>
  !(one.textContent.trim() || one.getAttribute("aria-label") || one.closest("label"))).map((one) => one.outerHTML)"""


class Background:
    """A command of headend that runs until `end`; made when it has said `ready`, in the line `said`."""

    def __init__(self, *arguments: str, ready: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headend.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._reader = threading.Thread(target=self._forget)
        heard = ""
        for line in self._output:
            heard += line
            if ready in line:
                self.said = line
                self._reader.start()
                return
        self._process.wait(30)
        self._output.close()
        raise AssertionError(f"it ended without {ready!r}:\n{heard}")

    def _forget(self) -> None:
        """Take what else it says, so that the pipe never fills."""
        for _ in self._output:
            pass

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join(30)
        self._output.close()


@dataclass(slots=True)
class Site:
    """A head-end with its fleet; `stop` and `start` are what a restart does."""

    folder: Path
    port: int
    head_end: Background | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        config, data = str(self.folder / "headend.toml"), str(self.folder / "data")
        self.head_end = Background("serve", "-c", config, "--data", data, ready="head-end ready")

    def stop(self) -> None:
        if self.head_end is not None:
            self.head_end.end()
        self.head_end = None

    def get(self, path: str) -> Any:
        with urlopen(f"{self.url}api/v1/{path}", timeout=10) as answer:  # noqa: S310 - our own server
            return json.load(answer)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    *meter_ports, port = (free_port() for _ in range(4))
    (folder / "fleet.toml").write_text(FLEET.format(*meter_ports))
    (folder / "headend.toml").write_text(SETTINGS.format(port=port))
    fleet = Background("emulate", str(folder / "fleet.toml"), "--json", ready="[{")
    made = Site(folder=folder, port=port)
    try:
        enter(folder / "data", json.loads(fleet.said))
        made.start()
        yield made
    finally:
        made.stop()
        fleet.end()


def enter(data: Path, roster: list[dict[str, str]]) -> None:
    """The meters of the fleet and a user, put into a new database."""
    with open_store(load_settings(None).model_copy(update={"data": str(data)})) as store:
        for line in roster:
            meter = parse_url(line["url"]).meter(line["name"], name=line["name"], poll_seconds=1.0, tags=("test",))
            store.meters.put(meter)
        store.access.put_user("ada", Role.OPERATOR, PASSWORD)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """A page, and what its console complained about; `expected` are patterns of what a test provokes."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(one, text) for one in self.expected)]


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    context = chromium.new_context(
        viewport={"width": 1400, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE)
    context.add_init_script(REPORT_VIOLATIONS)
    made = Tab(page=context.new_page())
    made.page.on("console", lambda one: made.complaints.append(one.text) if one.type in ("error", "warning") else None)
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    yield made
    context.close()
    assert made.unexpected() == []


def ink(page: Page) -> int:
    """How many points of the chart have the colour of its first series."""
    return int(
        page.evaluate("""() => {
          const canvas = document.querySelector(".plot .chart canvas");
          if (!canvas) return 0;
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const wanted = getComputedStyle(document.documentElement).getPropertyValue("--c1").trim().slice(1);
          const [r, g, b] = [0, 2, 4].map((at) => parseInt(wanted.slice(at, at + 2), 16));
          let count = 0;
          for (let at = 0; at < data.length; at += 4) if (data[at] === r && data[at + 1] === g && data[at + 2] === b) count += 1;
          return count;
        }""")
    )


@pytest.mark.browser
def test_the_fleet_is_shown_and_lives(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(site.url)
    rows = page.locator(".window [role=row]")
    expect(rows).to_have_count(METERS)
    expect(page.get_by_role("button", name=f"online {METERS - 1}")).to_be_visible()
    broken = rows.filter(has_text="broken-10")
    expect(broken).to_contain_text("offline")
    expect(broken).to_contain_text("link-timeout")
    power = rows.filter(has_text="panel-06").locator("[role=cell]").nth(4)
    expect(power).to_contain_text("W")
    first = power.inner_text()
    expect(power).not_to_have_text(first)
    page.get_by_role("columnheader", name="Power").first.get_by_role("button").click()
    expect(page.get_by_role("columnheader", name="Power").first).to_have_attribute("aria-sort", "descending")
    expect(rows.last).to_contain_text("broken-10")
    expect(page).to_have_title("Fleet · Headend")


@pytest.mark.browser
def test_from_the_search_to_a_chart_without_a_mouse(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(site.url)
    rows = page.locator(".window [role=row]")
    expect(rows).to_have_count(METERS)
    page.keyboard.press("/")
    page.keyboard.type("panel sdm")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("status").filter(has_text="4 meters shown")).to_be_attached()
    assert page.url.endswith("#/?q=panel+sdm")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("panel-07")
    expect(heading).to_be_focused()
    expect(page).to_have_title("panel-07 · Headend")
    expect(page.locator(".legend li").first).to_contain_text("Active power, net")
    page.wait_for_selector(".plot .chart canvas")
    assert ink(page) > 0
    page.go_back()
    expect(rows).to_have_count(4)
    expect(page.get_by_role("link", name="panel-07")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(rows).to_have_count(METERS)


def stays(page: Page) -> bool:
    """True when the drawing of the chart is the same after new values came."""
    page.evaluate("() => { document.querySelector('.plot .chart canvas').own = true; }")
    label = page.locator(".plot .chart").get_attribute("aria-label") or ""
    expect(page.locator(".plot .chart")).not_to_have_attribute("aria-label", label)
    return bool(page.evaluate("document.querySelector('.plot .chart canvas').own"))


@pytest.mark.browser
def test_a_chart_of_any_quantity_over_any_range(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{site.url}#/meters/panel-06")
    values = page.get_by_role("region", name="All values")
    expect(values.locator("button.cell")).to_have_count(89)
    values.get_by_label("Filter values").fill("voltage l1")
    told = re.compile(r"measured .*:\d\d.*\npolled, .*:\d\d.*\ngood$", re.DOTALL)
    expect(values.get_by_role("button", name="Voltage, L1:")).to_have_attribute("title", told)
    values.get_by_role("button", name="Voltage, L1:").click()
    values.get_by_role("button", name="Voltage, L2:").click(modifiers=["Control"])
    legend = page.locator(".legend li .swatch")
    expect(legend).to_have_count(2)
    page.get_by_label("Add a quantity to the chart").select_option("active_power_total")
    expect(legend).to_have_count(3)
    page.get_by_role("button", name="15 min").click()
    assert re.search(r"show=voltage_l1%2Cvoltage_l2%2Cactive_power_total&range=15\+min$", page.url)

    # what was drawn stays while new values come
    expect(page.locator(".plot .chart canvas")).to_have_count(1)
    assert stays(page) or stays(page), "only the range that was asked for last may replace it, once"

    box = page.locator(".plot .chart .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="custom")).to_have_attribute("aria-pressed", "true")
    assert "from=" in page.url
    page.get_by_role("button", name="Back", exact=False).last.click()
    expect(page.get_by_role("button", name="15 min")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0] == "time,voltage_l1 (V),voltage_l2 (V),active_power_total (W)"
    assert re.match(r"20\d\d-.*Z,2[0-9.]+,2[0-9.]+,[0-9.]+$", lines[-1])


@pytest.mark.browser
def test_talking_to_a_meter_asks_for_a_login_and_goes_on(site: Site, tab: Tab) -> None:
    tab.expected.append("401")
    page = tab.page
    page.goto(f"{site.url}#/meters/flat-01")
    ask = page.get_by_role("button", name="Read the object list")
    dialog = page.get_by_role("dialog")
    ask.click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="Objects").get_by_role("alert")).to_contain_text("Nobody signed in")
    expect(ask).to_be_focused()
    ask.click()
    expect(dialog.get_by_label("User")).to_be_focused()
    page.keyboard.type("ada")
    dialog.get_by_label("Password").fill("a wrong password")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("wrong")
    dialog.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    objects = page.get_by_role("region", name="Objects")
    expect(objects.locator("summary", has_text="Register").first).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    row = objects.locator("tr", has_text="Logical device name")
    row.get_by_role("button", name="Read").click()
    expect(row.locator("td.value")).to_have_text(re.compile("^HED"))
    expect(row.locator(".right").first).to_contain_text("r")
    objects.get_by_role("button", name=re.compile("^Rows of")).click()
    rows = objects.get_by_role("region", name="Rows of the load profile")
    expect(rows.locator("tbody tr").nth(94)).to_be_visible()  # of a day, of which a quarter-hour may end meanwhile
    expect(rows.locator("tbody tr").first).to_contain_text("kWh")
    page.get_by_role("button", name="Ask the meter").click()
    expect(page.get_by_role("region", name="Identity")).to_contain_text("HED")
    page.get_by_role("button", name="Read now").click()
    expect(page.get_by_text(re.compile(r"^\d+ values read"))).to_be_visible()


@pytest.mark.browser
def test_events_and_decoding(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{site.url}#/events")
    expect(page.locator(".events li").first).to_be_visible()
    page.get_by_role("button", name="warnings and worse").click()
    expect(page.locator(".events li", has_text="broken-10").filter(has_text="link-timeout").first).to_be_visible()
    expect(page.locator(".events li", has_text="flat-01")).to_have_count(0)
    page.get_by_role("navigation").get_by_role("link", name="Decode").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.get_by_label("Octets in hexadecimal").fill(FRAME)
    page.keyboard.press("Control+Enter")
    length = page.locator(".layer tr", has_text="length")
    expect(length).to_contain_text("13")
    length.hover()
    assert page.locator(".dump .on").all_inner_texts() == ["00", "0d"]
    page.locator(".dump [data-at='3']").hover()
    expect(page.locator(".layer tr.on")).to_contain_text("source wPort")
    page.get_by_label("Octets in hexadecimal").fill("zz")
    tab.expected.append("422")
    page.get_by_role("button", name="Decode", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("hexadecimal")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_every_width_and_can_be_read(site: Site, tab: Tab, scheme: Any) -> None:
    page = tab.page
    page.emulate_media(color_scheme=scheme)
    for path in PAGES:
        page.goto("about:blank")
        page.goto(site.url + path)
        page.wait_for_selector("main h1", state="attached")
        expect(page.locator("main")).not_to_contain_text("Loading")
        assert page.evaluate(POOR_CONTRAST) == [], path
        assert page.evaluate(NAMELESS) == [], path
        for width in (1024, 700, 390) if scheme == "light" else ():
            page.set_viewport_size({"width": width, "height": 844})
            wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (path, width)
        page.set_viewport_size({"width": 1400, "height": 900})
    page.evaluate("document.documentElement.style.setProperty('--soft', '#808080')")
    assert page.evaluate(POOR_CONTRAST) != [], "the measure finds nothing"


@pytest.mark.browser
def test_the_theme_is_remembered(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(site.url)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) == dark


@pytest.mark.browser
def test_a_restart_of_the_head_end_is_told_and_survived(site: Site, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{site.url}#/meters/panel-08?range=15+min")
    expect(page.locator("main .state")).to_have_text("online")
    before = site.get("meters/panel-08/readings?quantity=voltage_l1&limit=5")
    assert before["values"]
    tab.expected += [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
    ]
    site.stop()
    try:
        expect(page.get_by_role("alert").first).to_contain_text("does not answer")
        expect(page.get_by_role("banner")).to_contain_text("not connected")
    finally:
        stopped = time.time_ns() // 1_000_000
        site.start()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("banner")).to_contain_text("live")
    seen = page.locator(".head-line")
    expect(seen).to_contain_text(re.compile(r"last reading \d s ago"))
    deadline = time.monotonic() + PATIENCE / 1000
    while (after := site.get("meters/panel-08/readings?quantity=voltage_l1"))["measured_at"][-1] <= stopped:
        assert time.monotonic() < deadline, "nothing was stored after the restart"
        page.wait_for_timeout(100)
    assert after["measured_at"][: len(before["values"])] == before["measured_at"]
    assert after["values"][: len(before["values"])] == before["values"]


def scripts() -> list[Path]:
    return [path for path in sorted(STATIC.rglob("*.js")) if "vendor" not in path.parts]


def test_every_import_names_a_file_and_what_it_exports() -> None:
    for path in scripts():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 400, path.name
        for names, place in re.findall(r'^import (?:\{([^}]+)\}|\w+) from "([^"]+)";$', text, re.MULTILINE):
            target = (path.parent / place).resolve()
            assert target.is_file(), f"{path.name}: {place}"
            for name in filter(None, (one.strip() for one in names.split(","))):
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path.name}: {name} is imported for nothing"
                exported = rf"^export (?:async )?(?:function\*?|const|class) {name}\b"
                if "vendor" not in target.parts:
                    assert re.search(exported, target.read_text(encoding="utf-8"), re.MULTILINE), f"{path.name}: {name}"


def test_every_page_file_and_style_is_named_by_the_index() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "style=" not in text
    assert " on" not in re.sub(r">[^<]*<", "><", text)
    for place in re.findall(r'(?:src|href)="/static/([^"]+)"', text):
        assert (STATIC / place).is_file(), place
    for path in STATIC.glob("*.css"):
        assert f"/static/{path.name}" in text, path.name


def test_every_call_is_an_operation_of_the_interface() -> None:
    described = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    known = {re.sub(r"\{\w+\}", "{}", path): set(methods) for path, methods in described.items()}
    text = (STATIC / "lib/api.js").read_text(encoding="utf-8")
    calls = re.findall(r"^  (\w+): .*?call\((.+)\),$", text, re.MULTILINE)
    assert len(calls) > 15
    for name, arguments in calls:
        path = re.sub(
            r"\$\{meterPath\(id\)\}|meterPath\(id\)",
            "/api/v1/meters/{}",
            arguments.split(" + query")[0].split(", {")[0],
        )
        path = re.sub(r"\$\{(?:encodeURIComponent\(\w+\)|\w+)\}", "{}", path).strip('`"')
        found = re.search(r'method: "(\w+)"', arguments)
        method = found[1].lower() if found else "get"
        assert method in known.get(path, set()), f"{name}: {method} {path}"
        used = [one for one in scripts() if re.search(rf"\bapi\.{name}\b", one.read_text(encoding="utf-8"))]
        assert used, f"{name} is called by nobody"
