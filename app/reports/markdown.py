"""The report as Markdown: sections, documents, answers with their quotes; what a person has to look at comes first."""

from app.reports.report import Coverage, Entry, Finished, Part, needs

STATES = {"found": "found", "not_found": "not in the document", "needs_review": "needs a person", "failed": "failed",
          "missing": "not asked yet"}


def write(report: Finished) -> str:
    """The whole report."""
    lines = [f"# {plain(report.title)}", ""]
    if report.description:
        lines += [plain(report.description), ""]
    counted = ", ".join(f"{count} {STATES[state]}" for state, count in report.counts.items() if count)
    lines += [f"{len(report.entries)} cells: {counted}.", ""]
    if report.trouble:
        lines += [f"**{plain(report.trouble)}**", ""]
    if report.for_people:
        lines += ["## For a person to look at", "", *(f"- {plain(line)}" for line in needs(report.for_people)), ""]
    for part in report.parts:
        lines += _part(part)
    lines += ["## Documents", "", *(f"- {_coverage(document)}" for document in report.documents), ""]
    settings = ", ".join(f"{name} {value}" for name, value in {**report.settings, **report.variables}.items())
    made = f"Answered by {report.model} ({report.fingerprint}), {report.date}, job {report.job}; {settings}."
    return "\n".join([*lines, "---", plain(made), ""])


def _part(part: Part) -> list[str]:
    lines = [f"## {plain(part.title)}", ""] if part.title else []
    for row in part.rows:
        if not part.across:
            lines += [f"{'###' if part.title else '##'} {plain(row[0].title)}", ""]
        for entry in row:
            lines += _entry(entry)
    return lines


def _entry(entry: Entry) -> list[str]:
    lines = [f"**{plain(entry.ask)}**", ""]
    if entry.text:
        lines += [plain(entry.text), ""]
    if entry.problem:
        lines += [f"*{STATES[entry.state]}: {plain(entry.problem)}*", ""]
    for quote in entry.quotes:
        lines += [f"> {plain(quote.text)}", f"> — {plain(quote.where or 'not found in the document')}", ""]
    if entry.sources:
        names = dict.fromkeys(f"{source['title']} ({source['column']})" for source in entry.sources)
        lines += [f"Put together from: {plain('; '.join(names))}.", ""]
    return lines


def _coverage(document: Coverage) -> str:
    if document.removed:
        return f"{plain(document.title)}: removed from the library"
    tokens = f", {document.tokens:,} tokens" if document.tokens else ""
    pages = f", {document.pages:,} pages" if document.pages else ""
    skipped = "; ".join(f"{part['path']}: {part['reason']}" for part in document.skipped) or "nothing was skipped"
    name = plain(f"{document.title} ({document.id})")
    return f"{name}: {document.chars:,} characters{tokens}{pages}; {plain(skipped)}"


def plain(text: str) -> str:
    """Text on one line with Markdown's and HTML's marks made harmless."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|!&" else c for c in text)
