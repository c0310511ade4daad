"""Report templates: sections of questions, each with the kind of answer it wants, from YAML checked by a schema."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Any

from app.errors import TemplateError
from app.reports.kinds import Kind
from app.reports.marks import Marked

SHIPPED = resources.files("app.reports") / "templates"
SCHEMA: dict[str, Any] = json.loads((resources.files("app.reports") / "schema.json").read_text("utf-8"))


@dataclass(frozen=True)
class Question:
    """One column of a report.

    column: its heading. length: words at most, if said. quote: whether an answer without a quote found in the document
    needs a person. sources: for a question across documents, the ids of the questions whose answers it is put together
    from.
    """

    id: str
    ask: str
    column: str
    kind: Kind = "text"
    options: tuple[str, ...] = ()
    length: int | None = None
    quote: bool = False
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Questions asked of each document, or (`across`) once of the answers about all of them."""

    title: str
    across: bool
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Template:
    """What to ask. source: the YAML text; variables: the values it was filled with."""

    title: str
    description: str
    sections: tuple[Section, ...]
    source: str
    variables: Mapping[str, str]

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The questions asked of each document."""
        return tuple(q for section in self.sections if not section.across for q in section.questions)

    @cached_property
    def across(self) -> tuple[Question, ...]:
        """The questions across documents, each after those it is put together from."""
        questions = {q.id: q for section in self.sections if section.across for q in section.questions}
        order = TopologicalSorter({id: question.sources for id, question in questions.items()}).static_order()
        return tuple(questions[id] for id in order if id in questions)


def shipped() -> list[str]:
    """The short names of the templates that come with Onceread."""
    return sorted(file.name.removesuffix(".yaml") for file in SHIPPED.iterdir() if file.name.endswith(".yaml"))


def load(name: str | Path, variables: Mapping[str, str] | None = None) -> Template:
    """The template in a YAML file, or a shipped one by its short name.

    Raises TemplateError with the line and key at fault.
    """
    path = Path(name)
    try:
        if path.suffix == "" and str(name) in shipped() and not path.is_file():
            return parse(str(name), (SHIPPED / f"{name}.yaml").read_text("utf-8"), variables)
        return parse(path.name, path.read_text("utf-8-sig"), variables)
    except OSError as error:
        known = ", ".join(shipped())
        raise TemplateError(f"the template {name} cannot be read ({error.strerror}); shipped ones: {known}") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"the template {name} is not valid YAML: it is not UTF-8 text") from error


def parse(name: str, source: str, variables: Mapping[str, str] | None = None) -> Template:
    """A template from its YAML text; `variables` go before its own. Raises TemplateError with line and key."""
    marked = Marked(name, source)
    if not isinstance(marked.data, dict):
        raise marked.error((), "needs a title and a list of questions, each with id and ask")
    marked.check(SCHEMA)
    return _Parser(marked, variables or {}).template(source)


class _Parser:
    """From checked YAML data to a template."""

    def __init__(self, marked: Marked, variables: Mapping[str, str]) -> None:
        self.marked = marked
        own = {key: str(value) for key, value in marked.data.get("variables", {}).items()}
        if unknown := sorted(set(variables) - set(own)):
            known = ", ".join(own) or "none"
            raise TemplateError(f"the template {marked.name} has no variable {unknown[0]!r}; it has: {known}")
        self.variables = self._resolved({**own, **variables})

    def template(self, source: str) -> Template:
        """The whole template."""
        data = self.marked.data
        plain = [(("questions",), {"title": "", "questions": data["questions"]})] if "questions" in data else []
        listed = [(("sections", n, "questions"), section) for n, section in enumerate(data.get("sections", ()))]
        places: dict[str, tuple[str | int, ...]] = {}
        sections = []
        for path, section in [*plain, *listed]:
            across = section.get("across", False)
            questions = []
            for number, item in enumerate(section["questions"]):
                question = self._question((*path, number), item, across)
                if question.id in places:
                    raise self.marked.error((*path, number, "id"), f"the question id {question.id!r} is used twice")
                places[question.id] = (*path, number)
                questions.append(question)
            sections.append(Section(self._filled(path, section["title"]), across, tuple(questions)))
        sections = self._with_sources(sections, places)
        title = self._filled(("title",), data.get("title") or Path(self.marked.name).stem)
        description = self._filled(("description",), data.get("description", ""))
        return Template(title, description, tuple(sections), source, self.variables)

    def _question(self, path: tuple[str | int, ...], item: Mapping[str, Any], across: bool) -> Question:
        kind, options = item.get("kind", "text"), tuple(item.get("options", ()))
        if kind == "one of" and not options:
            raise self.marked.error((*path, "kind"), "one of what? give options: [first, second]")
        if options and kind != "one of":
            raise self.marked.error((*path, "options"), "only an answer of `kind: one of` has options")
        if "from" in item and not across:
            raise self.marked.error((*path, "from"), "only questions of a section with `across: true` have from")
        id = item["id"].strip()
        return Question(
            id=id,
            ask=self._filled((*path, "ask"), item["ask"]).strip(),
            column=item.get("column", id),
            kind=kind,
            options=tuple(self._filled((*path, "options"), option) for option in options),
            length=item.get("length"),
            quote=item.get("quote") == "required",
            sources=tuple(item.get("from", ())),
        )

    def _with_sources(self, sections: list[Section], places: Mapping[str, tuple[str | int, ...]]) -> list[Section]:
        """Every question across documents with its sources: all questions of documents if it names none."""
        asked = tuple(q.id for section in sections if not section.across for q in section.questions)
        graph = {q.id: q.sources for section in sections for q in section.questions}
        for id, sources in graph.items():
            if unknown := [source for source in sources if source not in graph]:
                raise self.marked.error((*places[id], "from"), f"there is no question {unknown[0]!r}")
            if not asked and not sources and any(id == q.id for s in sections if s.across for q in s.questions):
                raise self.marked.error(places[id], "there is nothing to put together: no section asks each document")
        if cycle := _cycle(graph):
            raise self.marked.error((*places[cycle[0]], "from"), f"goes in a circle: {' <- '.join(cycle)}")
        return [
            replace(s, questions=tuple(replace(q, sources=q.sources or asked) for q in s.questions)) if s.across else s
            for s in sections
        ]

    def _resolved(self, values: dict[str, str]) -> dict[str, str]:
        """Variables that name other variables, filled in."""
        graph = {name: [n for n in _names(value) if n in values] for name, value in values.items()}
        if cycle := _cycle(graph):
            raise self.marked.error(("variables", cycle[0]), f"goes in a circle: {' <- '.join(cycle)}")
        self.variables = {}
        for name in TopologicalSorter(graph).static_order():
            self.variables[name] = self._filled(("variables", name), values[name])
        return self.variables

    def _filled(self, path: tuple[str | int, ...], text: str) -> str:
        """The text with `{name}` replaced."""
        for name in _names(text):
            if name not in self.variables:
                known = ", ".join(self.variables) or "none are given"
                raise self.marked.error(path, f"there is no variable {name!r} ({known})")
        return _NAME.sub(lambda found: self.variables[found[1]], text)


_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _names(text: str) -> list[str]:
    return _NAME.findall(text)


def _cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Names that lead to themselves, the first one again at the end, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])[::-1]
    return []
