"""The whole story in a real browser: a PDF and code, wide and narrow, dark and light, two people, what is refused."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fpdf import FPDF
from playwright.sync_api import Browser, Page, expect

from app import people
from app.home import Home
from app.people import Doors
from app.worker import Worker
from model.engine import Engine
from model.state import ModelState
from tests.ui.conftest import Running, served
from tests.ui.test_page import add, ask
from ui.shared import Site

PHONE = {"width": 390, "height": 844}
PASSWORD = "correct horse battery"
KEEPER = "Its keeper was called Maud Ellery and she kept bees."


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is to say next; the tiny one reads for real, but its own words are noise."""
    said: list[str] = []

    def generate(
        self: Engine, state: ModelState, ids: Sequence[int], _sampling: object, _stop: object
    ) -> Iterator[int]:
        self.next_logits(state, ids)
        yield from self.tokenizer.encode(said.pop(0))

    monkeypatch.setattr(Engine, "generate", generate)
    return said


def pdf(folder: Path) -> Path:
    """A PDF whose second page names the keeper."""
    made = FPDF()
    made.set_font("Helvetica", size=12)
    for words in ("The lighthouse of Anvers was built in 1712.", KEEPER):
        made.add_page()
        made.multi_cell(0, 6, words)
    path = folder / "lighthouse.pdf"
    made.output(str(path))
    return path


def code(folder: Path) -> Path:
    """A zip of two files of code."""
    path = folder / "lamp.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lamp/light.py", "import math\n\n\ndef brightness(oil):\n    return math.sqrt(oil) * 40\n")
        archive.writestr("lamp/keeper.py", "def bees():\n    return 12\n")
    return path


def no_serious_finding(tab: Page) -> None:
    """What axe finds wrong with what is seen now."""
    found = Axe().run(tab).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in serious]


def test_a_pdf_and_a_zip_of_code(site: Running, tab: Page, says: list[str], tmp_path: Path) -> None:
    tab.goto(site.url)
    add(tab, pdf(tmp_path))
    expect(tab.locator("#reading")).to_contain_text("to read")
    no_serious_finding(tab)
    tab.get_by_role("button", name="Read it").click()
    says.append(f'Quote: "{KEEPER}"\nAnswer: Maud Ellery')
    ask(tab, "Who was the keeper?")
    expect(tab.locator("#thread .or-quote")).to_contain_text("page 2")
    picture = tab.locator("#source img")
    expect(picture).to_have_attribute("alt", f"Page 2 with the quote marked: {KEEPER}")
    tab.wait_for_function("document.querySelector('#source img').naturalWidth > 500")
    tab.get_by_text("As text").click()
    expect(tab.locator("#source mark")).to_have_text(KEEPER)
    no_serious_finding(tab)

    tab.locator("#upload input[type=file]").set_input_files(code(tmp_path))
    expect(tab.locator("#document h2")).to_contain_text("lamp")
    tab.get_by_role("button", name="Read it").click()
    says.append('Quote: "return math.sqrt(oil) * 40"\nAnswer: by the root of the oil')
    ask(tab, "How bright is it?")
    expect(tab.locator("#thread .or-quote")).to_contain_text("light.py, line 5")
    line = tab.locator("#source tr:has(mark)")
    expect(line).to_contain_text("5    return math.sqrt(oil) * 40")
    expect(line.locator(".or-k")).to_have_text("return")
    tab.get_by_role("button", name="Dark or light").click()
    no_serious_finding(tab)
    for view in ("Reports", "Settings"):
        tab.get_by_role("button", name=view, exact=True).click()
        expect(tab.locator("#other form")).to_be_visible()
        no_serious_finding(tab)


def test_on_a_phone(site: Running, browser: Browser, says: list[str], tmp_path: Path) -> None:
    tab = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
    tab.set_default_timeout(30_000)
    tab.goto(site.url)
    add(tab, pdf(tmp_path))
    tab.get_by_role("button", name="Read it").click()
    says.append(f'Quote: "{KEEPER}"\nAnswer: Maud Ellery')
    ask(tab, "Who was the keeper?")
    expect(tab.locator("#thread .or-words")).to_contain_text("Maud Ellery")
    expect(tab.locator("#source")).to_be_hidden()
    tab.locator("#thread button.or-where").click()
    expect(tab.locator("#source img")).to_be_visible()
    tab.get_by_role("button", name="Close the source").click()
    expect(tab.locator("#source")).to_be_hidden()
    tab.get_by_role("button", name="Library").click()
    expect(tab.locator(".or-card")).to_be_visible()
    no_serious_finding(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    tab.close()


def test_two_people_and_a_wrong_password(
    home: Home, port: int, browser: Browser, tmp_path: Path, says: list[str]
) -> None:
    for name in ("ann", "bob"):
        people.add(home, name, PASSWORD)
    with served(Site(home, Worker(home), Doors(home)), port) as running:
        tabs = {name: browser.new_context().new_page() for name in ("ann", "bob")}
        for name, tab in tabs.items():
            tab.set_default_timeout(30_000)
            tab.goto(running.url)
            sign_in(tab, name, "wrong horse battery")
            expect(tab.get_by_role("alert")).to_have_text("The name or the password is wrong.")
            no_serious_finding(tab)
            sign_in(tab, name, PASSWORD)
            expect(tab.locator(".or-welcome")).to_be_visible()
        ann, bob = tabs["ann"], tabs["bob"]
        add(ann, pdf(tmp_path))
        ann.get_by_role("button", name="Read it").click()
        says.append(f'Quote: "{KEEPER}"\nAnswer: Maud Ellery')
        ask(ann, "Who was the keeper?")
        expect(ann.locator("#thread .or-words")).to_contain_text("Maud Ellery")
        picture = ann.locator("#source img").get_attribute("src")
        bob.goto(ann.url)
        expect(bob.locator("#notice")).to_contain_text("not in the library")
        expect(bob.locator(".or-card")).to_have_count(0)
        assert bob.request.get(f"{running.url[:-1]}{picture}").status == 404
        assert ann.request.get(f"{running.url[:-1]}{picture}").status == 200
        ann.get_by_role("button", name="Sign out ann").click()
        expect(ann.get_by_label("Password")).to_be_visible()
        for tab in tabs.values():
            tab.context.close()


def sign_in(tab: Page, name: str, password: str) -> None:
    """Fill in the form and send it."""
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(password)
    tab.get_by_role("button", name="Sign in").click()


def test_300_mb_are_refused_in_words(site: Running, tab: Page, tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(300 * 1024**2)
    tab.goto(site.url)
    add(tab, path)
    expect(tab.get_by_role("alert")).to_contain_text("More than 256 MB at once cannot be taken in")
    assert site.home.documents.list() == []
