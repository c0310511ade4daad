"""What is fetched over plain HTTP: page pictures and downloads, each only for whose it is."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from app import originals
from app.errors import EXPLAINED
from app.home import Home
from ui.gate import person_of
from ui.shared import Site

SCRIPT = Path(__file__).parent / "page.js"
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

    return [Route("/page/{document}/{page:int}.png", page_picture), Route("/onceread.js", _script)]


def _script(_request: Request) -> Response:
    return FileResponse(SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _quote(home: Home, request: Request) -> str:
    text = home.documents.text(request.path_params["document"])
    ends = [request.query_params.get(name, "") for name in ("from", "to")]
    start, end = (int(number) if number.isascii() and number.isdigit() else 0 for number in ends)
    return text[start : min(end, start + 5000)]
