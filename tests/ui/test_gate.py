"""The gate over plain HTTP: hosts, sites, paths, sizes, people, and what the browser is told to run."""

import asyncio
import gc
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from app import people
from app.home import Home
from app.people import Doors
from app.worker import Worker
from tests.ui.conftest import served
from ui import gate
from ui.gate import COOKIE, Gate, person_of
from ui.shared import Site

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Without a browser's event loop in this thread, Gradio makes loops of its own and leaves them to the collector."""

PAGE = "<script>one()</script><script src=/a.js></script><script type=module>two()</script><p onclick=no()>"
GOOD = "correct horse battery"


def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(person_of(request)))


@dataclass
class Browser:
    """A browser before a small application behind the gate."""

    doors: Doors | None = None
    only_local: bool = True
    cookie: str = ""
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        pages = [Route("/", lambda _: HTMLResponse(PAGE)), Route("/{path:path}", _who, methods=["GET", "POST"])]
        self.gate = Gate(Starlette(routes=pages), self.doors, self.only_local)

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Ask for a path."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.gate)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
                cookies = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
                given = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.request(method, path, headers=given | cookies)

        with ThreadPoolExecutor(1) as other:  # a thread's loop is its own; Gradio leaves one in this thread
            return other.submit(asyncio.run, ask()).result()

    def post(self, path: str, **headers: str) -> httpx.Response:
        """Send something to a path."""
        return self.get(path, "POST", **headers)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a test leaves to the collector is collected in its own time, not in another test's."""
    yield
    gc.collect()


@pytest.fixture
def doors(home: Home) -> Doors:
    """Two people who may sign in."""
    people.add(home, "ann", GOOD)
    people.add(home, "bob", GOOD)
    return Doors(home)


def test_only_the_pages_own_scripts_run() -> None:
    response = Browser().get("/")
    assert response.text == PAGE
    policy = response.headers["content-security-policy"]
    assert len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
    scripts = policy.split("script-src")[1].split(";")[0]
    assert "unsafe-inline" not in scripts
    assert "http" not in policy.replace("'self'", "")
    for name, value in gate.HEADERS.items():
        assert response.headers[name] == value
    assert "content-security-policy" in Browser().get("/assets/x.js").headers


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd", "/gradio_api/run/predict",
     "/gradio_api/call/load", "/gradio_api/proxy=http://evil.example", "/monitoring", "/login", "/docs",
     "/gradio_api/info", "/gradio_api/stream/1/2/3/playlist-file", "/gradio_api/deep_link", "/openapi.json",
     "/gradio_api/component_server", "/onceread.js/x", "/gradio_api/queue/joined", "/gradio_api/vibe-edit"],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    assert Browser().get(path).status_code == 404
    assert Browser().post(path).status_code == 404


def test_another_host_and_another_site_are_refused() -> None:
    assert Browser().get("/", Host="evil.example:7860").status_code == 421
    assert Browser(only_local=False).get("/", Host="read.example").status_code == 200
    join = "/gradio_api/queue/join"
    assert Browser().post(join, Origin="http://evil.example").status_code == 403
    assert Browser().post(join, Origin="null").status_code == 403
    assert Browser().post(join, Sec_Fetch_Site="cross-site").status_code == 403
    assert Browser().post(join, Origin="http://127.0.0.1:7860").status_code == 200
    assert Browser().post(join).status_code == 200


def test_300_mb_are_refused_before_they_come() -> None:
    response = Browser().post("/gradio_api/upload", Content_Length=str(300 * 1024**2))
    assert response.status_code == 413
    assert "256 MB" in response.text
    assert Browser().post("/gradio_api/upload", Content_Length="many").status_code == 413


def test_who_is_not_signed_in_gets_nowhere(doors: Doors) -> None:
    browser = Browser(doors, only_local=False)
    response = browser.get("/")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    for path in ("/config", "/page/1/1.png", "/download/x", "/gradio_api/upload_progress", "/assets/x.js"):
        assert browser.get(path).status_code == 401
    for path in ("/gradio_api/queue/join", "/gradio_api/upload"):
        assert browser.post(path).status_code == 401
    assert browser.get("/sign-in").text == "None"
    browser.cookie = "made up"
    assert browser.get("/config").status_code == 401


def test_a_tab_is_its_persons_own(doors: Doors) -> None:
    browser = Browser(doors)
    tokens = {name: doors.sign_in(name, GOOD, "10.0.0.1") for name in ("ann", "bob")}
    stream = "/gradio_api/queue/data?session_hash=abc"
    for name, status in (("ann", 200), ("bob", 403), ("ann", 200)):
        browser.cookie = tokens[name]
        assert browser.get("/config").text == name
        assert browser.get(stream).status_code == status


@pytest.fixture
def address(home: Home, doors: Doors, port: int) -> Iterator[str]:
    """The real page, with sign-in."""
    with served(Site(home, Worker(home), doors), port) as running:
        yield running.url


def signed_in(browser: httpx.Client, name: str) -> httpx.Client:
    """That person's browser, signed in."""
    response = browser.post("sign-in", data={"name": name, "password": GOOD})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    return browser


def test_the_real_page_over_plain_http(address: str, home: Home) -> None:
    with ExitStack() as open_ones:
        browsers = [open_ones.enter_context(httpx.Client(base_url=address)) for _ in range(3)]
        _nothing_of_anothers(home, signed_in(browsers[0], "ann"), signed_in(browsers[1], "bob"))
        _guessing_is_slow(browsers[2])
        assert browsers[0].post("sign-out").status_code == 303
        assert browsers[0].get("config").status_code == 401


def _nothing_of_anothers(home: Home, ann: httpx.Client, bob: httpx.Client) -> None:
    uploaded = ann.post("gradio_api/upload", files={"files": ("secret.txt", b"the key is under the stone")})
    path = uploaded.json()[0]
    assert bob.get(f"gradio_api/file={path}").status_code == 404
    assert ann.get(f"gradio_api/file={path}").status_code == 404
    hers = home.of("ann").documents.add("Hers", "text", "a secret text", [], [], None)
    assert bob.get(f"page/{hers.id}/1.png?path=x.pdf&from=0&to=3").status_code == 404
    assert "secret" not in bob.get(f"page/{hers.id}/1.png").text
    talk = home.conversations.start(hers.id, "a secret question").id
    facts = {"answer": "a secret answer", "citations": [], "documents": [], "stopped": False}
    both = home.of("ann").composed.add("a secret question", [hers.id], facts)
    files = (f"{what}/{n}.{form}" for what, n in (("conversation", talk), ("several", both)) for form in ("md", "json"))
    for path in (*files, f"document/{hers.id}"):
        assert "secret" not in bob.get(f"download/{path}").text
        assert [each.get(f"download/{path}").status_code for each in (bob, ann)] == [404, 200]
    assert ann.get(f"download/conversation/{talk}.exe").status_code == 404
    config = bob.get("config").json()
    for fn in config["dependencies"]:
        assert bob.post(f"gradio_api/run/{fn['id']}", json={"data": [f"?document={hers.id}"]}).status_code == 404


def _guessing_is_slow(browser: httpx.Client) -> None:
    wrong = browser.post("sign-in", data={"name": "ann", "password": "wrong horse battery"})
    assert wrong.status_code == 401
    assert 'role="alert">The name or the password is wrong.' in wrong.text
    for _ in range(people.FAILURES - 1):
        browser.post("sign-in", data={"name": "ann", "password": "wrong horse battery"})
    slow = browser.post("sign-in", data={"name": "ann", "password": GOOD})
    assert slow.status_code == 429
    assert int(slow.headers["retry-after"]) > 0
