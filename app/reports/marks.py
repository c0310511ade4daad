"""YAML that remembers on which line each of its parts stands, checked against a JSON schema in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from app.errors import TemplateError

if TYPE_CHECKING:
    from jsonschema import ValidationError

Path = tuple[str | int, ...]
"""The way from the top to a part: keys and list positions (from 0)."""

MOST_CHARS = 1_000_000


class Marked:
    """A parsed YAML text and the line of every part of it."""

    def __init__(self, name: str, text: str) -> None:
        """Parse `text`, called `name` in errors. Raises TemplateError for broken YAML or a key given twice."""
        self.name = name
        self.lines: dict[Path, int] = {}
        if len(text) > MOST_CHARS:
            raise TemplateError(f"the template {name} has {len(text):,} characters, more than {MOST_CHARS:,}")
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            self._note(node, ())
            self.data: Any = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or " ".join(str(error).split())
            raise TemplateError(f"the template {name}{where} is not valid YAML: {problem}") from error

    def error(self, path: Path, problem: str) -> TemplateError:
        """An error that names the line and the key it is about."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        where = f", {key(path)}" if path else ""
        return TemplateError(f"the template {self.name}, line {self.lines.get(known, 1)}{where}: {problem}")

    def check(self, schema: dict[str, Any]) -> None:
        """Raises TemplateError for the first part, by line, that the schema forbids."""
        from jsonschema import Draft202012Validator  # long to import, and a question needs none

        problems = [problem for error in Draft202012Validator(schema).iter_errors(self.data)
                    for problem in _in_words(error)]
        if problems:
            path, words = min(problems, key=lambda each: (self.lines.get(each[0], 0), key(each[0])))
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise self.error(path, words + more)

    def _note(self, node: yaml.Node | None, path: Path) -> None:
        if node is None:
            return
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._note(item, (*path, number))
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                inner = (*path, str(name.value))
                first = self.lines.get(inner)
                self.lines[inner] = name.start_mark.line + 1
                if first is not None:
                    raise self.error(inner, f"given twice, first on line {first}; keep one")
                self._note(value, inner)


def key(path: Path) -> str:
    """A path as people write it: `sections[2].questions[1].ask`, counted from 1."""
    words = ""
    for part in path:
        words += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if words else part
    return words


def _in_words(error: ValidationError) -> Iterator[tuple[Path, str]]:
    """What a schema error means to the person who wrote the template, and where."""
    path: Path = tuple(error.absolute_path)
    wanted: Any = error.validator_value
    rules: Any = error.schema
    given: Any = error.instance
    match error.validator:
        case "additionalProperties" if isinstance(wanted, bool):
            known = sorted(rules["properties"])
            for name in sorted(map(str, set(given) - set(known))):
                yield (*path, name), f"unknown key; known here: {', '.join(known)}"
        case "required":
            missing = [name for name in wanted if name not in given]
            yield path, f"needs {' and '.join(missing)}"
        case "anyOf":
            yield path, "needs questions, or sections with questions"
        case "type":
            names = {"string": "text (in quotes if YAML takes it for something else)", "object": "keys with values",
                     "array": "a list", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
            kinds = [wanted] if isinstance(wanted, str) else wanted
            yield path, f"should be {' or '.join(names[kind] for kind in kinds)}, not {given!r}"
        case "enum":
            yield path, f"{given!r} is none of: {', '.join(map(str, wanted))}"
        case "pattern" | "minLength" | "minItems" if not given or not str(given).strip():
            yield path, "is empty"
        case _:
            yield path, error.message
