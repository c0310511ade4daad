"""The report as one self-contained HTML page: printable, every quote linked to its place in the words around it."""

from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from app.reports.markdown import STATES
from app.reports.report import Finished


def write(report: Finished) -> str:
    """The page. Everything that comes from documents, the model or the template is escaped."""
    return _template().render(report=report, states=STATES)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((resources.files("app.reports") / "report.html.jinja").read_text("utf-8"))
