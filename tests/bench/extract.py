"""Taking documents in: speed, memory and characters lost, beside pypdfium2, pandoc and a plain packing of files."""

import html
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from app.extract import extract
from tests import pandoc

BOOK = Path(__file__).parents[2] / "ui" / "sample.txt"
PAGES = 1_000
REPOSITORY_BYTES = 100_000_000


def run() -> list[str]:
    """Two tables: speed on large inputs, and characters lost in each kind."""
    with TemporaryDirectory() as folder:
        return [*_speed(Path(folder)), "", *_lost(Path(folder))]


def _speed(folder: Path) -> list[str]:
    pdf, repository = _pdf(folder), _repository(folder)
    lines = [f"{'large inputs':42}{'seconds':>9}{'per s':>16}{'memory beyond the text':>25}"]
    for name, code in (("pypdf", "paged.importlib.util.find_spec = lambda name: None"), ("pypdfium2", "")):
        seconds, _, memory, pages = _measured(pdf, code)
        lines.append(_line(f"PDF, {pages:,} pages, {name}", seconds, f"{pages / seconds:,.0f} pages", memory))
    begun = time.perf_counter()
    _by_pypdfium2(pdf.read_bytes())
    seconds = time.perf_counter() - begun
    lines.append(_line("  pypdfium2 alone, one process", seconds, f"{pages / seconds:,.0f} pages"))
    seconds, text_bytes, memory, _ = _measured(repository, "")
    megabytes = text_bytes / 1e6
    lines.append(_line(f"repository, {megabytes:,.0f} MB", seconds, f"{megabytes / seconds:,.1f} MB", memory))
    begun = time.perf_counter()
    packed = _packed(repository)
    seconds = time.perf_counter() - begun
    lines.append(_line("  plain packing of the same files", seconds, f"{len(packed) / seconds / 1e6:,.1f} MB"))
    return lines


def _line(name: str, seconds: float, speed: str, memory: int | None = None) -> str:
    megabytes = f"{memory / 1e6:,.0f} MB" if memory is not None else ""
    return f"{name:42}{seconds:9.1f}{speed:>16}{megabytes:>25}"


def _measured(path: Path, code: str) -> tuple[float, int, int, int]:
    """Seconds, bytes of text, peak memory of all processes beyond it, and pages, in a process of its own."""
    program = (
        "import resource, sys, time; from pathlib import Path; from app.extract import extract, paged\n"
        f"{code}\nbegun = time.perf_counter()\nread = extract([Path(sys.argv[1])])\n"
        "took = time.perf_counter() - begun\n"
        "own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "size = sys.getsizeof(read.text)\n"
        "print(took, len(read.text.encode('utf-8', 'replace')), own + 2 * theirs - size, read.pages or 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, path], cwd=root, check=True, capture_output=True, text=True)
    seconds, size, memory, pages = done.stdout.split()
    return float(seconds), int(size), int(memory), int(pages)


def _lost(folder: Path) -> list[str]:
    """Visible characters of the sample book that are missing from each kind's text, here and by others."""
    book = BOOK.read_text("utf-8")
    source = re.sub(r"(?m)^(CHAPTER .*)$", r"# \1", re.sub(r"([\\`*_{}\[\]<>#|~^$@-])", r"\\\1", book))
    lines = [f"{'kind':8}{'seconds':>9}{'lost':>7}{'added':>7}   {'other':12}{'seconds':>9}{'lost':>7}{'added':>7}"]
    for kind in ("epub2", "epub3", "docx", "html", "rst", "ipynb", "md", "pdf"):
        path = folder / f"book.{kind.rstrip('23')}"
        if kind == "pdf":
            _print(folder, f"<pre style='white-space: pre-wrap'>{html.escape(book)}", path)
        else:
            path.write_bytes(source.encode() if kind == "md" else pandoc.make(kind, source))
        began = time.perf_counter()
        text = extract([path]).text
        ours = f"{kind:8}{time.perf_counter() - began:9.2f}{_difference(book, text)}"
        began = time.perf_counter()
        name, other = _other(kind, path)
        lines.append(f"{ours}   {name:12}{time.perf_counter() - began:9.2f}{_difference(book, other)}")
    return lines


def _other(kind: str, path: Path) -> tuple[str, str]:
    """The same by pypdfium2 or pandoc."""
    if kind == "pdf":
        return "pypdfium2", _by_pypdfium2(path.read_bytes())
    given = {"epub2": "epub", "epub3": "epub", "md": "markdown"}.get(kind, kind)
    command = ["pandoc", f"--from={given}", "--to=plain", "--wrap=none", str(path)]
    return "pandoc", subprocess.run(command, check=True, capture_output=True).stdout.decode()


def _difference(book: str, text: str) -> str:
    """Letters, digits and signs lost and added; not the marks that Markdown or a typesetter changes."""

    def counted(each: str) -> Counter[str]:
        return Counter(character for character in each if character.isalnum() or character in ",;:!?()%&/+=")

    lost, added = counted(book) - counted(text), counted(text) - counted(book)
    return f"{lost.total():7,}{added.total():7,}"


def _by_pypdfium2(data: bytes) -> str:
    from pypdfium2 import PdfDocument

    return "\n".join(page.get_textpage().get_text_range() for page in PdfDocument(data))


def _packed(root: Path) -> str:
    """What the usual packers do: each file's text under its name."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True).stdout
    names = [name.decode() for name in listed.split(b"\0") if name]
    return "\n\n".join(f"{name}\n---\n{(root / name).read_bytes().decode('utf-8', 'replace')}\n---" for name in names)


def _pdf(folder: Path) -> Path:
    """The sample book over and over, printed by Chromium (with its own heads and feet) until it has PAGES pages."""
    paragraphs = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in BOOK.read_text("utf-8").split("\n\n"))
    style = "<style>body { font: 12pt serif } h1 { break-before: page }</style>"
    chapters = "".join(f"<h1>Chapter {n}</h1>{paragraphs}" for n in range(1, PAGES // 11))
    whole = _print(folder, f"<title>The Book</title>{style}{chapters}", folder / "whole.pdf")
    from pypdfium2 import PdfDocument

    made, first = PdfDocument.new(), PdfDocument(whole)
    made.import_pages(first, list(range(min(PAGES, len(first)))))
    made.save(folder / "large.pdf")
    return folder / "large.pdf"


def _print(folder: Path, source: str, out: Path) -> Path:
    (folder / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{source}", "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={out}"]
    subprocess.run(["chromium", *options, (folder / "page.html").as_uri()], check=True, capture_output=True)
    return out


def _repository(folder: Path) -> Path:
    """A git repository of real code: Python files of the packages installed here, up to REPOSITORY_BYTES."""
    packages = Path(sys.modules["torch"].__file__ or "").parents[1]
    root, size = folder / "repository", 0
    for path in sorted(packages.rglob("*.py"))[:9_900]:
        if size < REPOSITORY_BYTES and path.stat().st_size:
            target = root / path.relative_to(packages)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            size += path.stat().st_size
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "-q"], ["add", "-f", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", root, *words], check=True, capture_output=True)
    return root
