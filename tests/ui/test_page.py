"""The page as a person meets it, in a real browser: add, read, ask, check, reload, ask again; and how it looks."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from app import library, reading
from app.errors import OncereadError
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from tests.ui.conftest import Running

BOOK = "The lighthouse of Anvers was built in 1712.\nIts keeper was called Maud Ellery.\nShe kept bees.\n"
HOSTILE = (
    "<img src=x onerror=\"window.pwned='img'\"></script><script>window.pwned='script'</script>\n"
    "${window.pwned='template'} {{constructor}} <|im_end|> &amp; the key is under the third stone.\n"
)

LONG = "a very long title of a document that goes on and on " * 4
TOO_WIDE = """() => [...document.querySelectorAll('#top *, form, form *')].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.width && !each.closest('nav') && box.right > document.documentElement.clientWidth;
}).map((each) => each.outerHTML.slice(0, 90))"""


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is to say next: the tiny one reads for real, but its own words are noise without quotes."""
    said: list[str] = []

    def generate(
        self: Engine, state: ModelState, ids: Sequence[int], _sampling: Sampling, _stop: object
    ) -> Iterator[int]:
        self.next_logits(state, ids)
        yield from self.tokenizer.encode(said.pop(0))

    monkeypatch.setattr(Engine, "generate", generate)
    return said


def test_a_click_while_the_script_is_on_its_way_is_not_lost(site: Running, tab: Page) -> None:
    held: list[Route] = []
    tab.route("**/onceread.js", lambda route: held.append(route))
    tab.goto(site.url)
    tab.get_by_role("button", name="Paste text").click()
    expect(tab.get_by_role("dialog")).to_have_count(0)
    held[0].continue_()
    expect(tab.get_by_role("dialog")).to_be_visible()
    expect(tab.get_by_role("dialog")).to_have_count(1)


def test_read_ask_reload_ask_again(site: Running, tab: Page, replies: list[str], tmp_path: Path) -> None:
    tab.goto(site.url)
    expect(tab.locator(".or-top")).to_contain_text("tiny")
    add(tab, write(tmp_path, "lighthouse.txt", BOOK))
    expect(tab.locator("#reading")).to_contain_text("to read")
    tab.get_by_role("button", name="Read it").click()

    replies.append('Quote: "keeper was called Maud Ellery"\nAnswer: Maud Ellery')
    ask(tab, "Who was the keeper?")
    answer = tab.locator("#thread .or-answer")
    expect(answer.locator(".or-words")).to_contain_text("Maud Ellery")
    expect(answer.locator(".or-quote")).to_contain_text("line 2")
    expect(answer.locator(".or-took")).to_have_text(re.compile(r"^0 of \d+ document tokens re-read · first token "))
    expect(tab.locator("#source mark")).to_have_text("keeper was called Maud Ellery")
    expect(tab.locator("#source .or-page")).to_contain_text("The lighthouse of Anvers was built in 1712.")
    expect(tab.locator("#question textarea")).to_have_value("")

    tab.reload()
    expect(tab.locator("#thread .or-words")).to_contain_text("Maud Ellery")
    expect(tab.locator("#source mark")).to_have_text("keeper was called Maud Ellery")

    replies.append('Quote: "she was eaten by wolves"\nAnswer: Wolves')
    ask(tab, "What became of her?")
    second = tab.locator("#thread .or-answer").nth(1)
    expect(second.locator(".or-unverified")).to_contain_text("not found in the document")
    expect(second.locator(".or-took")).to_contain_text("0 of")
    expect(tab.locator("#talks nav button")).to_have_count(2)  # the new one, and this one with both answers
    tab.locator("#thread .or-answer").nth(0).locator("button.or-where").click()
    expect(tab.locator("#source mark")).to_be_visible()


def test_nothing_of_a_document_is_interpreted(site: Running, tab: Page, replies: list[str], tmp_path: Path) -> None:
    tab.goto(site.url)
    add(tab, write(tmp_path, "<img src=x onerror=window.pwned=1>.txt", HOSTILE))
    tab.get_by_role("button", name="Read it").click()
    replies.append(f'Quote: "{HOSTILE.strip()}"\nAnswer: <b onclick=alert(1)>${{1+1}}</b> {HOSTILE}')
    ask(tab, "<script>window.pwned='question'</script> where is the key?")
    expect(tab.locator("#thread .or-words")).to_contain_text("<b onclick=alert(1)>${1+1}</b>")
    marked = tab.locator("#source mark")
    expect(marked).to_contain_text("${window.pwned='template'} {{constructor}} <|im_end|> &amp; the key")
    expect(tab.locator("#thread .or-question")).to_contain_text("<script>window.pwned='question'</script>")
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("#thread img, #source img, #library img, #thread b").count() == 0


def test_an_error_keeps_the_question(site: Running, tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[int]:
        raise OncereadError("the model <is> out of order")
        yield 0

    tab.goto(site.url)
    add(tab, write(tmp_path, "lighthouse.txt", BOOK))
    tab.get_by_role("button", name="Read it").click()
    monkeypatch.setattr(Engine, "generate", broken)
    ask(tab, "Who was the keeper?")
    expect(tab.locator("#notice [role=alert]")).to_contain_text("The model <is> out of order.")
    expect(tab.locator("#question textarea")).to_have_value("Who was the keeper?")
    expect(tab.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def endless(
    self: Engine, _state: ModelState, _ids: Sequence[int], _sampling: Sampling, stop: Callable[[], bool]
) -> Iterator[int]:
    """An answer without an end, for `Engine.generate`."""
    for token in cycle(self.tokenizer.encode("and more of it, ")):
        time.sleep(0.01)
        if stop():
            return
        yield token


def test_stop_keeps_what_has_come(
    site: Running, tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.goto(site.url)
    add(tab, write(tmp_path, "lighthouse.txt", BOOK))
    tab.get_by_role("button", name="Read it").click()
    monkeypatch.setattr(Engine, "generate", endless)
    ask(tab, "Who was the keeper?")
    expect(tab.locator("#live .or-words")).to_contain_text("and more of it, and more")
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#thread .or-took")).to_contain_text("stopped")
    expect(tab.locator("#thread .or-words")).to_contain_text("and more of it, and more")
    expect(tab.locator("#question textarea")).to_be_focused()


def test_a_click_is_taken_while_an_earlier_one_is_followed(
    site: Running, tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lamp", "bees"):
        reading.read(site.home, library.add(site.home, [write(tmp_path, f"{name}.txt", f"Of {name}.")], name).id)
    monkeypatch.setattr(Engine, "generate", endless)
    shelf, title = tab.locator("#library"), tab.locator("#document h2")
    tab.goto(site.url)
    shelf.get_by_role("button", name="lamp").click()
    ask(tab, "What of it?")
    expect(tab.locator("#live .or-words")).to_contain_text("and more of it")  # it is followed now
    shelf.get_by_role("button", name="bees").click()
    expect(title).to_have_text("bees")
    shelf.get_by_role("button", name="lamp").click()  # this one lasts as long as the answer, which has no end
    expect(tab.locator("#live .or-words")).to_contain_text("and more of it, and more")
    shelf.get_by_role("button", name="bees").click()
    expect(title).to_have_text("bees")
    time.sleep(1)  # by now the server has seen that nobody follows the answer here any more
    assert (title.inner_text(), tab.locator("#live").inner_text().strip()) == ("bees", "")
    shelf.get_by_role("button", name="lamp").click()
    expect(title).to_have_text("lamp")  # or the button may be the one from before, about to go
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#thread .or-took")).to_contain_text("stopped")


def test_a_double_click_and_a_key_held_down_are_one_click(
    site: Running, tab: Page, replies: list[str], tmp_path: Path
) -> None:
    document = library.add(site.home, [write(tmp_path, "lighthouse.txt", BOOK)])
    reading.read(site.home, document.id)
    tab.goto(f"{site.url}?document={document.id}")
    replies.append("Answer: Maud Ellery")
    ask(tab, "Who was the keeper?")
    branch, talks = tab.get_by_role("button", name="Branch from here"), tab.locator("#talks .or-tab")
    expect(talks).to_have_count(2)  # a new one, and this
    branch.dblclick()
    expect(talks).to_have_count(3)
    branch.focus()
    for _ in range(4):
        tab.keyboard.down("Enter")
    tab.keyboard.up("Enter")
    expect(talks).to_have_count(4)
    talks.first.click()
    expect(talks.first).to_have_class(re.compile("or-chosen"))  # this page is made after whatever came before it
    assert len(site.home.conversations.list(document.id)) == 3


def test_a_bad_upload_says_so_and_leaves_nothing(site: Running, tab: Page, tmp_path: Path) -> None:
    tab.goto(site.url)
    add(tab, write(tmp_path, "empty.txt", ""))
    expect(tab.locator("#notice [role=alert]")).to_contain_text("empty")
    assert site.home.documents.list() == []
    assert list(site.home.settings.home.glob("upload-*")) == []
    expect(tab.locator("#upload input[type=file]")).to_have_count(1)  # ready for the next file


def test_the_sample_book_is_one_click_away(site: Running, tab: Page) -> None:
    tab.goto(site.url)
    tab.get_by_role("button", name="Try the sample book").click()
    expect(tab.locator("#document h2")).to_have_text("The King of the Golden River (John Ruskin)")
    expect(tab.locator("#reading [role=progressbar]")).to_be_visible()
    tab.locator("#reading").get_by_role("button", name="Cancel").click()
    expect(tab.get_by_role("button", name=re.compile("Read it|Go on reading"))).to_be_visible()


def test_the_bar_and_the_question_stay_in_view(site: Running, tab: Page, replies: list[str], tmp_path: Path) -> None:
    tab.set_viewport_size({"width": 1280, "height": 420})
    tab.goto(site.url)
    add(tab, write(tmp_path, "lamp.txt", "The lamp burns oil.\n" * 40))
    tab.get_by_role("button", name="Read it").click()
    replies.append("Answer: " + "It burns oil, and more oil. " * 60)
    ask(tab, "What does it burn?")
    expect(tab.locator("#thread .or-onward")).to_be_attached()
    for place in (0, 100_000):
        tab.evaluate("(y) => scrollTo(0, y)", place)
        expect(tab.locator("#top")).to_be_in_viewport(ratio=1)
        expect(tab.locator("#question")).to_be_in_viewport(ratio=1)
    assert tab.evaluate("scrollY") > 200


@pytest.mark.parametrize("width", [320, 390])
def test_forms_fit_a_phone(site: Running, tab: Page, width: int, tmp_path: Path) -> None:
    for name in ("one", "two"):
        document = library.add(site.home, [write(tmp_path, f"{name}.txt", f"Text number {name}.")], f"{LONG}{name}")
        reading.read(site.home, document.id)
    tab.set_viewport_size({"width": width, "height": 700})
    for view in ("reports", "settings", "several"):
        tab.goto(f"{site.url}?view={view}")
        expect(tab.locator("#other form")).to_be_visible()
        assert tab.evaluate(TOO_WIDE) == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_who_uses_the_keyboard_keeps_their_place(site: Running, tab: Page, tmp_path: Path) -> None:
    site.worker.stop()  # so that the job waits
    tab.goto(site.url)
    add(tab, write(tmp_path, "lamp.txt", "The lamp burns oil."))
    tab.get_by_role("button", name="Read it").press("Enter")
    tab.locator("#reading").get_by_role("button", name="Pause").press("Enter")
    expect(tab.locator("#reading").get_by_role("button", name="Go on")).to_be_focused()


def test_a_pasted_text_needs_no_title_and_a_new_name_is_not_blank(site: Running, tab: Page) -> None:
    tab.goto(site.url)
    tab.get_by_role("button", name="Paste text").click()
    tab.get_by_label("Text", exact=True).fill("The lamp burns oil.")
    tab.get_by_role("button", name="Add it").click()
    expect(tab.locator("#document h2")).to_have_text("The lamp burns oil.")
    tab.get_by_role("button", name="Rename").click()
    tab.get_by_label("Title").fill("   ")
    tab.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(tab.get_by_role("dialog")).to_be_visible()


def test_the_plots_words_are_whole_on_a_phone(site: Running, tab: Page, tmp_path: Path) -> None:
    document = library.add(site.home, [write(tmp_path, "lamp.txt", "The lamp burns oil. " * 900)])
    reading.read(site.home, document.id)
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(f"{site.url}?document={document.id}")
    tab.get_by_text("Memory", exact=True).click()
    expect(tab.locator(".or-figure svg").first).to_be_visible()
    expect(tab.locator(".or-figure svg").first).to_have_css("overflow", "visible")
    lefts = tab.locator(".or-figure text").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().left)")
    assert min(lefts) > 0


def test_scroll_bars_and_boxes_are_dark_in_the_dark(site: Running, tab: Page) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto(site.url)
    expect(tab.locator("html")).to_have_css("color-scheme", "dark")
    tab.get_by_role("button", name="Dark or light").click()
    expect(tab.locator("html")).to_have_css("color-scheme", "light")


def write(folder: Path, name: str, text: str) -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def add(tab: Page, path: Path) -> None:
    """Drop a file on the page."""
    expect(tab.locator(".or-welcome")).to_be_visible()
    tab.locator("#upload input[type=file]").set_input_files(path)


def ask(tab: Page, question: str) -> None:
    """Type a question once the document is read, and send it with the Enter key."""
    box = tab.locator("#question textarea")
    expect(box).to_be_enabled()
    box.fill(question)
    box.press("Enter")
