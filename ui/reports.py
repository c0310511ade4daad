"""Reports: choose a template and documents, watch the cells fill, open or fetch the files."""

from app.errors import EXPLAINED, OncereadError
from app.home import Home
from app.naming import told_apart
from app.reports.background import Background, new_job, written
from app.reports.job import Job
from app.reports.template import load, shipped
from app.words import ago, count
from ui.markup import button, dotted, link, notice, safe

UNFINISHED = ("waiting", "running")
MOST_ROWS = 50
WORDS = {"found": "", "not_found": "not in the document", "needs_review": "needs a person", "failed": "failed",
         "missing": "…"}  # fmt: skip
"""What a cell says beside its answer."""


def start(home: Home, background: Background, template: str, document_ids: list[str]) -> str:
    """Put a new job in the queue; gives its id. Raises OncereadError, TemplateError, NotFound."""
    if template not in shipped():
        raise OncereadError("choose one of the templates")
    if not document_ids:
        raise OncereadError("choose at least one document for the report")
    job = new_job(home, template, document_ids)
    background.submit(home, job.id)
    return job.id


def act(home: Home, background: Background, id: str, action: str) -> None:
    """Stop a job, go on with it, or forget it. Raises NotFound for one that is gone, or another person's."""
    job = home.reports.get(id)
    if action == "report-stop" and job.state in UNFINISHED:
        home.reports.set_state(job.id, "cancelled")
    elif action == "report-resume":
        background.submit(home, job.id)
    elif action == "report-remove":
        home.reports.remove(job.id)


def any_busy(home: Home) -> bool:
    """Whether a report is being made or waits to be."""
    return any(job.state in UNFINISHED for job in home.reports.list())


def panel(home: Home) -> str:
    """The form for a new report."""
    return f'<div class="or-reports">{_form(home)}</div>'


def listing(home: Home) -> str:
    """The jobs with their cells, newest first."""
    newest = sorted(home.reports.list(), key=lambda job: -job.created_at)
    jobs = "".join(_job(home, job.id) for job in newest)
    listed = jobs or '<p class="or-quiet">Reports you start are listed here. They go on when this page is closed.</p>'
    return f'<div class="or-reports"><h2 class="or-side-title">Reports</h2>{listed}</div>'


def _form(home: Home) -> str:
    documents = home.documents.list()
    if not documents:
        return '<p class="or-quiet">Add a document first: a report asks every question of a template of each.</p>'
    choices = "".join(_template(name) for name in shipped())
    boxes = "".join(
        f'<label class="or-check"><input type="checkbox" name="document:{safe(id)}">{safe(title)}</label>'
        for id, title in told_apart(documents).items()
    )
    return (
        '<section class="or-panel"><form class="or-form" data-do="report-start" aria-label="New report">'
        f'<label>Template<select name="template">{choices}</select></label>'
        f"<fieldset><legend>Documents</legend>{boxes}</fieldset>"
        '<p class="or-actions"><button class="or-button or-primary">Make the report</button></p></form></section>'
    )


def _template(name: str) -> str:
    template = load(name)
    asked = count(len(template.questions), "question")
    return f'<option value="{safe(name)}">{safe(template.title)} ({safe(asked)} a document)</option>'


def _job(home: Home, id: str) -> str:
    job = home.reports.get(id)
    files = {path.suffix.removeprefix("."): path.name for path in written(job)} if job.state == "done" else {}
    opened = f'<a class="or-button or-primary" target="_blank" href="/open/report/{safe(id)}">Open</a>' if files else ""
    links = "".join(link(f"/download/report/{id}/{name}", kind.upper()) for kind, name in files.items())
    going = (
        button("report-stop", "Stop", id)
        if job.state in UNFINISHED
        else button("report-resume", "Go on", id) if job.state != "done" else ""
    )
    forget = button("report-remove", "Remove", id, style="or-link",
                    ask={"title": f"Remove “{job.title}”?", "confirm": "Remove", "danger": True})  # fmt: skip
    state = {"waiting": "waiting", "running": "being made", "done": "done"}.get(job.state, job.state)
    facts = dotted([state, job.doing if job.state == "running" else "", f"{job.done} of {count(job.total, 'cell')}",
                    f"{job.failed} failed" if job.failed else "", ago(job.created_at)])  # fmt: skip
    percent = 100 * job.done / max(job.total, 1)
    return (
        f'<section class="or-panel or-report" aria-label="{safe(job.title)}"><h3>{safe(job.title)}</h3>'
        f'<div class="or-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" '
        f'aria-label="Cells answered"><span style="width: {percent:.1f}%"></span></div>'
        f'<p class="or-progress-facts">{safe(facts)}</p>{notice(job.error or "")}{_cells(home, id)}'
        f'<p class="or-actions">{opened}{links}{going}{forget}</p></section>'
    )


def _cells(home: Home, id: str) -> str:
    """The answers there are so far, a row a document."""
    try:
        job = Job(home, home.reports.get(id))
    except EXPLAINED as error:
        return notice(str(error))
    answered = home.cells.get(blank.key for blank in job.blanks.values())
    heads = "".join(f'<th scope="col">{safe(question.column)}</th>' for question in job.template.questions)
    rows = ""
    for document in job.ids[:MOST_ROWS]:
        found = [job.cell(document, question, answered) for question in job.template.questions]
        told = (dotted([str(cell.answer.get("answer", ""))[:160], WORDS.get(cell.state, "")]) for cell in found)
        cells = "".join(f"<td>{safe(words)}</td>" for words in told)
        rows += f'<tr><th scope="row">{safe(job.title(document))}</th>{cells}</tr>'
    more = f'<p class="or-quiet">and {len(job.ids) - MOST_ROWS} more documents</p>' if len(job.ids) > MOST_ROWS else ""
    table = f"<table><thead><tr><th>Document</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="or-cells" tabindex="0" role="region" aria-label="Answers so far">{table}</div>{more}'
