"""Damaged files by the ten thousand: each must be read, read in part, or refused with one line."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import SourceError
from app.extract.archive import open_archive
from app.extract.parts import FileText, SourceFile, Unreadable
from app.extract.reading import read_file
from app.extract.sandbox import Overstepped, Sandbox
from tests.mutants import mutant, seeds

INPUTS = 100_000


def outcome(kind: str, data: bytes, sandbox: Sandbox, folder: Path) -> str:
    """`read`, `in part`, `refused`, or `ended` if its sandbox had to be; any other exception is a crash of ours."""
    try:
        if kind not in ("zip", "tar"):
            _checked(read_file(SourceFile(f"a.{kind.rstrip('23')}", len(data), lambda n: data[:n]), [sandbox])[0])
            return "read"
        (folder / f"a.{kind}").write_bytes(data)
        with ExitStack() as opened:
            files, skipped = open_archive(folder / f"a.{kind}", opened, sandbox)
            for file in files:
                _checked(read_file(file, [sandbox])[0])
        return "in part" if skipped else "read"
    except Overstepped as reason:
        return _checked_line(reason, "ended")
    except (Unreadable, SourceError) as reason:
        return _checked_line(reason, "refused")


def _checked(read: FileText) -> None:
    """What was read holds what every document promises."""
    text = "\n\n".join(read.pages)
    assert text.strip()
    assert "\0" not in text
    assert "\r" not in text
    text.encode("utf-8")
    assert all(0 <= heading.char_start < len(text) for heading in read.outline)
    assert all("\n" not in line for line in (*read.skipped, *read.notes))
    assert not read.line_starts or len(read.line_starts) == len(read.pages)


def _checked_line(reason: Exception, word: str) -> str:
    assert str(reason)
    assert "\n" not in str(reason)
    return word


def run() -> Iterator[str]:
    """A line for each kind, as soon as it is done: what became of its mutants."""
    kinds = sorted(seeds())
    yield f"{'kind':8}{'inputs':>9}{'read':>9}{'in part':>9}{'refused':>9}{'ended':>7}{'crashes':>9}{'per s':>8}"
    with TemporaryDirectory() as folder, Sandbox(seconds=20) as sandbox:
        for kind in kinds:
            found: Counter[str] = Counter()
            begun = time.perf_counter()
            each = -(-INPUTS // len(kinds))
            for number in range(each):
                try:
                    found[outcome(kind, mutant(kind, number), sandbox, Path(folder))] += 1
                except Exception as error:  # a crash of the service: counted, and named so that it can be made again
                    found["crashes"] += 1
                    yield f"  crash: mutant({kind!r}, {number}): {type(error).__name__}: {error}"[:300]
            counts = [found[word] for word in ("read", "in part", "refused", "ended", "crashes")]
            speed = each / (time.perf_counter() - begun)
            columns = "".join(f"{n:>{w},}" for n, w in zip(counts, (9, 9, 9, 7, 9), strict=True))
            yield f"{kind:8}{each:9,}{columns}{speed:8.0f}"
