"""The page in a real Chromium, before a real daemon."""

import importlib.util
import signal
import sys
from pathlib import Path

import pytest
from integration.requirements import require

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, wait_for

from quantum_control.bench.balancers import free_port
from quantum_control.bench.browser import DARK, LIGHT, browser, missing, prefer
from quantum_control.daemon.page.live import LivePage
from quantum_control.monitoring.serving import PageServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

HOSTILE = '<img src=x onerror="document.title=1">"&\'</script>'
"""As a name, a kind, a reason and a figure's name."""


@pytest.fixture(scope="module")
def driver():
    require(not missing(), missing())
    with browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def axe():
    spec = importlib.util.find_spec("axe_playwright_python")
    require(spec, "axe-core is not installed; pip install 'quantum-control[dev]' brings it")
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("page"))
    place.lively("web", interval=0.1)
    place.lively("looked-at", mode="shadow", interval=0.1)
    place.resources["broken"] = {"kind": "flaky", "mode": "shadow", "interval": 0.1}
    for number in range(60):
        place.resources[f"idle-{number:02}"] = {"kind": "idle", "mode": "observe", "interval": 1.0}
    place.port = free_port()
    place.write(f"[metrics]\nport = {place.port}\n")
    return place


@pytest.fixture(scope="module")
def daemon(place):
    with place.daemon():
        yield place


@pytest.fixture
def shown(driver, daemon):
    """Give the browser with the list of the daemon, and see that nothing was wrong with it."""
    driver.get_log("browser")
    driver.get("about:blank")
    driver.get(f"http://127.0.0.1:{daemon.port}/")
    wait_for(lambda: len(names(driver)) == 50)
    yield driver
    assert driver.get_log("browser") == []


def script(driver, text, *arguments):
    return driver.execute_script(text, *arguments)


def names(driver):
    return script(driver, "return [...document.querySelectorAll('#rows tbody th a')].map(a => a.textContent)")


def text(driver, selector):
    return script(driver, "return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def press(driver, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def focused(driver):
    return script(driver, "return document.activeElement.textContent.trim()")


def test_it_loads_with_those_in_trouble_first_and_goes_on(shown):
    assert names(shown)[:2] == ["broken", "idle-00"]
    assert text(shown, "#connection") == "Live"
    assert "up" in text(shown, "#health")
    curve = "return document.querySelector('#rows tbody tr:nth-child(2) svg path.demand').getAttribute('d')"
    before = wait_for(lambda: script(shown, curve))
    wait_for(lambda: script(shown, curve) != before)


def test_a_heading_sorts_by_keyboard_and_says_so(shown):
    from selenium.webdriver.common.keys import Keys

    script(shown, "document.querySelector('th[data-sort=resource] button').focus()")
    order = "return document.querySelector('th[data-sort=resource]').getAttribute('aria-sort')"
    press(shown, Keys.ENTER)
    wait_for(lambda: names(shown)[:2] == ["broken", "idle-00"] and script(shown, order) == "ascending")
    press(shown, Keys.SPACE)
    wait_for(lambda: names(shown)[0] == "web" and script(shown, order) == "descending")
    press(shown, Keys.ENTER)
    wait_for(lambda: script(shown, order) is None)
    assert focused(shown) == "Resource"


def test_text_mode_and_state_filter_and_the_address_keeps_them(shown):
    script(shown, "document.querySelector('#text').focus()")
    press(shown, "idle-5")
    wait_for(lambda: len(names(shown)) == 10)
    assert text(shown, "#found") == "10 of 63 shown"
    shown.refresh()
    wait_for(lambda: len(names(shown)) == 10)
    choose = "const mode = document.querySelector('#mode'); mode.value = arguments[0];"
    script(shown, f"{choose} mode.dispatchEvent(new Event('change'))", "active")
    wait_for(lambda: text(shown, "#nothing") == "Nothing matches the filters.")
    shown.get(f"{shown.current_url.partition('#')[0]}#/?state=trouble")
    wait_for(lambda: names(shown) == ["broken"])


def test_the_rest_of_a_long_list_is_a_button_away(shown):
    script(shown, "document.querySelector('#after').click()")
    wait_for(lambda: len(names(shown)) == 13)
    assert text(shown, "#range") == "51–63 of 63"


def test_one_resource_is_opened_and_left_by_keyboard(shown):
    from selenium.webdriver.common.keys import Keys

    shown.get(f"{shown.current_url.partition('#')[0]}#/?text=looked")
    wait_for(lambda: names(shown) == ["looked-at"])
    script(shown, "document.querySelector('#rows tbody a').focus()")
    press(shown, Keys.ENTER)
    wait_for(lambda: text(shown, "#detail-title") == "looked-at" and text(shown, "#detail-decisions"))
    assert focused(shown) == "looked-at"
    assert shown.title.startswith("looked-at")
    for part in ("demand", "size", "shadow", "force"):
        assert script(shown, f"return document.querySelector('svg.chart path.{part}').getAttribute('d')")
    wait_for(lambda: "shadow" in text(shown, "#worth-title").casefold())  # once there is enough to compare
    press(shown, Keys.SHIFT, Keys.TAB)
    shown.back()
    wait_for(lambda: names(shown) == ["looked-at"])


def test_a_resource_that_is_not_there_is_told(driver, daemon):
    driver.get("about:blank")
    driver.get(f"http://127.0.0.1:{daemon.port}/#/nobody")
    wait_for(lambda: "No such resource" in text(driver, "#detail-why"))
    driver.get_log("browser")  # the browser itself notes the 404


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("view", ["#/?text=k", "#/looked-at"])
def test_nothing_keeps_anybody_out(shown, axe, scheme, view):
    prefer(shown, scheme)
    shown.get(f"{shown.current_url.partition('#')[0]}{view}")
    # A name, a kind or a reason with a "k": a few of each sort; axe takes seconds for fifty rows.
    wait_for(lambda: len(names(shown)) in range(2, 9) if "text" in view else text(shown, "#detail-decisions"))
    shade = script(shown, "return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, shade[4:-1].split(","))) < 64) == (scheme is DARK)
    script(shown, axe)
    found = shown.execute_async_script(
        "const [rules, done] = arguments; axe.run(document, {runOnly: rules}).then(done)",
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    )
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    assert "color-contrast" in {each["id"] for each in found["passes"]}


def test_names_and_reasons_are_no_markup(driver):
    row = {
        "resource": HOSTILE,
        "kind": HOSTILE,
        "mode": "active",
        "state": "held",
        "size": 10,
        "original": 10,
        "changes": 0,
        "failures": 0,
        "paused": "",
        "why": [HOSTILE],
        "trouble": HOSTILE,
        "busy_seconds": 0.0,
        "late_seconds": 0.0,
        "metrics": {HOSTILE: HOSTILE},
        "law": HOSTILE,
        "set_by_hand": None,
        "loss_evidence": 0.0,
        "roll_backs": 0,
    }
    server = PageServer("127.0.0.1", 0)
    LivePage(server, lambda asked: [row] if asked["do"] == "status" else row, lambda name: None, lambda: 0)
    server.start()
    try:
        driver.get_log("browser")
        driver.get(server.url)
        wait_for(lambda: names(driver) == [HOSTILE])
        script(driver, "document.querySelector('#rows tbody a').click()")
        # The law, the name of the figure, and what it is.
        wait_for(lambda: text(driver, "#detail-more").count(HOSTILE) == 3)
        assert text(driver, "#detail-title") == HOSTILE
        assert script(driver, "return document.querySelectorAll('main img').length") == 0
        assert driver.title == f"{HOSTILE} · quantum_control"
        assert driver.get_log("browser") == []
    finally:
        server.close()


def test_it_bears_a_restart_of_the_daemon(driver, tmp_path):
    place = Place(tmp_path)
    place.lively("web", interval=0.1)
    port = free_port()
    place.write(f"[metrics]\nport = {port}\n")
    driver.get_log("browser")
    with place.daemon() as process:
        driver.get(f"http://127.0.0.1:{port}/")
        wait_for(lambda: names(driver) == ["web"])
        script(driver, "window.before = true")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    wait_for(lambda: "Daemon not reachable since" in text(driver, "#outage"))
    assert names(driver) == ["web"]
    place.lively("another", interval=0.1)
    place.write(f"[metrics]\nport = {port}\n")
    with place.daemon():
        wait_for(lambda: names(driver) == ["another", "web"])
        assert text(driver, "#connection") == "Live"
        assert not script(driver, "return document.querySelector('#outage').checkVisibility()")
        assert script(driver, "return window.before")  # it was not loaded anew
        # The browser itself notes each request that found nobody; there is nothing else.
        assert all(each["source"] == "network" for each in driver.get_log("browser"))
        driver.get("about:blank")
