"""The dashboard in a real browser with a virtual authenticator."""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from containers import Gate, Push, last
from host import Host, wait_for
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.virtual_authenticator import Protocol, Transport, VirtualAuthenticatorOptions
from selenium.webdriver.support.select import Select

DASHBOARD = "http://localhost:7070"
# In each page: what was pressed last, and what was said for a moment, which may be gone before a test looks.
OBSERVE = """
window.noticed = [];
addEventListener("click", ({ target }) => { window.pressed = target.closest("button, a, summary, input"); }, true);
document.addEventListener("readystatechange", () => {
  const place = document.getElementById("notice");
  if (document.readyState !== "interactive" || !place) return;
  new MutationObserver(() => place.textContent && window.noticed.push(place.textContent)).observe(place, { childList: true });
});
"""
# Whether it was said. It and what was said before it are taken.
SAID = """
const at = window.noticed.findIndex((one) => one.includes(arguments[0]));
window.noticed.splice(0, at + 1);
return at >= 0;
"""
# In one turn of the page, whose rows are replaced as they change.
ROWS = "const rows = [...document.querySelectorAll('main section:first-of-type li')];"
PRESS = """
const row = rows.find((row) => row.innerText.startsWith(arguments[0]));
const one = [...(row?.querySelectorAll("button, summary") ?? [])].find((one) => one.innerText.startsWith(arguments[1]));
one?.click();
return Boolean(one);
"""


@pytest.fixture
def browser(host: Host):
    """Chromium in the host's network, with an authenticator that verifies its user and keeps discoverable passkeys."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,800"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    authenticator = VirtualAuthenticatorOptions(
        protocol=Protocol.CTAP2,
        transport=Transport.INTERNAL,
        has_resident_key=True,
        has_user_verification=True,
        is_user_verified=True,
    )
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        driver.set_page_load_timeout(600)
        driver.set_script_timeout(600)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
        driver.add_virtual_authenticator(authenticator)
        yield driver


@pytest.fixture
def label(host: Host, name: str) -> Iterator[str]:
    """The name of a token, which ends with the test."""
    label = f"{name}-{time.time_ns()}"
    yield label
    host.run("podkeeper", "token", "remove", label, check=False)


class Page:
    """The dashboard as a person sees it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def text(self) -> str:
        while True:
            # A page that is loaded anew meanwhile is read again.
            with contextlib.suppress(StaleElementReferenceException):
                return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, text: str) -> None:
        wait_for(lambda: text in self.text(), 10, lambda: f"the page shows {text!r}; it shows {self.text()!r}")

    def says(self, text: str) -> None:
        """For a moment, and not before what was taken last."""
        said = lambda: self.driver.execute_script(SAID, text)
        wait_for(said, 10, lambda: f"{text!r} is said; there was {self.ask('window.noticed')}, and {self.text()!r}")

    def press(self, text: str) -> None:
        """A button or a link of this text."""
        self.press_the(By.XPATH, f"//*[self::button or self::a][.='{text}']")

    def press_the(self, by: str, where: str) -> None:
        """The last one there. What is replaced while it is looked for or pressed is looked for again."""

        def pressed() -> bool:
            gone = (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException)
            with contextlib.suppress(*gone):
                all_of_it = self.driver.find_elements(by, where)
                for one in [one for one in all_of_it if not one.get_attribute("aria-disabled") and one.is_displayed()][-1:]:
                    self.driver.execute_script("window.pressed = null")
                    one.click()
                    # A page that was loaded anew by that knows of nothing.
                    return self.ask("window.pressed !== null")
            return False

        wait_for(pressed, 10, lambda: f"{where!r} can be pressed; the page shows {self.text()!r}")

    def sign_in(self, token: str, shows: str = "Services") -> None:
        self.driver.get(f"{DASHBOARD}/")
        self.shows("Use a token")
        self.press_the(By.TAG_NAME, "summary")
        self.driver.find_element(By.CSS_SELECTOR, "input[type=password]").send_keys(token)
        self.press("Sign in with the token")
        self.shows(shows)

    def ask(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(f"return {script};", *arguments)

    def may_use_the_clipboard(self) -> None:
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})

    def clipboard(self) -> str:
        return self.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")

    def copies(self, text: str) -> None:
        """Once it is said, nothing is marked any more."""
        self.says("Copied.")
        wait_for(lambda: self.clipboard() == text, 5, lambda: f"{text!r} is copied; there is {self.clipboard()!r}")

    def focused(self) -> str:
        """What has the focus: a button's or a link's text, or what else it is called."""
        one = "document.activeElement"
        return self.ask(f"{one}?.getAttribute('aria-label') || {one}?.innerText.trim()")

    def focus_goes_to(self, what: str) -> None:
        wait_for(lambda: self.focused() == what, 5, lambda: f"the focus goes to {what!r}; it is at {self.focused()!r}")

    def keys(self, *keys: str, held: tuple[str, ...] = ()) -> None:
        chain = ActionChains(self.driver)
        for key in held:
            chain.key_down(key)
        chain.send_keys(*keys)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def fits(self) -> None:
        """Nothing hangs over the side of the narrowest screen, or of one that is read at four times its size."""
        self.driver.set_window_size(320, 900)
        # A page that scrolls has less than that, since a scroll bar of this browser takes room.
        fits = "innerWidth === 320 && document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        wait_for(lambda: self.ask(fits), 5, "the page is narrow enough")

    def answer(self, what: str) -> None:
        """Presses a button of the question that is asked."""
        self.press_the(By.XPATH, f"//dialog//button[.='{what}']")
        wait_for(lambda: not self.driver.find_elements(By.TAG_NAME, "dialog"), 5, "the question is gone")

    def offers(self, what: str) -> bool:
        """Whether there is a button of this name to be pressed."""
        return what in self.buttons()

    def buttons(self) -> list[str]:
        shown = "[...document.querySelectorAll('main button')].filter((one) => one.checkVisibility())"
        return self.ask(f"{shown}.map((one) => one.innerText)")

    def policy_stopped_nothing(self) -> None:
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        assert [line for line in said if "Content Security Policy" in line] == []

    def picture(self, name: str) -> None:
        """Kept for a person to look at, where PODKEEPER_PICTURES names a folder."""
        if folder := os.environ.get("PODKEEPER_PICTURES"):
            self.driver.save_screenshot(pathlib.Path(folder) / f"{name}.png")


def test_a_person_enrols_signs_in_and_out_and_looks_after_passkeys_and_sessions(host: Host, browser):
    page = Page(browser)
    browser.get(f"{DASHBOARD}/")
    page.shows("Sign in with a passkey")
    page.picture("sign-in")
    page.focus_goes_to("Sign in with a passkey")

    link = host.run("podkeeper", "enroll").strip()
    assert link.startswith(f"{DASHBOARD}/#enroll=")
    browser.get(link)
    page.shows("Register a passkey")
    assert "enroll" not in browser.current_url, "the secret must not stay in the history"
    page.picture("enrol")
    page.press("Create a passkey")
    page.shows("Sessions")
    page.shows("this one")
    page.picture("account")

    browser.get(link)
    page.press("Create a passkey")
    page.shows("podkeeper enroll")

    browser.get(f"{DASHBOARD}/")
    page.shows("Sessions")
    page.press("Sign out")
    page.shows("Sign in with a passkey")
    browser.refresh()
    page.press("Sign in with a passkey")
    page.shows("this one")

    page.press("Rename")
    field = browser.find_element(By.CSS_SELECTOR, "dialog input")
    field.clear()
    field.send_keys("Tests’ key")
    page.picture("rename")
    page.press_the(By.CSS_SELECTOR, "dialog button[type=submit]")
    page.shows("Tests’ key")

    # On a phone, in the dark.
    browser.set_window_size(400, 800)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    page.picture("narrow-dark")
    page.fits()

    # A script can't read the cookie, and the policy stopped nothing of ours.
    assert browser.execute_script("return document.cookie") == ""
    page.policy_stopped_nothing()


def test_services_are_shown_as_they_change(host: Host, browser, name: str, label: str, tmp_path):
    page = Page(browser)
    token = host.run("podkeeper", "token", "create", "--name", label).strip()
    page.sign_in(token)

    def row(*texts: str) -> str:
        def shown() -> str | None:
            rows = browser.execute_script(f"{ROWS} return rows.map((row) => row.innerText);")
            return next((one for one in rows if one.startswith(name) and all(text in one for text in texts)), None)

        return wait_for(shown, 30, lambda: f"the service's row has {texts}; the page shows {page.text()!r}")

    def press(what: str) -> None:
        wait_for(lambda: browser.execute_script(ROWS + PRESS, name, what), 10, f"{what!r} can be pressed")

    # Nothing of this is asked for: it comes.
    host.create(name)
    row("never-deployed", "Nothing was pushed yet.")
    press("Deploy")
    shown = row("running", "Release 1 of ")
    # Some minutes ago, where the machine has taken them.
    assert re.search(r"^Release 1 of \w{10}, started (just now|\d+ minutes? ago)\. ", shown, re.M), shown
    links = browser.execute_script("return [...document.querySelectorAll('main a')].map((one) => one.href);")
    assert f"http://{name}.localhost:8080/" in links
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo no luck; exit 3\n"})
    clone.push()
    row("running", "Release 1", "failed: ")
    press("Deployment ")
    row("no luck")
    page.picture("services")
    page.fits()
    page.picture("services-narrow")
    browser.set_window_size(1000, 800)
    press("Stop")
    page.shows("It answers nobody until it is deployed again")
    page.answer("Stop")
    row("stopped")
    # It comes back with the next agent.
    host.run("systemctl", "restart", "podkeeper.service")
    host.wait_ready()
    clone.git("revert", "--no-edit", "HEAD")
    clone.push()
    row("running", "Release 3 of ")
    wait_for(lambda: "no luck" not in page.text(), 10, "what failed before is told no longer")
    host.delete(name)
    wait_for(lambda: not browser.find_elements(By.ID, f"service-{name}"), 30, "its row is gone")
    # Who may no longer is told at once.
    host.run("podkeeper", "token", "remove", label)
    page.shows("Sign in with a passkey")
    page.policy_stopped_nothing()


# Prints what it is told to.
APP = r"""
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        os.write(2 if self.path == "/err" else 1, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass

print("the program starts", flush=True)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
# The lines of a log of the page, without what says who wrote one.
LINES = """
const log = [...document.querySelectorAll(".log")][arguments[0]];
return [...(log?.querySelectorAll(".line .text") ?? [])].map((one) => {
  const from = one.querySelector(".from")?.textContent ?? "";
  return one.textContent.slice(from.length).trimStart();
});
"""
# Whether the page has asked for lines before those that a log began with.
OLDER = "performance.getEntriesByType('resource').some((one) => /\\/logs\\?.*cursor=/.test(one.name))"
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def test_a_services_page_shows_its_log_as_it_is_written(host: Host, browser, name: str, gate: Gate, tmp_path):
    page = Page(browser)
    host.create(name, "python")
    clone = host.clone(name, tmp_path / "clone")
    containerfile = (clone.folder / "Containerfile").read_text() + "STOPSIGNAL SIGKILL\n"
    clone.commit({"app.py": APP, "Containerfile": containerfile})
    clone.push()
    page.sign_in(host.token)

    def say(text: str | bytes, path: str = "/out") -> None:
        data = text.encode() if isinstance(text, str) else text
        headers = {"Host": f"{name}.localhost:8080"}
        assert requests.post(f"http://127.0.0.1:8080{path}", data, headers=headers, timeout=600).status_code == 204

    def lines(log: int = 0) -> list[str]:
        return browser.execute_script(LINES, log)

    def logged(*texts: str, log: int = 0) -> None:
        shown = lambda: set(texts) <= set(lines(log))
        wait_for(shown, 10, lambda: f"{texts} are shown; there are {lines(log)[-20:]}")

    def wants(selector: str, value: str) -> None:
        change = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event(arguments[2]))"
        field = browser.find_element(By.CSS_SELECTOR, f".filters {selector}")
        browser.execute_script(change, field, value, "input" if selector == "input" else "change")

    page.press(name)
    logged("the program starts")
    assert browser.title.startswith(name) and browser.current_url.endswith(f"#services/{name}")
    page.shows("Release 1 of ")
    page.shows("Deployment ")

    # It comes by itself, and is text whatever it holds.
    say("one more line\n")
    logged("one more line")
    say(f"{HOSTILE}\n")
    say("\x1b[31mred\x1b[0m, \x1b[2Kplain\x1b]0;title\x07 and \x1b[1;38;5;208mbold\x1b[m\n")
    say(b"a bell \x07, bytes \xff\x00, \xe2\x80\xaeturned\n")
    say("a complaint\n", "/err")
    logged(HOSTILE, "red, plain and bold", "a bell ␇, bytes \ufffd␀, <U+202E>turned binary")
    assert page.ask("document.querySelectorAll('.log img, .log script').length") == 0 and "taken" not in browser.title
    assert page.ask("document.querySelector('.log .fore-1').textContent") == "red"
    complains = "document.querySelector('.log .line-error')?.innerText.includes('a complaint')"
    wait_for(lambda: page.ask(complains), 5, "stderr is told apart")

    # The log scrolls in its own place: the page is no longer for it.
    say("and more\n" * 100)
    say("another complaint\n", "/err")
    wait_for(lambda: "another complaint" in "".join(lines()), 10, "stderr far below is shown")
    end = "document.querySelector('main').getBoundingClientRect().bottom + scrollY"
    assert page.ask(f"document.documentElement.scrollHeight <= Math.max({end}, innerHeight) + 1")

    # Whoever reads further up stays there, and comes back.
    say("".join(f"number {number}\n" for number in range(700)))
    logged("number 699")
    assert page.ask("document.querySelector('.newest').hidden")
    box = "document.querySelector('.log')"
    browser.execute_script(f"{box}.scrollTop = {box}.scrollHeight / 2")
    wait_for(lambda: not page.ask("document.querySelector('.newest').hidden"), 5, "there is a way back to the newest")
    before = page.ask(f"{box}.scrollTop")
    say("while somebody reads\n")
    page.shows("Newest ↓ (1 more)")
    assert page.ask(f"{box}.scrollTop") == before
    page.picture("service")
    page.press("Newest ↓ (1 more)")
    wait_for(lambda: page.ask(f"{box}.scrollHeight - {box}.scrollTop - {box}.clientHeight") < 2, 5, "the end is shown")

    # What was written while nobody was there, and what the backlog left out, is there once.
    browser.refresh()
    logged("number 699", "while somebody reads")
    # Where lines come slowly, the page may have taken those that it has for all, and asked for the ones before.
    loaded, asked = browser.execute_script(f"const loaded = (() => {{ {LINES} }})(); return [loaded, {OLDER}];", 0)
    assert "number 0" not in loaded or asked
    assert browser.title.startswith(name)
    browser.execute_script(f"{box}.scrollTop = 0")
    logged("number 0", "the program starts")
    assert [line for line in lines() if line.startswith("number ")] == [f"number {number}" for number in range(700)]

    wants("input", "NUMBER 69")
    wait_for(lambda: lines() == ["number 69", *(f"number {number}" for number in range(690, 700))], 10, "the text filters")
    wants("input", "/(/")
    page.shows("no regular expression")
    wants("input", "")
    wants("select", "3")
    wait_for(lambda: lines() and all("complaint" in line for line in lines()), 10, "the priority filters")
    wants("input", "nothing like that")
    page.shows("No line matches.")
    wants("select", "")
    wants("input", "")
    logged("while somebody reads")

    # Over a restart of the agent nothing is lost and nothing comes twice.
    agent = host.agent_pid()
    host.run("systemctl", "restart", "--no-block", "podkeeper.service")
    for number in range(40):
        say(f"meanwhile {number}\n")
    wait_for(lambda: host.agent_pid() not in (0, agent), 30, "another agent runs")
    host.wait_ready()
    say("meanwhile is over\n")
    logged("meanwhile is over")
    assert [line for line in lines() if line.startswith("meanwhile")] == [f"meanwhile {number}" for number in range(40)] + ["meanwhile is over"]

    # The page holds so many lines, wherever in the log the reader is.
    say("".join(f"flood {number}\n" for number in range(6000)))
    logged("flood 5999")
    assert lines() == [f"flood {number}" for number in range(1000, 6000)]
    browser.execute_script(f"{box}.scrollTop = 0")
    logged("flood 600")
    assert len(lines()) == 5000 and "flood 5999" not in lines()
    page.press("Newest ↓")
    logged("flood 5999")

    # Another release without a build, and a build that fails, as they go.
    page.press("Restart")
    page.shows("Release 2 of ")
    clone.commit({"Containerfile": f"FROM docker.io/library/busybox:stable\nRUN {gate.waits}; echo no luck; exit 3\n"})
    push = Push(clone)
    gate.wait_reached()
    story = f"document.querySelector('#deployment-{last(host, name)['id']} .story')"
    wait_for(lambda: page.ask(f"{story}?.open"), 10, "the deployment's own log is there without being asked for")
    gate.open()
    push.end()
    page.shows("It failed: ")
    stories = lambda: [log for log in range(1, page.ask("document.querySelectorAll('.log').length")) if "no luck" in lines(log)]
    wait_for(lambda: len(stories()) == 1, 10, "the build's words are in its own log")
    page.fits()
    page.picture("service-narrow")
    browser.set_window_size(1000, 800)

    browser.back()
    page.shows("Passkeys")
    browser.forward()
    logged("flood 5999")
    host.delete(name)
    page.shows("This service was removed.")
    browser.get(f"{DASHBOARD}/#services/t-nothing-of-this-name")
    page.shows("There is no service `t-nothing-of-this-name`")
    page.policy_stopped_nothing()


# In one turn of the page, whose lists change.
CHOOSE = """
const list = document.querySelector(`select[aria-label="${arguments[0]}"]`);
const option = [...(list?.options ?? [])].find((one) => one.text === arguments[1]);
if (!option) return false;
list.value = option.value;
list.dispatchEvent(new Event("change", { bubbles: true }));
return true;
"""


def choose(browser, label: str, option: str) -> None:
    """An option of one of the page's lists."""
    wait_for(lambda: browser.execute_script(CHOOSE, label, option), 10, f"{option!r} can be chosen")


# What a page makes of texts: how many nodes, and what they read.
RENDER = """
const [texts, done] = arguments;
import("/assets/ansi.js").then(({ render }) => done(texts.map(([text, times]) => {
  const nodes = render(text.repeat(times));
  return [nodes.length, nodes.map((node) => node.textContent).join("").slice(0, 60)];
})));
"""


def test_what_is_written_to_trouble_a_page_is_text_and_takes_it_no_time(host: Host, browser):
    browser.get(f"{DASHBOARD}/")
    made = lambda *texts: browser.execute_async_script(RENDER, [text if isinstance(text, tuple) else (text, 1) for text in texts])
    assert made(
        "\x1b]8;;http://evil/\x1b\\here\x1b]8;;\x1b\\",
        "\x1b]8;;http://evil/ and 10.0.0.1",
        "\x1b[31;and more",
        "\x1b[4:0mplain\x1b[38:2::1:2:3mcoloured",
        "10%\r20%\r\n30%\r",
    ) == [
        [1, "here"],
        [2, "␛]8;;http://evil/ and 10.0.0.1"],
        [1, "nd more"],
        [2, "plaincoloured"],
        [1, "10%\n20%\n30%"],
    ]
    # Each grows with the text and no faster: a script that goes on for long is ended.
    numbers, text, controls, returns, open_ = made(
        ("\x1b[" + "38;" * 300_000 + "mx", 1), ("\x1b[38;38;38;38mx", 60_000), ("\x01", 1_000_000), ("\r" * 1_000_000 + "x", 1),
        ("\x1b]" + "a" * 1_000_000, 1),
    )  # fmt: skip
    assert numbers == [1, "x"] and text[0] <= 60_000 and controls == [1, "␁" * 60]
    assert returns == [1, "\nx"] and open_ == [2, "␛]" + "a" * 58]


def test_a_releases_lines_are_found_and_a_service_is_rolled_back(host: Host, browser, name: str, tmp_path):
    page = Page(browser)
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    containerfile = """
        FROM docker.io/library/busybox:stable
        COPY said /said/index.html
        RUN cat /said/index.html
        STOPSIGNAL SIGKILL
        CMD cat /said/index.html; exec httpd -f -p 8080 -h /said
    """
    for said in ("the first words", "other words"):
        clone.commit({"Containerfile": containerfile, "said": f"{said}\n"})
        clone.push()
    page.sign_in(host.token)
    page.press(name)
    page.shows("Release 2 of ")

    def lines() -> list[str]:
        return browser.execute_script(LINES, 0)

    def logged(*texts: str) -> None:
        wait_for(lambda: lines() == list(texts), 10, lambda: f"just {texts} are shown; there are {lines()[-20:]}")

    def releases() -> list[str]:
        return page.ask("[...document.querySelectorAll('.filters select:last-of-type option')].map((one) => one.textContent)")

    # What a release wrote is without its build, and without the others.
    wait_for(lambda: releases() == ["All releases", "Release 2", "Release 1"], 10, "the releases can be chosen")
    release = "Only lines of this release"
    choose(browser, release, "Release 1")
    logged("the first words")
    page.picture("release")
    choose(browser, release, "Release 2")
    logged("other words")

    # Somebody who thinks better of it is where they were.
    def press(what: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        page.press("Roll back")
        page.shows("It goes live again as it was, with its environment and its settings, and without a build.")
        page.picture("roll-back")
        assert page.ask("document.querySelector('dialog').contains(document.activeElement)")
        meanwhile()
        page.answer(what)

    press("Cancel")
    page.focus_goes_to("Roll back")
    assert "Release 2 of " in page.text() and "other words" in host.serve(name).text
    # So are they where the page was drawn anew meanwhile.
    press("Cancel", meanwhile=lambda: host.call("POST", f"/services/{name}/stop", 200) and page.shows("stopped"))
    page.focus_goes_to("Roll back")

    press("Roll back to release 1")
    page.shows("Release 3 of ")
    page.shows("Rolled back by ")
    page.shows("the image of release 1")
    page.picture("rolled-back")
    assert "the first words" in host.serve(name).text
    wait_for(lambda: releases() == ["All releases", "Release 3", "Release 2", "Release 1"], 10, "the new one can be chosen")
    # Which lines somebody looks at stays as they chose it.
    assert lines() == ["other words"]
    choose(browser, release, "Release 3")
    logged("the first words")
    choose(browser, release, "All releases")
    wait_for(lambda: lines().count("the first words") >= 3, 10, "all lines are back")
    page.policy_stopped_nothing()


def test_whoever_rolls_back_sees_to_which_release_and_comes_further_back_each_time(host: Host, browser, name: str, tmp_path):
    page = Page(browser)
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")

    def push(said: str) -> str:
        lines = ["FROM docker.io/library/busybox:stable", f"RUN mkdir /said && echo {said} >/said/index.html"]
        run = "exit 1" if said == "nothing" else "exec httpd -f -p 8080 -h /said"
        commit = clone.commit({"Containerfile": "\n".join([*lines, "STOPSIGNAL SIGKILL", f"CMD {run}"]) + "\n"})
        clone.push()
        return commit[:10]

    # There is nothing to go back to where nothing went live, nor where one release alone did, whatever its number is.
    push("nothing")
    page.sign_in(host.token)
    page.press(name)
    page.shows("It failed: ")
    assert page.offers("Deploy") and not page.offers("Roll back")
    row = browser.find_element(By.CSS_SELECTOR, "li[id^='deployment-']")
    assert "release" not in row.text, "one that came to nothing made none"
    assert row.find_element(By.TAG_NAME, "summary").accessible_name.startswith("Log of deployment ")
    first = push("first")
    page.shows(f"Release 2 of {first}")
    assert page.offers("Restart") and not page.offers("Roll back")
    page.press("Restart")
    page.shows("Release 3 of ")
    push("bad")
    page.shows("Release 4 of ")

    def propose() -> tuple[str, list[str]]:
        page.press("Roll back")
        (dialog,) = wait_for(lambda: browser.find_elements(By.TAG_NAME, "dialog"), 10, "it is asked which one")
        return dialog.text, [one.text.split(", ")[0] for one in Select(dialog.find_element(By.TAG_NAME, "select")).options]

    said, options = propose()
    assert options == ["Release 3", "Release 2"]
    assert f"Commit {first}, restarted, with the image of release 2, " in said and "Roll back to release 3" in said
    page.answer("Roll back to release 3")
    page.shows(f"Release 5 of {first}")
    # What was left is not what is proposed, though its number is the next one.
    said, options = propose()
    assert options == ["Release 4", "Release 3", "Release 2"]
    assert f"Commit {first}, pushed, " in said and "Roll back to release 2" in said
    # Another can be chosen, and the button says it.
    Select(browser.find_element(By.CSS_SELECTOR, "dialog select")).select_by_value("4")
    page.shows("Roll back to release 4")
    Select(browser.find_element(By.CSS_SELECTOR, "dialog select")).select_by_value("2")
    page.picture("roll-back-again")
    page.answer("Roll back to release 2")
    page.shows(f"Release 6 of {first}")
    assert host.serve(name).text == "first\n"

    # One that is kept no longer is not offered.
    host.call("PATCH", f"/services/{name}", 200, json={"keep": 1})
    kept = lambda: host.call("GET", f"/services/{name}/releases", 200).json()["releases"]
    wait_for(lambda: len(kept()) == 1, 30, "the others are cleared away")
    page.press("Roll back")
    page.shows(f"“{name}” keeps no other release.")
    page.policy_stopped_nothing()


def test_a_log_is_downloaded(host: Host, browser, name: str, tmp_path):
    page = Page(browser)
    files = tmp_path / "files"
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(files)})
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    containerfile = """
        FROM docker.io/library/busybox:stable
        COPY new /
        RUN seq 6000 | sed "s/^/step /"
        STOPSIGNAL SIGKILL
        CMD seq 6000 | sed "s/^/line /"; echo "a complaint ü" >&2; exec httpd -f -p 8080
    """
    # What was built before would not be built again.
    clone.commit({"Containerfile": containerfile, "new": str(time.time_ns())})
    clone.push()

    def logged() -> list[str]:
        return host.run("podkeeper", "logs", name, "-n", "10000").splitlines()

    # Each of the two comes by a pipe of its own.
    ends = {"line 6000", "a complaint ü"}
    wait_for(lambda: ends <= {line[21:] for line in logged()}, 30, "all is logged")
    page.sign_in(host.token)
    page.press(name)
    page.shows("line 6000")

    def downloaded() -> tuple[str, list[str]]:
        """The name and the lines of the one file that is there, which goes."""

        def whole() -> list[pathlib.Path]:
            return [file for file in files.glob("*") if file.suffix == ".log"]

        (file,) = wait_for(whole, 20, lambda: f"a file is downloaded; the page shows {page.text()!r}")
        text = file.read_text(encoding="utf-8")
        file.unlink()
        assert text.endswith("\n")
        return file.name, text.splitlines()

    def same(found: list[str], wanted: list[str]) -> None:
        """With the first line that differs: pytest's own comparison of so many has no end."""
        assert next((pair for pair in itertools.zip_longest(found, wanted) if pair[0] != pair[1]), None) is None

    def messages(lines: list[str], kind: str) -> list[str]:
        return [line[21:] for line in lines if line[21:].startswith(kind)]

    # More than the page shows, and more than one answer has: as the command prints it.
    page.press("Download")
    page.says(" lines downloaded.")
    page.picture("downloaded")
    file, lines = downloaded()
    assert re.fullmatch(rf"{name}-\d{{8}}T\d{{6}}Z\.log", file)
    same(lines[-10_000:], logged())
    same(messages(lines, "step "), [f"step {number}" for number in range(1, 6001)])
    same(messages(lines, "line "), [f"line {number}" for number in range(1, 6001)])

    # What is chosen, even where it was typed just now.
    choose(browser, "Only lines of this release", "Release 1")
    browser.find_element(By.CSS_SELECTOR, ".filters input").send_keys("LINE 59")
    page.press("Download")
    file, lines = downloaded()
    assert re.fullmatch(rf"{name}-release-1-matching-\d{{8}}T\d{{6}}Z\.log", file)
    same(messages(lines, ""), [f"line {number}" for number in (59, *range(590, 600), *range(5900, 6000))])
    choose(browser, "Only lines of this priority", "Errors and stderr")
    page.press("Download")
    page.says("There is no line to download.")
    browser.find_element(By.CSS_SELECTOR, ".filters input").clear()
    page.press("Download")
    file, lines = downloaded()
    assert "-priority-3-" in file and messages(lines, "") == ["a complaint ü"]
    browser.find_element(By.CSS_SELECTOR, ".filters input").send_keys("/(/")
    page.press("Download")
    page.shows("no regular expression")
    assert not list(files.glob("*"))

    # A deployment's whole story, of which the page has the newest lines.
    page.press_the(By.CSS_SELECTOR, ".story summary")
    story = browser.find_element(By.CSS_SELECTOR, ".story")
    before = "The lines before are in the whole log."
    wait_for(lambda: before in story.get_attribute("textContent"), 20, "the page has the newest lines")
    browser.execute_script("document.querySelector('.story .below button').click()")
    file, lines = downloaded()
    identity = host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"][0]["id"]
    assert file == f"{name}-deployment-{identity}.log"
    told = host.call("GET", f"/deployments/{identity}/log", 200, headers={"Accept": "text/plain"})
    same([line[21:] for line in lines], told.content.decode().splitlines())
    same(messages(lines, "step "), [f"step {number}" for number in range(1, 6001)])
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    page.policy_stopped_nothing()


# The rows above the cursor's.
ABOVE = """(() => {
const rows = [...document.querySelectorAll(".xterm-rows > div")];
const cursor = rows.findIndex((row) => row.querySelector(".xterm-cursor"));
return rows.slice(0, Math.max(cursor, 0)).map((row) => row.textContent.trimEnd());
})()"""


class Screen(Page):
    """A terminal's page."""

    def rows(self) -> list[str]:
        return self.ask("[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent.trimEnd())")

    def types(self, text: str, shows: str) -> None:
        """Until that is a whole row, and what follows is below it: nothing that is there moves any more."""
        self.keys(text + Keys.ENTER)
        wait_for(lambda: shows in self.ask(ABOVE), 10, lambda: f"the screen shows {shows!r}; it shows {self.rows()}")

    def prompts(self) -> None:
        prompts = lambda: any(row.endswith(("$", "#")) for row in self.rows())
        wait_for(prompts, 20, lambda: f"the shell prompts; the page shows {self.text()!r}")

    def session(self) -> str:
        """The session's id, which the address has as soon as it is watched."""
        found = lambda: re.search(r"#terminals/(?!new$)([\w-]+)$", self.driver.current_url)
        return wait_for(found, 10, lambda: f"the address is the session's: {self.driver.current_url}")[1]

    def marks(self, word: str) -> None:
        """A double click on a row's first word."""
        row = self.driver.find_elements(By.CSS_SELECTOR, ".xterm-rows > div")[self.rows().index(word)]
        left = 10 - row.rect["width"] // 2
        ActionChains(self.driver).move_to_element_with_offset(row, left, 0).double_click().perform()


def test_a_terminal_is_opened_shown_again_and_closed(host: Host, browser, name: str):
    page = Screen(browser)
    screen, types, prompts = page.rows, page.types, page.prompts
    host.create(name)
    host.start(name)
    page.sign_in(host.token)

    # In a service's container, from its page.
    browser.get(f"{DASHBOARD}/#services/{name}")
    page.shows("Release 1")
    page.press("Terminal")
    prompts()
    page.shows(f"Shell in {name}")
    page.session()
    types("echo $((6*7))-$(ls -d /si[t]e)", "42-/site")
    # A colour of its own, which is a style that no markup could have set here.
    types("printf '\\033[38;2;1;2;3mcol%s\\033[m\\n' oured", "coloured")
    colours = "[...document.querySelectorAll('.xterm-rows span')].map((one) => getComputedStyle(one).color)"
    assert "rgb(1, 2, 3)" in page.ask(colours)
    types("seq 1 20000", "20000")
    page.picture("terminal")

    # The screen is there again, and the session goes on.
    session = browser.current_url
    types("marked=be''fore; echo is $marked", "is before")
    browser.refresh()
    wait_for(lambda: "is before" in screen(), 10, "the screen is there again")
    types("echo still $marked", "still before")
    assert browser.current_url == session and browser.title.startswith("Shell in")

    # It has the window's size, and a phone's.
    def size() -> str:
        return page.ask("`${document.querySelectorAll('.xterm-rows > div').length} `")

    wide = size()
    page.fits()
    wait_for(lambda: size() != wide, 10, "the terminal has another size")
    # It may change once more.
    page.keys("while sleep 1; do stty size; done" + Keys.ENTER)
    wait_for(lambda: any(line.startswith(size()) for line in screen()), 10, "the program knows its size")
    page.keys("c", held=(Keys.CONTROL,))
    types("echo sti''ll", "still")
    page.press("Ctrl")
    ActionChains(browser).send_keys("l").perform()
    wait_for(lambda: not any("still" in line for line in screen()), 10, "Ctrl-L clears the screen")
    page.picture("terminal-narrow")
    browser.set_window_size(1000, 800)

    # What is pasted is typed, whole.
    page.may_use_the_clipboard()
    copied = "navigator.clipboard.writeText('x'.repeat(50_000)).then(arguments[0])"
    browser.execute_async_script(copied)
    types("stty -icanon -echo; echo rea''dy; head -c 50000 | wc -c; stty sane", "ready")
    page.press("Paste")
    wait_for(lambda: "50000" in screen(), 10, "all of it came")
    ActionChains(browser).send_keys("exit 3" + Keys.ENTER).perform()
    page.shows("The session has ended with exit code 3.")
    page.press("Begin another")
    wait_for(lambda: browser.current_url != session and "exit 3" not in "".join(screen()), 10, "another began")
    prompts()
    in_service = page.session()

    # The isolated shell, by a name.
    work = f"w-{time.time_ns()}"
    browser.get(f"{DASHBOARD}/#terminals")
    page.shows(f"In the container of {name}")
    browser.find_element(By.CSS_SELECTOR, "form input").send_keys(work)
    page.press("Open a terminal")
    prompts()
    isolated = page.session()
    page.shows(work)
    types("echo $((6*7))", "42")
    browser.back()
    page.shows("In the isolated shell")
    page.picture("terminals")
    for one in (in_service, isolated):
        attach = f"//li[.//a[@href='#terminals/{one}']]"
        page.press_the(By.XPATH, f"{attach}//button[.='Close']")
        page.answer("Close it")
        wait_for(lambda row=attach: not browser.find_elements(By.XPATH, row), 20, "it is closed")
    page.fits()
    browser.get(session)
    page.shows("There is no such session any more.")
    page.policy_stopped_nothing()


# A log without an end, in lines of 10 MiB, and one that never comes; each with its button.
ENDLESS = """
const message = "x".repeat(10 * 2 ** 20);
const answers = {
  endless: async () => Response.json({ entries: [{ time: "2026-01-02T03:04:05.678Z", message }], cursor: "more" }),
  never: () => new Promise((resolve) => { window.come = () => resolve(answers.endless()); }),
};
window.asked = 0;
window.fetch = (path) => {
  window.asked++;
  return answers[path.split("/")[2]]();
};
import("/assets/download.js").then(({ download, ofService }) => {
  for (const name of Object.keys(answers)) {
    const one = download(name, () => ({ name: `${name}.log`, read: ofService(name, {}) }));
    document.querySelector("main").append(...one.told, one.button);
  }
  arguments[0]();
});
"""


def downloading(browser, files: pathlib.Path, script: str) -> Page:
    """The page that asks who one is, with what `script` adds to it; what it saves comes into `files`."""
    page = Page(browser)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(files)})
    browser.get(f"{DASHBOARD}/")
    page.shows("Use a token")
    browser.execute_async_script(script)
    return page


def test_a_file_of_a_log_is_bounded_and_can_be_given_up(host: Host, browser, tmp_path):
    files = tmp_path / "files"
    page = downloading(browser, files, ENDLESS)
    endless, never = (browser.find_element(By.CSS_SELECTOR, f"button[title='{name}']") for name in ("endless", "never"))
    endless.click()
    page.shows("The log is too long for a file: this one has its newest 10 lines.")
    assert page.ask("window.asked") == 10
    file = files / "endless.log"
    wait_for(lambda: file.exists() and file.stat().st_size == 10 * (10 * 2**20 + 22), 20, "the file is whole")
    file.unlink()

    never.click()
    page.shows("Reading the log… 0 lines")
    assert never.text == "Stop"
    never.click()
    # Nor is it told again, which it was twice a second.
    browser.execute_async_script("setTimeout(arguments[0], 700)")
    assert never.text == "Download" and "Reading" not in page.text()
    # What comes by then is not wanted.
    browser.execute_script("window.come()")
    endless.click()
    wait_for(file.exists, 20, "another file is there")
    assert page.ask("window.asked") == 21 and [one.name for one in files.iterdir()] == [file.name]


# A deployment's log of twelve lines of 10 MiB, as its stream brings them, and a button for it.
LONG_STORY = """
const numbers = [...Array(12).keys()];
window.acknowledged = 0;
const follow = (wanted, { lines, ended }) => {
  numbers.forEach((number) => {
    const message = `${number} `.padEnd(10 * 2 ** 20, "x");
    lines([{ time: "2026-01-02T03:04:05.678Z", message }], () => window.acknowledged++);
  });
  ended();
  return () => {};
};
import("/assets/download.js").then(({ download, ofDeployment }) => {
  const one = download("story", () => ({ name: "story.log", read: ofDeployment({ follow }, 7) }));
  document.querySelector("main").append(...one.told, one.button);
  arguments[0]();
});
"""


def test_a_file_of_a_deployments_log_has_its_newest_lines(host: Host, browser, tmp_path):
    files = tmp_path / "files"
    page = downloading(browser, files, LONG_STORY)
    page.press_the(By.CSS_SELECTOR, "button[title='story']")
    # Ten of them are more than 100 MiB, by what stands before each.
    page.shows("The log is too long for a file: this one has its newest 9 lines.")
    assert page.ask("window.acknowledged") == 12, "what is left out is taken all the same, or no more would come"
    file = files / "story.log"
    wait_for(lambda: file.exists() and file.stat().st_size == 9 * (10 * 2**20 + 22), 20, "the file is whole")
    with file.open(encoding="utf-8") as lines:
        assert [line[:23].split()[1] for line in lines] == [str(number) for number in range(3, 12)]


TERMINAL = "Terminal input"


@pytest.fixture
def screen(host: Host, browser, name: str) -> Screen:
    """A shell in a service's container."""
    host.create(name)
    host.start(name)
    screen = Screen(browser)
    screen.may_use_the_clipboard()
    screen.sign_in(host.token)
    browser.get(f"{DASHBOARD}/#terminals/new?service={name}")
    screen.prompts()
    screen.focus_goes_to(TERMINAL)
    return screen


def test_a_terminal_is_left_by_keys(screen: Screen):
    # What is for keyboards takes no room of a phone, until it turns out to have one.
    phone = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    screen.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    screen.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    wait_for(lambda: "Ctrl-Shift-M" not in screen.text(), 5, "a phone shows its own keys")
    screen.picture("terminal-phone")
    screen.keys(Keys.TAB)
    screen.shows("Ctrl-Shift-M takes the focus out of the terminal")
    screen.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    screen.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    # Tab is the program's.
    screen.keys("ls -d /si" + Keys.TAB + Keys.ENTER)
    wait_for(lambda: "/site/" in screen.rows(), 10, "Tab completes a name")
    screen.focus_goes_to(TERMINAL)
    # Who sees the page is told of the way out, and so is who hears it.
    screen.shows("Ctrl-Shift-M takes the focus out of the terminal")
    described = "document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent"
    assert "Ctrl-Shift-M" in screen.ask(described)
    screen.picture("terminal-focused")

    # Nothing of it is typed: without Shift it would be Enter.
    screen.keys("echo one-")
    screen.keys("m", held=(Keys.CONTROL, Keys.SHIFT))
    screen.focus_goes_to("Copy")
    screen.picture("terminal-left")
    for button in ("Paste", "Close", TERMINAL):
        screen.keys(Keys.TAB)
        screen.focus_goes_to(button)
    screen.types("line", "one-line")
    screen.keys("m", held=(Keys.CONTROL, Keys.SHIFT))
    screen.keys(Keys.TAB, held=(Keys.SHIFT,))
    screen.focus_goes_to("← Terminals")
    screen.keys(Keys.TAB * 4)
    screen.focus_goes_to(TERMINAL)
    screen.keys("echo sta''ys")
    screen.keys("m", held=(Keys.CONTROL,))
    wait_for(lambda: "stays" in screen.rows(), 10, "Ctrl-M is Enter")

    # One that has ended takes no Tab.
    screen.keys("exit 4" + Keys.ENTER)
    screen.shows("The session has ended with exit code 4.")
    screen.focus_goes_to("Begin another")
    assert "Ctrl-Shift-M" not in screen.text()
    screen.keys(Keys.TAB, held=(Keys.SHIFT,))
    screen.focus_goes_to(TERMINAL)
    screen.keys(Keys.TAB)
    screen.focus_goes_to("Begin another")
    screen.policy_stopped_nothing()


def test_what_a_terminal_shows_is_copied(screen: Screen):
    # What is marked, or all that there is.
    screen.types("clear; seq 1 200; echo wo''rds; echo ot''her", "other")
    screen.press("Copy")
    screen.says("All of it is copied, since nothing was marked.")
    wait_for(lambda: "words\nother" in screen.clipboard(), 5, "all of it is copied")
    assert [line for line in screen.clipboard().splitlines() if line.isdigit()] == [str(number) for number in range(1, 201)]
    screen.focus_goes_to(TERMINAL)
    screen.marks("words")
    screen.picture("terminal-marked")
    screen.press("Copy")
    screen.copies("words")
    screen.focus_goes_to(TERMINAL)

    # By keys the same, and what runs is not interrupted.
    screen.types("echo runs; cat", "runs")
    screen.marks("other")
    screen.keys("c", held=(Keys.CONTROL, Keys.SHIFT))
    screen.copies("other")
    # With nothing marked it does nothing.
    screen.keys("c", held=(Keys.CONTROL, Keys.SHIFT))
    screen.marks("words")
    screen.keys("c", held=(Keys.CONTROL,))
    screen.copies("words")
    # On a keyboard whose C is elsewhere.
    screen.marks("other")
    dvorak = {"modifiers": 2 | 8, "key": "C", "code": "KeyI", "windowsVirtualKeyCode": 67}
    for event in ("rawKeyDown", "keyUp"):
        screen.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": event, **dvorak})
    screen.copies("other")
    screen.types("still here", "still here")
    # Ctrl-C with nothing marked interrupts.
    screen.keys("c", held=(Keys.CONTROL,))
    screen.types("echo $((6*7))", "42")
    screen.policy_stopped_nothing()


class SettingsPage(Page):
    """A service's settings."""

    def open(self, name: str) -> None:
        self.driver.get(f"{DASHBOARD}/#services/{name}/settings")
        self.driver.refresh()
        self.shows(f"Settings of {name}")

    def write(self, field: str, text: str) -> None:
        one = self.driver.find_element(By.ID, field)
        one.clear()
        one.send_keys(text)

    def refused(self, field: str, text: str, by: str = "Save the settings") -> None:
        """What is wrong is said beside the field, which has the focus."""
        self.press(by)
        error = self.driver.find_element(By.ID, f"{field}-error")
        wait_for(lambda: error.text == text, 5, lambda: f"{field} is refused with {text!r}; there is {error.text!r}")
        one = self.driver.switch_to.active_element
        assert (one.get_attribute("id"), one.get_attribute("aria-invalid")) == (field, "true")
        assert error.get_attribute("id") in one.get_attribute("aria-describedby").split()


def test_a_services_settings_are_changed(host: Host, browser, name: str):
    page = SettingsPage(browser)
    host.create(name)
    host.start(name)

    def settings() -> dict[str, Any]:
        service = host.call("GET", f"/services/{name}", 200).json()
        # Marked commits are skipped unless somebody wants them.
        assert service["settings"].pop("skip_marks") is True
        return {"branch": service["branch"], **{key: value for key, value in service["settings"].items() if value}}

    def save() -> None:
        page.press("Save the settings")
        page.says("Saved.")

    page.sign_in(host.token)
    page.press(name)
    page.press("Settings")
    page.shows(f"Settings of {name}")
    assert browser.find_element(By.ID, "branch").get_attribute("value") == "main"
    page.picture("settings")

    # What is wrong is said beside its field, and nothing is changed.
    page.write("keep", "3")
    page.write("memory_mib", "much")
    page.refused("memory_mib", "It takes a whole number.")
    page.write("memory_mib", "15")
    page.refused("memory_mib", "It must be at least 16.")
    page.write("memory_mib", "64")
    page.write("container_port", "70000")
    page.refused("container_port", "It must be from 1 to 65535, or the word `none`.")
    page.write("container_port", "")
    page.write("volumes", "data")
    page.refused("volumes", "“data” is not a name, a space and a path.")
    page.write("volumes", "data /proc")
    plain = "it takes an absolute path of letters, digits and ._-+=@~ that is not one of /proc, /sys and /dev"
    page.refused("volumes", f"`/proc` is not a path for a volume: {plain}.")
    page.write("volumes", "data /data")
    page.write("branch", "a branch")
    page.refused("branch", "`a branch` is not a branch name.")
    page.write("branch", "main")
    page.write("domains", f"{name}.example.org\na b")
    page.refused("domains", "`a b` is not a host name: it takes a-z, 0-9, - and ., at most 253 characters, and is no address.")
    page.write("domains", "other.localhost")
    page.refused("domains", "`other.localhost` is an address that this host gives to a service of that name. Choose a domain of your own.")
    page.picture("settings-refused")
    assert settings() == {"branch": "main"}

    # What counts at once does, and what is for the next release waits for it.
    page.write("domains", f"{name}.example.org\nwww.{name}.example.org\n")
    save()
    assert not browser.find_elements(By.CSS_SELECTOR, "[aria-invalid]") and "address that this host" not in page.text()
    domains = [f"{name}.example.org", f"www.{name}.example.org"]
    wanted = {"branch": "main", "domains": domains, "keep": 3, "memory_mib": 64, "volumes": {"data": "/data"}}
    assert settings() == wanted
    assert host.serve(name, headers={"Host": f"www.{name}.example.org"}).status_code == 200
    page.shows("The release that runs goes on as it was made; the next one has what you changed.")
    page.picture("settings-saved")
    page.press("Restart now")
    page.shows("makes a release with it.")
    page.press(f"How {name} is")
    page.shows("Release 2 of ")
    assert host.user("systemctl", "--user", "show", "-P", "MemoryMax", f"{name}@2").strip() == str(64 * 2**20)

    # What is emptied is the default again; what was changed elsewhere meanwhile stays so.
    page.open(name)
    host.call("PATCH", f"/services/{name}", 200, json={"health_timeout": 20})
    for field in ("memory_mib", "domains", "volumes"):
        page.write(field, "")
    save()
    assert settings() == {"branch": "main", "keep": 3, "health_timeout": 20}
    page.press("Save the settings")
    page.says("Nothing was changed.")
    # A service that doesn't run has nothing to restart.
    host.call("POST", f"/services/{name}/stop", 200)
    page.open(name)
    page.write("memory_mib", "32")
    save()
    assert "goes on as it was made" not in page.text() and "Restart" not in page.text()
    page.fits()
    page.picture("settings-narrow")
    middles = "[...document.querySelector('.unit').children].map((one) => one.getBoundingClientRect()).map(({ top, bottom }) => top + bottom)"
    field, unit = page.ask(middles)
    assert abs(field - unit) < 16, "a unit stands beside its field"
    page.policy_stopped_nothing()


# A file of variables pasted where the name of a new one belongs.
PASTED = """
const clipboardData = new DataTransfer();
clipboardData.setData("text", arguments[0]);
document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
"""


def test_a_services_variables_are_changed(host: Host, browser, name: str):
    page = SettingsPage(browser)
    host.create(name)
    host.call("POST", f"/services/{name}/env/update", 200, json={"env": {"A": "one", "GONE": "x", "KEY": "two\nlines"}})

    def value(key: str):
        return browser.find_element(By.CSS_SELECTOR, f"textarea[aria-label='Value of {key}']")

    def env() -> dict[str, str]:
        return host.call("GET", f"/services/{name}/env", 200).json()["env"]

    def security(key: str) -> str:
        return browser.execute_script("return getComputedStyle(arguments[0]).webkitTextSecurity", value(key))

    page.sign_in(host.token)
    page.open(name)
    assert value("KEY").get_attribute("value") == "two\nlines"
    # Nobody reads them over somebody's shoulder.
    assert security("A") == "disc"
    page.press_the(By.ID, "shown")
    assert security("A") == "none"
    page.picture("variables")

    # Nothing runs that could be restarted.
    value("A").clear()
    value("A").send_keys("two")
    assert "Restart it" not in page.text()
    page.press("Save the variables")
    page.shows("The next release has them.")
    assert env() == {"A": "two", "GONE": "x", "KEY": "two\nlines"}

    host.start(name)
    page.open(name)
    page.press_the(By.CSS_SELECTOR, "button[aria-label='Remove GONE']")
    page.press("Add a variable")
    page.keys("2,B" + Keys.ENTER)
    page.focus_goes_to("Value of 2,B")
    page.press("Save the variables")
    page.shows("`2,B` is not a variable name")
    assert browser.switch_to.active_element.get_attribute("value") == "2,B"
    assert "GONE" in env(), "nothing is changed"
    page.picture("variables-refused")
    page.press("Leave out")
    page.press("Add a variable")
    browser.execute_script(PASTED, "# a file\nexport B='one\n= 1' # why\nPORT=1\nA=three # why\r\n\nC=\n")
    page.press("Save the variables")
    page.shows("makes a release with it.")
    assert env() == {"A": "three", "B": "one\n= 1", "C": "", "KEY": "two\nlines"}
    page.press(f"How {name} is")
    page.shows("Release 2 of ")
    page.shows("Variables changed by ")

    # They are the next release's alone where somebody wants that.
    page.open(name)
    value("C").send_keys("3")
    page.press_the(By.ID, "restarts")
    page.press("Save the variables")
    page.shows("The next release has them.")
    assert env()["C"] == "3" and host.call("GET", f"/services/{name}", 200).json()["release"] == 2
    page.policy_stopped_nothing()


def test_a_service_is_removed_from_its_settings(host: Host, browser, name: str):
    page = SettingsPage(browser)
    host.create(name)
    page.sign_in(host.token)
    page.open(name)
    page.press("Remove it")
    page.shows("Its repository, its releases and its addresses go. There is no way back.")
    page.picture("remove")
    page.answer("Cancel")
    host.call("GET", f"/services/{name}", 200)
    page.press("Remove it")
    page.answer("Remove it")
    page.says(f"“{name}” is removed.")
    page.shows("Passkeys")
    host.call("GET", f"/services/{name}", 404)
    # One that is removed elsewhere is not to be changed any more, and who may no longer is told so.
    host.create(name)
    page.open(name)
    host.delete(name)
    page.shows("This service was removed.")
    host.create(name)
    page.open(name)
    host.call("DELETE", "/sessions", 204)
    page.shows("Sign in with a passkey")


def test_a_service_is_made(host: Host, browser, name: str):
    page = SettingsPage(browser)
    page.may_use_the_clipboard()
    page.sign_in(host.token)
    page.press("New service")
    page.shows("It becomes a part of its address.")
    page.picture("new")

    def refused(field: str, text: str) -> None:
        page.refused(field, text, "Make it")

    refused("name", "It is missing.")
    page.write("name", "A b")
    rule = "it takes 1 to 40 of a-z, 0-9 and -, starting with a letter and not ending with -"
    refused("name", f"`A b` is not a service name: {rule}.")
    page.write("name", "podkeeper")
    why = "it would be read as something of the agent's or of the host's"
    refused("name", f"The name `podkeeper` is reserved: {why}. Choose another name for the service, such as `my-app`.")
    page.write("name", name)
    page.write("branch", "a branch")
    refused("branch", "`a branch` is not a branch name.")
    page.write("branch", "")
    source = Select(browser.find_element(By.ID, "source"))
    assert source.first_selected_option.text == "Empty"
    source.select_by_visible_text("Static site")
    page.shows("HTML, CSS and pictures, served as they are.")
    page.press("Make it")
    page.shows(f"Push to {DASHBOARD}/git/{name}.git to deploy it.")
    assert host.call("GET", f"/services/{name}", 200).json()["source"] == {"type": "template", "template": "static"}
    page.press("Deploy")
    page.shows("Release 1 of ")

    # The name is taken now.
    browser.get(f"{DASHBOARD}/#new")
    page.shows("It becomes a part of its address.")
    page.write("name", name)
    page.press("Make it")
    error = browser.find_element(By.ID, "name-error")
    wait_for(lambda: error.text, 5, "it is refused")
    assert name in error.text

    # One whose code lies elsewhere tells what its forge is to be given.
    host.delete(name)
    Select(browser.find_element(By.ID, "source")).select_by_visible_text("A repository elsewhere")
    refused("uri", "It is missing.")
    page.write("uri", "file:///etc")
    page.press("Make it")
    error = browser.find_element(By.ID, "uri-error")
    wait_for(lambda: error.text, 5, "it is refused")
    page.write("uri", "https://ann:secret@example.org/site.git")
    page.write("branch", "live")
    page.press("Make it")
    page.shows(f"{name} is made")
    page.shows("So that pushes to live are deployed")
    page.picture("made")
    hook = host.call("GET", f"/services/{name}/hook", 200).json()
    page.press_the(By.CSS_SELECTOR, "button[aria-label='Copy the key']")
    page.copies(hook["key"])
    page.press_the(By.CSS_SELECTOR, "button[aria-label='Copy the address']")
    page.copies(hook["url"])
    page.press("Go to its page")
    page.shows("Its code is in https://ann:***@example.org/site.git.")
    page.fits()
    page.policy_stopped_nothing()


def test_what_could_not_be_shown_is_there_once_it_can(host: Host, browser):
    page = Page(browser)
    page.sign_in(host.token)
    browser.set_network_conditions(offline=True, latency=0, throughput=-1)
    browser.execute_script("location.hash = 'services/anything'")
    page.shows("This can’t be shown")
    page.shows("The agent can't be reached.")
    page.picture("unreachable")
    browser.delete_network_conditions()
    page.shows("There is no service `anything`")


def test_what_is_copied_is_said_and_so_is_what_cant_be(screen: Screen):
    screen.types("clear; echo wo''rds", "words")
    screen.marks("words")
    screen.press("Copy")
    screen.copies("words")
    assert screen.ask("document.getElementById('notice').role") == "status", "who hears the page is told, too"
    screen.picture("terminal-copied")
    screen.press("Copy")
    screen.says("All of it is copied, since nothing was marked.")

    # At an address without https a page has no clipboard. What it copies is copied all the same.
    without = "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})"
    screen.driver.execute_script(without)
    screen.marks("words")
    screen.press("Copy")
    screen.says("Copied.")
    screen.focus_goes_to(TERMINAL)
    screen.marks("words")
    screen.keys("c", held=(Keys.CONTROL, Keys.SHIFT))
    screen.driver.execute_script("delete navigator.clipboard")
    screen.copies("words")

    # Where the browser refuses both, and where it lets nothing be read, it is said what to do.
    refuse = """
    const refuse = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    Object.defineProperty(navigator, "clipboard", { value: { writeText: refuse, readText: refuse }, configurable: true });
    document.execCommand = () => false;
    """
    screen.driver.execute_script(refuse)
    screen.press("Copy")
    screen.shows("The browser lets this page copy nothing. Mark the text and copy it yourself.")
    screen.press("Paste")
    screen.shows("Press Ctrl-Shift-V")
    screen.focus_goes_to(TERMINAL)
    screen.policy_stopped_nothing()


def test_the_address_to_push_to_is_copied(host: Host, browser, name: str):
    page = Page(browser)
    page.may_use_the_clipboard()
    host.create(name)
    page.sign_in(host.token)
    page.press(name)
    page.shows("Push to ")
    page.press_the(By.CSS_SELECTOR, "button[aria-label='Copy the address']")
    page.copies(f"{DASHBOARD}/git/{name}.git")


def test_who_may_only_look_at_one_service_is_shown_that_and_changes_nothing(host: Host, browser, name: str, label: str):
    page = Page(browser)
    host.create(name)
    wanted = {"name": label, "scope": "read", "service": name}
    token = host.call("POST", "/credentials/tokens", 201, json=wanted).json()["token"]
    page.sign_in(token, "Logs")
    page.shows("Nothing was logged yet.")
    page.shows("Nothing was pushed yet.")
    assert page.buttons() == ["Copy", "Download"] and "Terminal" not in page.text() and "Settings" not in page.text()
    page.press("Download")
    page.says("There is no line to download.")
    browser.get(f"{DASHBOARD}/#terminals")
    page.shows("A terminal needs the scope `admin`.")
    browser.get(f"{DASHBOARD}/#services/{name}/settings")
    page.shows("Settings need the scope `admin`.")


def test_a_token_signs_in_and_a_stranger_is_told_why_not(host: Host, browser):
    page = Page(browser)
    browser.get(f"{DASHBOARD}/")
    page.press("Sign in with a passkey")
    page.shows("there is no passkey for this address here")
    page.press_the(By.TAG_NAME, "summary")
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys("pk_nothing")
    page.press("Sign in with the token")
    page.shows("This is no token")
    field.clear()
    field.send_keys(host.token)
    page.press("Sign in with the token")
    page.shows("Sessions")
    page.press("Sign out")
    page.shows("Sign in with a passkey")
