"""The coverage report: what is missing, by reason."""

from app.coverage import Coverage, Gap, coverage, in_words
from app.extract.codebase import INDEX


def test_the_index_of_files_is_no_file_of_theirs() -> None:
    assert coverage([INDEX, "a.py", "b.py"], None, []).files == 2


def test_nothing_is_missing() -> None:
    report = coverage(["a.txt"], None, [])
    assert report == Coverage(1, 0, None, 0, (), (), ())
    assert in_words(report) == []


def test_pages_are_grouped_by_reason_and_run_together() -> None:
    skipped = [("a.pdf", f"page {n}: no text (an image?)") for n in (3, 7, 8, 9)]
    garbled = "garbled text ({} of 200 characters; a font without a character map?)"
    skipped += [("a.pdf", f"page {n}: {garbled.format(n)}") for n in (4, 5)]
    skipped += [("a.pdf", "note: 12 running heads, feet and page numbers left out")]
    report = coverage(["a.pdf"] * 20, 20, skipped)
    assert (report.pages, report.pages_missing, report.files_skipped) == (20, 6, 0)
    assert report.gaps == (
        Gap("no text (an image?)", True, 4, "pages 3, 7–9"),
        Gap("garbled text (a font without a character map?)", True, 2, "pages 4–5"),
    )
    assert in_words(report) == [
        "6 of 20 pages are not or not rightly in the text",
        "  4 × no text (an image?): pages 3, 7–9",
        "  2 × garbled text (a font without a character map?): pages 4–5",
        "  (scanned pages can be read with --ocr)",
        "  a.pdf: 12 running heads, feet and page numbers left out",
    ]


def test_files_and_guesses() -> None:
    skipped = [(f"out/{n}.log", "named in .gitignore") for n in range(5)] + [("x.epub", "2 pictures not read")]
    skipped += [(f"{n}.txt", "note: read as windows-1252 (guessed)") for n in range(2)]
    report = coverage(["x.epub", "0.txt", "1.txt"], None, skipped)
    assert (report.files, report.files_skipped, report.encodings) == (3, 5, (("windows-1252", 2),))
    assert in_words(report) == [
        "3 files read, 5 left out",
        "  5 × named in .gitignore: out/0.log, out/1.log, out/2.log and 2 more",
        "  2 pictures not read: x.epub",
        "  2 files read as windows-1252 (guessed)",
    ]
