"""EPUB 2 and 3: the chapters in reading order, and the table of contents as the outline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from app.extract.clean import clean
from app.extract.packed import Package, beside, local
from app.extract.parts import GAP, FileText, Heading, Reader, Unreadable
from app.extract.web import Page, decode_web

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


@dataclass(frozen=True)
class _Entry:
    """A line of the table of contents: depth, words, and the member and id it leads to."""

    level: int
    title: str
    member: str
    anchor: str


def read_epub(data: bytes, _path: str) -> FileText:
    """The text of every chapter. Raises `Unreadable` if it is broken, protected, or holds no text."""
    package = Package(data)
    container = package.tree(_CONTAINER)
    root = next((each.get("full-path", "") for each in container.iter() if local(each) == "rootfile"), "")
    if not root:
        raise Unreadable("it is no EPUB: it does not say where its book is")
    book = package.tree(root)
    items = {each.get("id", ""): each for each in book.iter() if local(each) == "item"}
    spine = [each for each in book.iter() if local(each) == "itemref"]
    spine.sort(key=lambda each: each.get("linear") == "no")  # what stands apart comes last
    chapters = [beside(root, items[ref].get("href", "")) for each in spine if (ref := each.get("idref", "")) in items]
    chapters = list(dict.fromkeys(chapters))
    if locked := _encrypted(package) & set(chapters):
        raise Unreadable(f"it is protected ({len(locked)} of {len(chapters)} chapters are encrypted)")
    contents = list(_contents(package, root, items))
    texts: list[str] = []
    outline: list[Heading] = []
    skipped, notes, at = [], [], 0
    for chapter in chapters:
        try:
            source, guess = decode_web(package.read(chapter))
        except Unreadable as reason:
            skipped.append(f"chapter {chapter}: {reason}")
            continue
        here = [entry for entry in contents if entry.member == chapter]
        page = Page(source, frozenset(entry.anchor for entry in here if entry.anchor))
        text = clean(page.text)[0].strip("\n")
        notes += [f"chapter {chapter}: {note}" for note in ([guess] if guess else [])]
        skipped += [f"chapter {chapter}: {note}" for note in (*page.skipped, *page.notes)]
        if contents:
            outline += [Heading(e.level, e.title, at + min(page.anchors.get(e.anchor, 0), len(text))) for e in here]
        else:
            outline += [Heading(h.level, h.title, at + h.char_start) for h in page.outline]
        if text.strip():
            texts.append(text)
            at += len(text) + len(GAP)
    if not texts:
        raise Unreadable((skipped or ["it holds no text"])[0])
    end = at - len(GAP)
    outline = [Heading(h.level, h.title, min(h.char_start, end - 1)) for h in outline]
    outline.sort(key=lambda heading: heading.char_start)
    whole = GAP.join(texts) + "\n"
    return FileText("epub", (whole,), False, _title(book), tuple(outline), (), tuple(skipped), tuple(notes))


def _title(book: etree._Element) -> str | None:
    title = next((" ".join((each.text or "").split()) for each in book.iter() if local(each) == "title"), "")
    return clean(title)[0] or None


def _encrypted(package: Package) -> set[str]:
    """The members that are encrypted; fonts often are, and do not matter."""
    if _ENCRYPTION not in package.names:
        return set()
    listed = package.tree(_ENCRYPTION)
    return {beside("", each.get("URI", "")) for each in listed.iter() if local(each) == "CipherReference"}


def _contents(package: Package, root: str, items: dict[str, etree._Element]) -> Iterator[_Entry]:
    """The table of contents: that of EPUB 3, else that of EPUB 2, else nothing."""
    for item in items.values():
        if "nav" in (item.get("properties") or "").split():
            yield from _nav(package, beside(root, item.get("href", "")))
            return
    for item in items.values():
        if item.get("media-type") == "application/x-dtbncx+xml":
            yield from _ncx(package, beside(root, item.get("href", "")))
            return


def _nav(package: Package, member: str) -> Iterator[_Entry]:
    try:
        tree = package.tree(member)
    except Unreadable:
        return  # then the chapters' own headings serve
    for nav in tree.iter():
        types = [value for name, value in nav.attrib.items() if str(name).endswith("type")]
        if local(nav) != "nav" or "toc" not in types:
            continue
        level = 0
        for event, each in etree.iterwalk(nav, events=("start", "end")):
            if local(each) == "ol":
                level += 1 if event == "start" else -1
            elif local(each) == "a" and event == "start":
                words = " ".join("".join(each.itertext()).split())
                yield from _entry(level, words, member, each.get("href", ""))


def _ncx(package: Package, member: str) -> Iterator[_Entry]:
    try:
        tree = package.tree(member)
    except Unreadable:
        return
    level = 0
    for event, each in etree.iterwalk(tree, events=("start", "end")):
        if local(each) != "navPoint":
            continue
        level += 1 if event == "start" else -1
        if event == "start":
            words = next((" ".join((t.text or "").split()) for t in each.iter() if local(t) == "text"), "")
            target = next((t.get("src", "") for t in each.iter() if local(t) == "content"), "")
            yield from _entry(level, words, member, target)


def _entry(level: int, words: str, member: str, target: str) -> Iterator[_Entry]:
    if words and target:
        yield _Entry(level, clean(words)[0], beside(member, target), target.partition("#")[2])


READER = Reader("epub", frozenset({".epub"}), read_epub)
