"""The report in a real browser: a headless Chromium opens the file and clicks through it.

The run folder behind it is synthetic and full of hostile text. The page is opened from disk, with
the network log on: a self-contained page asks for one file, itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.report import build_report
from tests.unit.experiments.run_folder import HOSTILE, write_run

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BROWSER or not DRIVER, reason="needs chromium and chromedriver"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,900",
)
SECTIONS = ("learning", "model", "ledger", "episodes", "evaluation", "config")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(write_run(tmp_path_factory.mktemp("run"), hostile=HOSTILE))


@pytest.fixture
def page(browser: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(report.as_uri())
    return browser


def find(page: webdriver.Chrome, selector: str) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, selector)


def visible_sections(page: webdriver.Chrome) -> list[str]:
    return [e.get_attribute("id") or "" for e in find(page, "section") if e.is_displayed()]


def test_each_tab_shows_its_section_alone(page: webdriver.Chrome) -> None:
    assert visible_sections(page) == ["learning"]
    for name in SECTIONS:
        find(page, f"#tab-{name}")[0].click()
        assert visible_sections(page) == [name]
        assert find(page, '[aria-selected="true"]')[0].get_attribute("id") == f"tab-{name}"
    find(page, "#tab-learning")[0].click()
    find(page, "#tab-learning")[0].send_keys(Keys.ARROW_RIGHT)
    assert visible_sections(page) == ["model"]


def test_an_address_opens_its_section_at_the_top(page: webdriver.Chrome, report: Path) -> None:
    page.get("about:blank")
    page.get(report.as_uri() + "#evaluation")
    assert visible_sections(page) == ["evaluation"]
    assert page.execute_script("return scrollY") == 0


def test_turns_where_the_model_was_wrong_are_marked_with_the_truth(
    page: webdriver.Chrome,
) -> None:
    find(page, "#tab-episodes")[0].click()
    assert len(find(page, "#pairs button")) == 12
    assert not find(page, "#pair .turn.wrong")
    find(page, "#pairs button")[1].click()
    (wrong,) = find(page, "#pair .turn.wrong")
    assert wrong.is_displayed()
    assert "model wrong" in wrong.text and "you see nothing." in wrong.text
    assert "The world says:" in wrong.text and "you see a pen 1." in wrong.text
    assert [m.text for m in find(page, "#pair .turn.wrong .obs mark")] == ["nothing."]
    find(page, "#pairs button")[2].click()
    (wrong,) = find(page, "#pair .turn.wrong")
    assert "the reward or the ending is not" in wrong.text
    assert "real not won" in find(page, "#pairs button")[2].text
    assert "differ in what is done" not in find(page, "#pair")[0].text.split("turn 2")[0]


def test_filters_and_keys_move_between_episodes(page: webdriver.Chrome) -> None:
    find(page, "#tab-episodes")[0].click()
    find(page, '[data-filter="wrong"]')[0].click()
    num = len(find(page, "#pairs button"))
    assert 0 < num < 12
    body = page.find_element(By.TAG_NAME, "body")
    for _ in range(num):
        assert find(page, "#pair .turn.wrong")
        body.send_keys(Keys.ARROW_RIGHT)
    current = find(page, '#pairs button[aria-current="true"]')
    assert current == [find(page, "#pairs button")[-1]]
    body.send_keys("w")
    assert "wrong" in (page.switch_to.active_element.get_attribute("class") or "")
    find(page, '[data-filter="differ"]')[0].click()
    assert all("imagined won" in b.text for b in find(page, "#pairs button"))


def test_an_episode_that_was_not_dreamed_is_shown_alone(page: webdriver.Chrome) -> None:
    find(page, "#tab-episodes")[0].click()
    find(page, "#pairs button")[9].click()
    assert "not dreamed" in find(page, ".column.imagined")[0].text


def test_hovering_a_point_shows_real_beside_imagined(page: webdriver.Chrome) -> None:
    last = find(page, "#learning svg .hover")[6]
    webdriver.ActionChains(page).move_to_element(last).perform()
    tip = find(page, "#tip")[0]
    assert tip.is_displayed()
    assert tip.text.splitlines() == [
        "round 6, 4,142 real steps",
        "real 67% [56, 78]",
        "imagined 71% [60, 80]",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_color_scheme(page: webdriver.Chrome, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    color = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in color[4:-1].split(",")) / 3
    assert (brightness > 200) == (scheme == "light")


def test_nothing_is_wider_than_a_phone(page: webdriver.Chrome) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for name in SECTIONS:
            find(page, f"#tab-{name}")[0].click()
            assert page.execute_script("return document.documentElement.scrollWidth") <= 390, name
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_error_no_request_and_no_hostile_script(page: webdriver.Chrome, report: Path) -> None:
    for name in SECTIONS:
        find(page, f"#tab-{name}")[0].click()
    find(page, "#tab-episodes")[0].click()
    for button in find(page, "#pairs button"):
        button.click()
    assert HOSTILE in find(page, "#pair")[0].text
    assert page.execute_script("return window.hacked") is None
    assert [entry for entry in page.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {
        message["params"]["request"]["url"].split("#")[0]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {report.as_uri(), "data:,"}
    assert report.as_uri() in asked
