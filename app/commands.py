"""What each command of the command line does: call an app function, and show what came of it.

Each takes the home, the parsed options and a stop flag, and returns (the JSON object, the text for people, exit code).
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from app import library, reading, reports, session
from app.citations import Citation
from app.errors import OncereadError
from app.home import Home
from model.fingerprint import ARITHMETIC
from model.sampling import Sampling
from model.state import bytes_per_token, fixed_bytes
from model.weights import parameter_count
from storage.documents import Document

Outcome = tuple[dict[str, Any], str, int]
Stop = Callable[[], bool]


def read(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread read`: take the paths in and read them into saved state."""
    document = library.add(home, options.paths, options.title)
    with ReadingBar() as bar:
        result = reading.read(home, document.id, bar, stop)
    text = (
        f"{result.title}  [{result.document}]\n"
        f"{result.tokens_read:,} of {result.tokens:,} tokens read in {result.seconds:.1f} s, "
        f"{result.tokens_reused:,} reused ({result.reason}); state {_size(result.state_bytes)}"
    )
    return asdict(result), text + _skipped(document), 0


def estimate(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread estimate`: what reading would take."""
    result = library.estimate(home, options.paths)
    pages = f", {result.pages:,} pages" if result.pages else ""
    text = (
        f"{result.title}: {result.tokens:,} tokens{pages}; reading takes about {_time(result.seconds_estimate)}, "
        f"state {_size(result.state_bytes)}"
    )
    if result.tokens_reused:
        text += f"; {result.tokens_reused:,} tokens are in saved state already"
    lines = [f"  {skip.path}: {skip.reason}" for skip in result.skipped]
    lines += [f"  {path}: {note}" for path, note in result.notes]
    return asdict(result), "\n".join([text, *lines]), 0


def ask(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread ask`: stream an answer, then its citations."""
    document = home.documents.find(options.document)
    try:
        sampling = Sampling(options.temperature, options.top_p, options.seed, options.max_tokens)
    except ValueError as error:
        raise OncereadError(str(error)) from error
    answer: session.Answer | None = None
    with ReadingBar() as bar:
        for piece in session.ask(home, document.id, options.question, options.conversation, sampling, stop, bar):
            if isinstance(piece, session.Answer):
                answer = piece
            elif not options.json:
                print(piece, end="", flush=True)
    assert answer is not None  # ask's last item is the answer
    facts = asdict(answer) | {"citations": [_citation(citation) for citation in answer.citations]}
    lines = ["", ""]
    for number, citation in enumerate(answer.citations, 1):
        lines.append(f"[{number}] {_place(citation)}")
    lines.append(
        f"{answer.tokens_reused:,} document tokens from saved state, {answer.tokens_read:,} tokens read "
        f"({answer.reason}); first token {answer.seconds_to_first_token:.2f} s; conversation {answer.conversation}"
    )
    return facts, "\n".join(lines), 0


def list_documents(home: Home, _options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread list`: the library."""
    infos = [library.info(home, document) for document in home.documents.list()]
    lines = [
        f"{info.document.id}  {_read_so_far(info):>22}  {_size(info.state_bytes):>9}  {info.document.title}"
        for info in infos
    ]
    return {"documents": [_facts(info) for info in infos]}, "\n".join(lines) or "The library is empty.", 0


def show(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread show`: one document and what of it could not be read."""
    info = library.info(home, home.documents.find(options.document))
    document = info.document
    conversations = home.conversations.list(document.id)
    parts = [asdict(segment) for segment in document.segments]
    text = "\n".join(
        [
            f"{document.title}  [{document.id}]",
            f"{document.kind}, {document.chars:,} characters in {len(parts):,} parts, {_read_so_far(info)}, "
            f"state {_size(info.state_bytes)}, {len(conversations)} conversations",
        ]
    )
    facts = _facts(info) | {
        "parts": parts,
        "conversations": [{"id": talk.id, "title": talk.title} for talk in conversations],
    }
    return facts, text + (_skipped(document) or "\nNothing was skipped."), 0


def remove(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread remove`: forget a document."""
    info = library.info(home, home.documents.find(options.document))
    library.remove(home, info.document.id)
    facts = {"document": info.document.id, "title": info.document.title, "state_bytes": info.state_bytes}
    return facts, f"Removed {info.document.title}; {_size(info.state_bytes)} of state freed.", 0


def report(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread report`: fill the cells, write the files."""
    ids = list(dict.fromkeys(home.documents.find(name).id for name in options.documents))
    with tqdm(unit="cell", file=sys.stderr, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = reports.run_report(home, options.template, ids, options.output, progress)
    text = f"{result.cells} cells: {result.done} asked, {result.reused} reused, {result.failed} failed"
    return asdict(result), "\n".join([text, *result.files]), 1 if result.failed else 0


def serve(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread serve`: the page, until Ctrl-C."""
    if options.page is None:
        raise OncereadError("this entry has no page: start it with `onceread serve`")
    options.page(home, options.host, options.port)
    return {"host": options.host, "port": options.port}, "", 0


def check(home: Home, _options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread check`: verify every saved state."""
    verdicts = home.snapshots.verify()
    damaged = [asdict(verdict) for verdict in verdicts if verdict.damaged]
    orphaned = [asdict(verdict) for verdict in verdicts if verdict.orphaned]
    count = len({verdict.snapshot for verdict in verdicts})
    facts = {"snapshots": count, "damaged": damaged, "orphaned": orphaned}
    lines = [f"{count} saved states, {len(damaged)} damaged, {len(orphaned)} with orphaned rows"]
    return facts, "\n".join(lines), 1 if damaged or orphaned else 0


def model(home: Home, _options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread model`: shape, size, fingerprint, device."""
    engine = home.engine
    config = engine.config
    parameters, active = parameter_count(config)
    facts = {
        "model": home.settings.model_name,
        "folder": str(home.settings.model),
        "parameters": parameters,
        "active_parameters": active,
        "layers": config.layers,
        "kda_layers": len(config.kda_layers),
        "mla_layers": len(config.mla_layers),
        "hidden": config.hidden,
        "experts": config.experts,
        "experts_per_token": config.top_k,
        "vocabulary": config.vocab_size,
        "max_tokens": config.max_length,
        "fingerprint": engine.fingerprint,
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "kernels": ARITHMETIC,
        "weights_bytes": sum(p.numel() * p.element_size() for p in engine.model.parameters()),
        "state_bytes_per_token": bytes_per_token(config, engine.dtype),
        "state_bytes_fixed": fixed_bytes(config, engine.dtype),
    }
    return facts, "\n".join(f"{name.replace('_', ' '):22} {value}" for name, value in facts.items()), 0


class ReadingBar:
    """A progress bar on stderr that appears when there is something to read."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> "ReadingBar":
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: reading.Progress) -> None:
        """Show how far reading is."""
        if self._bar is None:
            self._bar = tqdm(
                total=progress.total, initial=progress.done, unit="tok", unit_scale=True, desc="reading",
                file=sys.stderr, leave=False,
            )
        self._bar.update(progress.done - self._bar.n)


def _facts(info: library.DocumentInfo) -> dict[str, Any]:
    document = info.document
    return {
        "document": document.id,
        "title": document.title,
        "kind": document.kind,
        "chars": document.chars,
        "pages": document.pages,
        "tokens": document.tokens,
        "tokens_read": info.tokens_read,
        "complete": info.complete,
        "state_bytes": info.state_bytes,
        "skipped": [asdict(skip) for skip in document.skipped],
    }


def _citation(citation: Citation) -> dict[str, Any]:
    """A citation in the contract's form: `location` is null where the quote was not found."""
    location = asdict(citation.place) if citation.place else None
    return {"quote": citation.quote, "verified": citation.verified, "location": location}


def _place(citation: Citation) -> str:
    if citation.place is None:
        return f"“{citation.quote}”: not found in the document"
    place = citation.place
    page = f", page {place.page}" if place.page else ""
    first, last = place.line_start, place.line_end
    lines = f"line {first}" if first == last else f"lines {first}–{last}"
    return f"“{citation.quote}”: {place.path}{page}, {lines}"


def _read_so_far(info: library.DocumentInfo) -> str:
    if info.complete:
        return f"{info.tokens_read:,} tokens"
    if info.tokens_read:
        return f"{info.tokens_read:,} of {info.document.tokens or 0:,} tokens"
    return "not read yet"


def _skipped(document: Document) -> str:
    return "".join(f"\n  {skip.path}: {skip.reason}" for skip in document.skipped)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
