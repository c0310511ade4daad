"""Signing in and out: one small page without scripts."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.people import DAYS_SIGNED_IN, Doors, TooManyTries, WrongPassword
from ui.gate import COOKIE, person_of
from ui.markup import safe

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Onceread</title><meta name="color-scheme" content="light dark"><style>
:root {{ --ink: #1c1917; --quiet: #57534e; --paper: #fafaf9; --card: #fff; --line: #d6d3d1; --accent: #047857;
  --wrong: #b45309; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #f5f5f4; --quiet: #a8a29e; --paper: #0f0e0d; --card: #1c1917;
  --line: #44403c; --wrong: #fdba74; }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 ui-sans-serif, system-ui, sans-serif; }}
main {{ width: min(360px, calc(100vw - 40px)); }}
h1 {{ font: 600 30px/1.2 Georgia, "Iowan Old Style", serif; margin: 0; }}
p {{ margin: 4px 0 20px; color: var(--quiet); }}
form {{ display: grid; gap: 14px; background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 22px; }}
label {{ display: grid; gap: 4px; font-size: 14px; color: var(--quiet); }}
input {{ font: inherit; padding: 9px 11px; border-radius: 8px; border: 1px solid var(--line); color: var(--ink);
  background: var(--paper); }}
button {{ font: inherit; font-weight: 600; padding: 10px; border: 0; border-radius: 8px; color: #fff;
  background: var(--accent); cursor: pointer; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
[role=alert] {{ margin: 0; color: var(--wrong); }}
</style></head><body><main><h1>Onceread</h1><p>Read a document once. Ask it any time after.</p>
<form method="post" action="/sign-in">{alert}
<label>Name<input name="name" value="{name}" autocomplete="username" required {name_focus}></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required {word_focus}></label>
<button>Sign in</button></form></main></body></html>"""


def routes(doors: Doors) -> list[Route]:
    """The pages of this file."""

    def form(request: Request) -> Response:
        return RedirectResponse("/", 303) if person_of(request) else _page()

    async def enter(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=4) as fields:
            name, password = str(fields.get("name", "")), str(fields.get("password", ""))
        address = request.client.host if request.client else ""
        try:
            token = await run_in_threadpool(doors.sign_in, name, password, address)
        except WrongPassword as error:
            return _page(name, f"{str(error).capitalize()}.", 401)
        except TooManyTries as error:
            return _page(name, f"{str(error).capitalize()}.", 429, {"Retry-After": f"{error.seconds:.0f}"})
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE, token, max_age=DAYS_SIGNED_IN * 86_400, httponly=True, samesite="lax",
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
        )  # fmt: skip
        return response

    def leave(request: Request) -> Response:
        doors.sign_out(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE)
        return response

    return [
        Route("/sign-in", form),
        Route("/sign-in", enter, methods=["POST"]),
        Route("/sign-out", leave, methods=["POST"]),
    ]


def _page(name: str = "", line: str = "", status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    alert = f'<p role="alert">{safe(line)}</p>' if line else ""
    focus = {"name_focus": "" if name else "autofocus", "word_focus": "autofocus" if name else ""}
    return HTMLResponse(PAGE.format(alert=alert, name=safe(name), **focus), status, headers)
