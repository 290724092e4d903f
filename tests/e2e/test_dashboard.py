"""The dashboard in a real browser with a virtual authenticator."""

import os
import pathlib
import shutil

import pytest
from host import SLACK, Host, wait_for
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import Protocol, Transport, VirtualAuthenticatorOptions

DASHBOARD = "http://localhost:7070"
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
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60)
    driver.add_virtual_authenticator(
        VirtualAuthenticatorOptions(
            protocol=Protocol.CTAP2,
            transport=Transport.INTERNAL,
            has_resident_key=True,
            has_user_verification=True,
            is_user_verified=True,
        )
    )
    yield driver
    driver.quit()


class Page:
    """The dashboard as a person sees it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, text: str) -> None:
        wait_for(lambda: text in self.text(), 10 * SLACK, f"the page shows {text!r}; it shows {self.text()!r}")

    def press(self, text: str) -> None:
        def found() -> list:
            return [one for one in self.driver.find_elements(By.XPATH, f"//button[.='{text}']") if one.is_enabled()]

        wait_for(found, 10 * SLACK, f"there is a button {text!r}")[-1].click()

    def picture(self, name: str) -> None:
        """Kept for a person to look at, where PODKEEPER_PICTURES names a folder."""
        if folder := os.environ.get("PODKEEPER_PICTURES"):
            self.driver.save_screenshot(pathlib.Path(folder) / f"{name}.png")


def test_a_person_enrols_signs_in_and_out_and_looks_after_passkeys_and_sessions(host: Host, browser):
    page = Page(browser)
    browser.get(f"{DASHBOARD}/")
    page.shows("Sign in with a passkey")
    page.picture("sign-in")
    assert browser.switch_to.active_element.text == "Sign in with a passkey"

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
    browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    page.shows("Tests’ key")

    # On a phone, in the dark.
    browser.set_window_size(400, 800)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    page.picture("narrow-dark")
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "nothing hangs over the side of a narrow screen"

    # A script can't read the cookie, and the policy stopped nothing of ours.
    assert browser.execute_script("return document.cookie") == ""
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert [line for line in said if "Content Security Policy" in line] == []


def test_services_are_shown_as_they_change(host: Host, browser, name: str, tmp_path):
    page = Page(browser)
    token = host.run("podkeeper", "token", "create", "--name", name).strip()
    browser.get(f"{DASHBOARD}/")
    page.shows("Use a token")
    browser.find_element(By.TAG_NAME, "summary").click()
    browser.find_element(By.CSS_SELECTOR, "input[type=password]").send_keys(token)
    page.press("Sign in with the token")
    page.shows("Services")

    def row(*texts: str) -> None:
        def shown() -> bool:
            rows = browser.execute_script(f"{ROWS} return rows.map((row) => row.innerText);")
            return any(one.startswith(name) and all(text in one for text in texts) for one in rows)

        wait_for(shown, 30 * SLACK, f"the service's row has {texts}; the page shows {page.text()!r}")

    def press(what: str) -> None:
        wait_for(lambda: browser.execute_script(ROWS + PRESS, name, what), 10 * SLACK, f"{what!r} can be pressed")

    # Nothing of this is asked for: it comes.
    host.create(name)
    row("created", "Nothing was pushed yet.")
    press("Deploy")
    row("running", "Release 1 of ", "just now")
    links = browser.execute_script("return [...document.querySelectorAll('main a')].map((one) => one.href);")
    assert f"http://{name}.localhost:8080/" in links
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": "FROM docker.io/library/busybox:stable\nRUN echo no luck; exit 3\n"})
    clone.push()
    row("running", "Release 1", "failed: ")
    press("Deployment ")
    row("no luck")
    page.picture("services")
    browser.set_window_size(400, 900)
    page.picture("services-narrow")
    assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    browser.set_window_size(1000, 800)
    press("Stop")
    page.shows("It answers nobody until it is deployed again")
    browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    row("stopped")
    # It comes back with the next agent.
    host.run("systemctl", "restart", "podkeeper.service")
    host.wait_ready()
    clone.git("revert", "--no-edit", "HEAD")
    clone.push()
    row("running", "Release 3 of ")
    assert "no luck" not in page.text()
    host.delete(name)
    wait_for(lambda: not browser.find_elements(By.ID, f"service-{name}"), 30 * SLACK, "its row is gone")
    # Who may no longer is told at once.
    host.run("podkeeper", "token", "remove", name)
    page.shows("Sign in with a passkey")
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert [line for line in said if "Content Security Policy" in line] == []


def test_a_token_signs_in_and_a_stranger_is_told_why_not(host: Host, browser):
    page = Page(browser)
    browser.get(f"{DASHBOARD}/")
    page.press("Sign in with a passkey")
    page.shows("there is no passkey for this address here")
    browser.find_element(By.TAG_NAME, "summary").click()
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys("pk_nothing")
    page.press("Sign in with the token")
    page.shows("this is no token")
    field.clear()
    field.send_keys(host.token)
    page.press("Sign in with the token")
    page.shows("Sessions")
    page.press("Sign out")
    page.shows("Sign in with a passkey")
