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
from tests import pandoc
from tests.ui.conftest import Running, served
from tests.ui.test_intake import scanned
from tests.ui.test_page import add, ask, write
from ui.shared import Site

PHONE = {"width": 390, "height": 844}
PASSWORD = "correct horse battery"
KEEPER = "Its keeper was called Maud Ellery and she kept bees."


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is to say next, and in reports always; the tiny one reads for real, but its words are noise."""
    said: list[str] = []

    def generate(
        self: Engine, state: ModelState, ids: Sequence[int], _sampling: object, _stop: object
    ) -> Iterator[int]:
        self.next_logits(state, ids)
        yield from self.tokenizer.encode(said.pop(0))

    def generate_many(
        self: Engine, _state: ModelState, questions: Sequence[Sequence[int]], *_: object
    ) -> Iterator[list[tuple[int, int | None]]]:
        rows = range(len(questions))
        for token in [*self.tokenizer.encode(f'Quote: "{KEEPER}"\nAnswer: Maud Ellery'), None]:
            yield [(row, token) for row in rows]

    monkeypatch.setattr(Engine, "generate", generate)
    monkeypatch.setattr(Engine, "generate_many", generate_many)
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


def test_an_epub_and_a_report_of_it(site: Running, tab: Page, says: list[str], tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    path.write_bytes(pandoc.make("epub3", f"# The lamp\n\nIt burns oil.\n\n# The keeper\n\n{KEEPER}\n"))
    tab.goto(site.url)
    add(tab, path)
    tab.get_by_role("button", name="Read it").click()
    says.append(f'Quote: "{KEEPER}"\nAnswer: Maud Ellery')
    ask(tab, "Who was the keeper?")
    expect(tab.locator("#source mark")).to_have_text(KEEPER)
    tab.get_by_role("button", name="Reports").click()
    tab.locator("#other input[type=checkbox]").check()
    tab.get_by_role("button", name="Make the report").click()
    expect(tab.locator("#results")).to_contain_text("done", timeout=60_000)
    expect(tab.locator("#results .or-cells")).to_contain_text("Mood")
    expect(tab.locator("#results .or-cells tbody tr").first).to_contain_text("Maud Ellery")
    no_serious_finding(tab)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="CSV", exact=True).click()
    assert download.value.path().read_text("utf-8").startswith("document,title,section,question,ask,state,answer")
    with tab.context.expect_page() as opened:
        tab.get_by_role("link", name="Open").click()
    expect(opened.value.locator("body")).to_contain_text("Book brief")


def test_conversations_are_begun_branched_repeated_and_exported(
    site: Running, tab: Page, says: list[str], tmp_path: Path
) -> None:
    tab.goto(site.url)
    add(tab, write(tmp_path, "bees.txt", f"CHAPTER I. THE KEEPER\n\n{KEEPER} The bees of Maud Ellery flew far.\n"))
    tab.get_by_role("button", name="Read it").click()
    says.append(f'Quote: "{KEEPER}"\nAnswer: the keeper')
    first = tab.get_by_role("button", name="Who or what is Maud Ellery?")
    expect(first).to_be_visible()
    no_serious_finding(tab)
    first.click()
    words = tab.locator("#thread .or-words")
    expect(words).to_contain_text("the keeper")
    expect(tab.locator(".or-suggestion")).to_have_count(0)
    says.append("Answer: a woman with bees")
    tab.get_by_role("button", name="Answer again").click()
    expect(words).to_contain_text("a woman with bees")
    expect(tab.locator("#talks .or-tab")).to_have_count(3)  # a new one, the first and its branch
    tab.get_by_role("button", name="Branch from here").click()
    expect(tab.locator("#talks .or-tab")).to_have_count(4)
    expect(words).to_contain_text("a woman with bees")
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Export", exact=True).nth(1).click()
    assert "a woman with bees" in download.value.path().read_text("utf-8")

    with tab.expect_download() as document:
        tab.get_by_role("link", name="Export", exact=True).first.click()
    exported = tmp_path / "bees.onceread"
    document.value.save_as(exported)
    site.home.documents.remove(site.home.documents.list()[0].id)
    tab.goto(site.url)
    add(tab, exported)
    expect(tab.locator("#notice")).to_contain_text("“bees” came in with 3 conversations")
    expect(tab.locator("#talks .or-tab")).to_have_count(4)  # and its state, so that it can be asked at once


def test_several_documents_at_once(site: Running, tab: Page, says: list[str], tmp_path: Path) -> None:
    tab.goto(site.url)
    add(tab, write(tmp_path, "bees.txt", KEEPER))
    tab.get_by_role("button", name="Read it").click()
    expect(tab.locator("#question textarea")).to_be_visible()
    tab.locator("#upload input[type=file]").set_input_files(write(tmp_path, "lamp.txt", "The lamp burns oil."))
    expect(tab.locator("#document h2")).to_have_text("lamp")
    tab.get_by_role("button", name="Read it").click()
    tab.get_by_role("button", name="Ask several").click()
    for title in ("bees", "lamp"):
        tab.get_by_label(title, exact=True).check()
    tab.get_by_label("Question").fill("Who kept the bees?")
    says.extend([f'Quote: "{KEEPER}"\nAnswer: Maud Ellery'] * 3)  # each document's answer, and one from both
    tab.get_by_role("button", name="Ask them all").click()
    # The newest document comes first: its quote, number 1, stands nowhere in it, so the answer rests on number 2.
    expect(tab.locator("#results .or-words")).to_have_text("Maud Ellery [2]")
    expect(tab.locator("#results .or-quote").nth(0)).to_contain_text("not found in lamp")
    tab.reload()  # the answer is kept, and can be removed
    expect(tab.locator("#results .or-words")).to_have_text("Maud Ellery [2]")
    no_serious_finding(tab)
    tab.get_by_role("button", name="bees, line 1").click()
    expect(tab.locator("#source mark")).to_have_text(KEEPER)
    expect(tab.locator("#document h2")).to_have_text("bees")
    tab.get_by_role("button", name="Ask several").click()
    tab.locator("#results").get_by_role("button", name="Remove").click()
    tab.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(tab.locator("#results .or-words")).to_have_count(0)


def test_a_scan_is_read_by_ocr_only_when_asked_and_a_new_version_is_known(
    site: Running, tab: Page, tmp_path: Path
) -> None:
    tab.goto(site.url)
    add(tab, scanned(tmp_path / "mill.pdf", "The scanned mill by the river"))
    expect(tab.get_by_role("alert")).to_contain_text("mill.pdf: no text on its only page: it looks scanned")
    assert site.home.documents.list() == []
    tab.get_by_role("button", name="Read by OCR").click()
    expect(tab.get_by_label("Language of the pages")).to_have_value("eng")
    no_serious_finding(tab)
    tab.get_by_role("dialog").get_by_role("button", name="Read by OCR").click()
    expect(tab.locator("#document h2")).to_have_text("mill")
    tab.get_by_text("Coverage · nothing left out · 1 note").click()
    expect(tab.locator(".or-coverage")).to_contain_text("1 page read by OCR (tesseract, eng): expect wrong letters")
    newer = scanned(tmp_path / "mill.pdf", "The scanned mill", "A page of text.")
    tab.locator("#upload input[type=file]").set_input_files(newer)
    expect(tab.locator(".or-coverage")).to_contain_text("no text (an image?): page 2")
    expect(tab.locator("#document")).to_contain_text("It looks like a new version of “mill”")
    expect(tab.get_by_role("button", name="Read these pages by OCR")).to_be_visible()
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


@pytest.fixture
def open_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that the page may read by path; it is asked for when the page is built."""
    monkeypatch.setenv("ONCEREAD_ROOTS", str(tmp_path))


@pytest.mark.usefixtures("open_folder")
def test_a_file_of_this_computer_is_taken_in_by_its_path(site: Running, tab: Page, tmp_path: Path) -> None:
    (tmp_path / "bees.txt").write_text(KEEPER, "utf-8")
    tab.goto(site.url)
    tab.get_by_role("button", name="From a folder").click()
    tab.get_by_label("Path").fill(str(tmp_path / "bees.txt"))
    tab.get_by_role("button", name="Add it").click()
    expect(tab.locator("#document h2")).to_have_text("bees")


def test_300_mb_are_refused_in_words(site: Running, tab: Page, tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(300 * 1024**2)
    tab.goto(site.url)
    add(tab, path)
    expect(tab.get_by_role("alert")).to_contain_text("More than 256 MB at once cannot be taken in")
    assert site.home.documents.list() == []
