"""What stands before the page: every HTTP request passes here, and only what the page needs gets through.

A request for another host, from another site, to a path the page has no use for, too large, or from a browser that is
not signed in where people must be, ends here. What passes carries the person's name; handlers and downloads then see
only what is that person's (`Home.of`). Every response gets the headers that tell the browser to run nothing but ours.
"""

import base64
import hashlib
import re
from collections import OrderedDict
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.people import Doors

COOKIE = "onceread"
LARGEST_UPLOAD = 256 * 1024**2
"""Bytes of one request: all files of one drop together, more or less."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

NEEDED = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/(assets|static|svelte)/.+|/sign-(in|out)|/onceread\.js"
    r"|/(page|download|open)/.+|/gradio_api/(theme\.css|startup-events|app_id/?|heartbeat/.+|queue/(join|data)|upload"
    r"|upload_progress|cancel|reset/?)"
)
"""Paths that exist. Gradio's others (files by path, calls by name, proxies, monitoring) do not."""

OPEN = ("/sign-in", "/favicon.ico", "/robots.txt", "/gradio_api/startup-events")
"""Paths for people who are not signed in."""

POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' {hashes}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""Gradio compiles its templates in the browser ('unsafe-eval') and sets styles on elements ('unsafe-inline' styles);
its inline scripts are named by their hashes, so no other inline script or handler runs, and nothing is fetched from
anywhere else."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_MOST_TABS = 10_000


class Gate:
    """The middleware. Without `doors` nobody signs in, and everybody is the one person of this computer."""

    def __init__(self, app: ASGIApp, doors: Doors | None = None, only_local: bool = True) -> None:
        """only_local: the page is bound to loopback, so a request naming another host is a trick on the browser."""
        self._app, self._doors, self._only_local = app, doors, only_local
        self._tabs: OrderedDict[str, str | None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page has no WebSockets
        refusal = self._refused(Request(scope)) or await self._who(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
        elif scope["path"] == "/":
            await self._app(scope, receive, _with_policy_for_body(send))
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refused(self, request: Request) -> Response | None:
        if self._only_local and request.url.hostname not in LOOPBACK:
            return PlainTextResponse("This page is open at 127.0.0.1 and localhost only.\n", 421)
        if not NEEDED.fullmatch(request.url.path):
            return PlainTextResponse("There is nothing here.\n", 404)
        if request.method not in ("GET", "HEAD") and _from_elsewhere(request.headers):
            return PlainTextResponse("This request came from another site.\n", 403)
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_UPLOAD:
            return PlainTextResponse(f"More than {LARGEST_UPLOAD // 1024**2} MB at once cannot be taken in.\n", 413)
        return None

    async def _who(self, scope: Scope) -> Response | None:
        """Note in the scope who asks; a response where they must sign in first."""
        if self._doors is None:
            return None
        connection = HTTPConnection(scope)
        person = await run_in_threadpool(self._doors.person, connection.cookies.get(COOKIE))
        scope.setdefault("state", {})["person"] = person
        if scope["path"] in OPEN:
            return None
        if person is None:
            if scope["path"] == "/" and scope["method"] == "GET":
                return RedirectResponse("/sign-in", 303)
            return PlainTextResponse("Sign in first.\n", 401)
        if not self._own_tab(scope, person):
            return PlainTextResponse("This tab is another person's.\n", 403)
        return None

    def _own_tab(self, scope: Scope, person: str) -> bool:
        """Whether events are asked for by the person whose tab first asked for them."""
        tab = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        if not tab:
            return True
        if self._tabs.setdefault(tab, person) != person:
            return False
        self._tabs.move_to_end(tab)
        if len(self._tabs) > _MOST_TABS:
            self._tabs.popitem(last=False)
        return True


def person_of(request: HTTPConnection) -> str | None:
    """Who is signed in on the browser that sent a request."""
    return request.scope.get("state", {}).get("person")


def policy(body: bytes = b"") -> str:
    """The Content-Security-Policy for a page: its inline scripts may run, no others."""
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(body))
    return POLICY.format(hashes=" ".join(f"'sha256-{digest}'" for digest in digests))


def _from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site's page sent this."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc not in (headers.get("host"), headers.get("x-forwarded-host"))


def _with_headers(send: Send, content_policy: str | None = None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if "content-security-policy" not in headers:  # a report says its own, stricter one
                headers["Content-Security-Policy"] = content_policy or policy()
        await send(message)

    return sending


def _with_policy_for_body(send: Send) -> Send:
    """Holds a page back until all of it is there, so that its policy can name the scripts in it."""
    start: list[Message] = []
    body = bytearray()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.append(message)
            return
        body.extend(message.get("body", b""))
        if not message.get("more_body"):
            onward = _with_headers(send, policy(bytes(body)))
            await onward(start[0])
            await onward({"type": "http.response.body", "body": bytes(body)})

    return sending
