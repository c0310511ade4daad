"""What is fetched over plain HTTP: page pictures and downloads, each only for whose it is."""

import tempfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from app import conversations, originals, portable, together
from app.errors import EXPLAINED
from app.home import Home
from app.reports.background import written
from ui.gate import person_of
from ui.shared import Site

SCRIPT = Path(__file__).parent / "page.js"
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"
MARKDOWN, JSON = "text/markdown; charset=utf-8", "application/json"
FORMS = {
    ("conversation", "md"): (conversations.markdown, MARKDOWN),
    ("conversation", "json"): (conversations.as_json, JSON),
    ("several", "md"): (together.markdown, MARKDOWN),
    ("several", "json"): (together.as_json, JSON),
}
"""How conversations, and answers about several documents, are written."""
PRIVATE = {"Cache-Control": "private, max-age=3600"}


def routes(site: Site) -> list[Route]:
    """The addresses of this file."""

    def page_picture(request: Request) -> Response:
        home = site.home_of(person_of(request))
        try:
            quote = _quote(home, request)
            picture = originals.page_image(
                home, request.path_params["document"], request.query_params.get("path", ""),
                request.path_params["page"], quote,
            )  # fmt: skip
        except EXPLAINED as error:
            return PlainTextResponse(f"{error}\n", 404)
        return Response(picture, media_type="image/png", headers=PRIVATE)

    def report_file(request: Request) -> Response:
        home = site.home_of(person_of(request))
        name = request.path_params.get("name", "report.html")
        try:
            files = {path.name: path for path in written(home.reports.get(request.path_params["job"]))}
        except EXPLAINED as error:
            return PlainTextResponse(f"{error}\n", 404)
        if name not in files:
            return PlainTextResponse("The report has no such file (yet).\n", 404)
        if "name" in request.path_params:
            return FileResponse(files[name], filename=name)
        return FileResponse(files[name], headers={"Content-Security-Policy": REPORT_POLICY})

    def document_file(request: Request) -> Response:
        home = site.home_of(person_of(request))
        folder = tempfile.TemporaryDirectory(prefix="export-", dir=home.settings.home)
        file = Path(folder.name) / "document.onceread"
        try:
            document = home.documents.get(request.path_params["document"])
            portable.export(home, document.id, file)
        except EXPLAINED as error:
            folder.cleanup()
            return PlainTextResponse(f"{error}\n", 404)
        return FileResponse(file, filename=f"{document.title[:80]}.onceread", background=BackgroundTask(folder.cleanup))

    def words_file(request: Request) -> Response:
        home = site.home_of(person_of(request))
        what, number, form = (request.path_params[name] for name in ("what", "number", "form"))
        if (what, form) not in FORMS:
            return PlainTextResponse("Conversations and answers of several are there as .md and as .json.\n", 404)
        write, kind = FORMS[what, form]
        try:
            content = write(home, number)
        except EXPLAINED as error:
            return PlainTextResponse(f"{error}\n", 404)
        named = {"Content-Disposition": f'attachment; filename="{what}-{number}.{form}"'}
        return Response(content, media_type=kind, headers=named)

    return [
        Route("/download/{what}/{number:int}.{form}", words_file),
        Route("/download/report/{job}/{name}", report_file),
        Route("/open/report/{job}", report_file),
        Route("/download/document/{document}", document_file),
        Route("/page/{document}/{page:int}.png", page_picture),
        Route("/onceread.js", _script),
    ]


def _script(_request: Request) -> Response:
    return FileResponse(SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _quote(home: Home, request: Request) -> str:
    text = home.documents.text(request.path_params["document"])
    ends = [request.query_params.get(name, "") for name in ("from", "to")]
    start, end = (int(number) if number.isascii() and number.isdigit() else 0 for number in ends)
    return text[start : min(end, start + 5000)]
