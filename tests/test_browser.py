"""The page in clients/examples/browser, in a real browser, served from a port of its own."""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from programs import EXAMPLES
from running import Glmserve

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="left out: no Chromium with its driver (make browser)"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Where the page is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=EXAMPLES / "browser")) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="left out: selenium is not installed (make browser)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=800,700"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """What a person does with the page, and sees."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def until(self, condition: Any) -> None:
        """Waits until it holds."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.browser, 30, poll_frequency=0.05).until(lambda _: condition())

    def ask(self, question: str, model: str = "tiny-glm4") -> None:
        self.until(lambda: self.browser.find_elements("css selector", f"option[value='{model}']"))
        self.one("#model").send_keys(model)
        self.one("#question").send_keys(question)
        self.one("#send").click()

    def lines(self) -> list[str]:
        """What was said so far."""
        return [line.get_property("textContent") for line in self.browser.find_elements("css selector", "#talk p")]

    def rest(self) -> None:
        """Waits until the answer has ended."""
        self.until(lambda: self.one("#send").is_displayed())

    def error(self) -> str:
        text: str = self.one("#error").text
        return text


@pytest.fixture
def page(browser: Any, site: str, demo: Glmserve) -> Page:
    return Page(browser, f"{site}?server={demo.openai_url}")


def test_a_conversation(page: Page) -> None:
    page.ask("Hello! My name is Ada.")
    page.rest()
    page.ask("What is my name?")
    page.rest()
    assert page.lines()[::2] == ["Hello! My name is Ada.", "What is my name?"]
    assert "Ada" in page.lines()[3]
    assert page.error() == ""


def test_an_answer_is_shown_while_it_comes_and_can_be_stopped(page: Page) -> None:
    page.ask("/slow", "scripted")
    page.until(lambda: len(page.lines()[1].split()) > 5)
    assert not page.one("#send").is_displayed()
    page.one("#stop").click()
    page.rest()
    stopped = page.lines()[1]
    page.ask("hello again", "scripted")
    page.rest()
    assert page.lines() == ["/slow", stopped, "hello again", "hello again"]
    assert page.error() == ""


def test_what_a_model_writes_is_text(page: Page) -> None:
    hostile = "<img src=x onerror=\"document.title = 'taken'\"><script>document.title = 'taken'</script> & <b>bold</b>"
    page.ask(hostile, "scripted")
    page.rest()
    assert page.lines() == [hostile, hostile]
    assert page.one("#talk").find_elements("css selector", "img, script, b") == []
    assert page.browser.title == "glmserve"


@pytest.mark.parametrize(
    ("question", "lines", "error"),
    [("/fail", [], "before the first word"), ("/fail after 2", ["/fail after 2", "word word"], "after 2 words")],
)
def test_errors_are_shown(page: Page, question: str, lines: list[str], error: str) -> None:
    page.ask(question, "scripted")
    page.rest()
    assert error in page.error()
    assert page.lines()[1:] == lines[1:]
    page.ask("hello", "scripted")
    page.rest()
    assert page.error() == ""


def test_no_server_is_said(browser: Any, site: str) -> None:
    page = Page(browser, f"{site}?server=http://127.0.0.1:1/v1")
    page.until(page.error)
    assert page.error() == "There is no server at http://127.0.0.1:1/v1."


def test_a_key_is_sent_where_one_is_wanted(browser: Any, site: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("only-this-one")
    with Glmserve("up", "--model", "scripted", "--api-key-file", str(file)) as keyed:
        page = Page(browser, f"{site}?server={keyed.openai_url}")
        page.until(lambda: "This server wants an API key" in page.error())
        page.one("#key").send_keys("only-this-one\t")
        page.ask("hello", "scripted")
        page.rest()
        assert page.lines() == ["hello", "hello"]
        assert page.error() == ""
