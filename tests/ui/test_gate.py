"""The gate over plain HTTP: hosts, sites, paths, sizes, people, and what the browser is told to run."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app import people
from app.home import Home
from app.people import Doors
from ui import gate
from ui.gate import COOKIE, Gate, person_of

PAGE = "<script>one()</script><script src=/a.js></script><script type=module>two()</script><p onclick=no()>"
GOOD = "correct horse battery"


def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(person_of(request)))


def client(doors: Doors | None = None, only_local: bool = True) -> TestClient:
    """A browser before a small application behind the gate."""
    routes = [
        Route("/", lambda _: HTMLResponse(PAGE)),
        Route("/{path:path}", _who, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Gate, doors=doors, only_local=only_local)])
    return TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)


@pytest.fixture
def doors(home: Home) -> Doors:
    """Two people who may sign in."""
    people.add(home, "ann", GOOD)
    people.add(home, "bob", GOOD)
    return Doors(home)


def test_only_the_pages_own_scripts_run() -> None:
    response = client().get("/")
    assert response.text == PAGE
    policy = response.headers["content-security-policy"]
    assert len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
    scripts = policy.split("script-src")[1].split(";")[0]
    assert "unsafe-inline" not in scripts
    assert "http" not in policy.replace("'self'", "")
    for name, value in gate.HEADERS.items():
        assert response.headers[name] == value
    assert "content-security-policy" in client().get("/assets/x.js").headers


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd", "/gradio_api/run/predict",
     "/gradio_api/call/load", "/gradio_api/proxy=http://evil.example", "/monitoring", "/login", "/docs",
     "/gradio_api/info", "/gradio_api/stream/1/2/3/playlist-file", "/gradio_api/deep_link", "/openapi.json",
     "/gradio_api/component_server", "/onceread.js/x", "/gradio_api/queue/joined", "/gradio_api/vibe-edit"],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    assert client().get(path).status_code == 404
    assert client().post(path).status_code == 404


def test_another_host_and_another_site_are_refused() -> None:
    assert client().get("/", headers={"Host": "evil.example:7860"}).status_code == 421
    assert client(only_local=False).get("/", headers={"Host": "read.example"}).status_code == 200
    join = "/gradio_api/queue/join"
    assert client().post(join, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client().post(join, headers={"Origin": "null"}).status_code == 403
    assert client().post(join, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client().post(join, headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client().post(join).status_code == 200


def test_300_mb_are_refused_before_they_come() -> None:
    response = client().post("/gradio_api/upload", headers={"Content-Length": str(300 * 1024**2)})
    assert response.status_code == 413
    assert "256 MB" in response.text
    assert client().post("/gradio_api/upload", headers={"Content-Length": "²"}).status_code in (400, 413)


def test_who_is_not_signed_in_gets_nowhere(doors: Doors) -> None:
    browser = client(doors, only_local=False)
    response = browser.get("/")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    for path in ("/config", "/page/1/1.png", "/download/x", "/gradio_api/upload_progress", "/assets/x.js"):
        assert browser.get(path).status_code == 401
    for path in ("/gradio_api/queue/join", "/gradio_api/upload"):
        assert browser.post(path).status_code == 401
    assert browser.get("/sign-in").text == "None"
    browser.cookies.set(COOKIE, "made up")
    assert browser.get("/config").status_code == 401


def test_a_tab_is_its_persons_own(doors: Doors) -> None:
    browsers = {}
    for name in ("ann", "bob"):
        browsers[name] = client(doors)
        browsers[name].cookies.set(COOKIE, doors.sign_in(name, GOOD, "10.0.0.1"))
        assert browsers[name].get("/config").text == name
    stream = "/gradio_api/queue/data?session_hash=abc"
    assert browsers["ann"].get(stream).status_code == 200
    assert browsers["bob"].get(stream).status_code == 403
    assert browsers["ann"].get(stream).status_code == 200


@pytest.fixture
def address(home: Home, doors: Doors, port: int) -> Iterator[str]:
    """The real page, with sign-in."""
    from app.worker import Worker
    from tests.ui.conftest import served
    from ui.site import Site

    with served(Site(home, Worker(home), doors), port) as running:
        yield running.url


def signed_in(address: str, name: str) -> httpx.Client:
    """A browser of that person."""
    browser = httpx.Client(base_url=address)
    response = browser.post("sign-in", data={"name": name, "password": GOOD})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    return browser


def test_the_real_page_over_plain_http(address: str, home: Home, tmp_path: Path) -> None:
    ann, bob = signed_in(address, "ann"), signed_in(address, "bob")
    uploaded = ann.post("gradio_api/upload", files={"files": ("secret.txt", b"the key is under the stone")})
    path = uploaded.json()[0]
    assert bob.get(f"gradio_api/file={path}").status_code == 404
    assert ann.get(f"gradio_api/file={path}").status_code == 404
    hers = home.of("ann").documents.add("Hers", "text", "a secret text", [], [], None)
    assert bob.get(f"page/{hers.id}/1.png?path=x.pdf&from=0&to=3").status_code == 404
    assert "secret" not in bob.get(f"page/{hers.id}/1.png").text
    config = bob.get("config").json()
    for fn in config["dependencies"]:
        assert bob.post(f"gradio_api/run/{fn['id']}", json={"data": [f"?document={hers.id}"]}).status_code == 404
    browser = httpx.Client(base_url=address)
    wrong = browser.post("sign-in", data={"name": "ann", "password": "wrong horse battery"})
    assert wrong.status_code == 401
    assert 'role="alert">The name or the password is wrong.' in wrong.text
    for _ in range(people.FAILURES - 1):
        browser.post("sign-in", data={"name": "ann", "password": "wrong horse battery"})
    slow = browser.post("sign-in", data={"name": "ann", "password": GOOD})
    assert slow.status_code == 429
    assert int(slow.headers["retry-after"]) > 0
    assert ann.post("sign-out").status_code == 303
    assert ann.get("config").status_code == 401
