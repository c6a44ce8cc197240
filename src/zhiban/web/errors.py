"""What a person reads when something does not work: a page for a visit, one sentence for a request of a script."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from zhiban.kit.errors import Conflict, Gone, NotFound, Unavailable, ZhibanError
from zhiban.kit.i18n import mark
from zhiban.web.render import Renderer, viewer_of
from zhiban.web.security import ForeignForm

log = logging.getLogger(__name__)

MACHINES = ("/api", "/openapi.json", "/health", "/ready", "/metrics")
HEADINGS = {
    403: mark("您没有权限"),
    404: mark("没有这一页"),
    409: mark("做不到"),
    410: mark("链接不能用了"),
    422: mark("内容不对"),
    503: mark("现在连不上"),
}
SENTENCES = {
    404: mark("也许已经删除，或者您没有查看的权限。"),
    422: mark("有些内容缺了，或者写错了。"),
    500: mark("我们的程序出了错，已经记下。请稍后再试。"),
}


def route_of(request: Request) -> str:
    """The route's pattern, such as /join/{token}: what stands in the place of a token is not for logs."""
    route = request.scope.get("route")
    return str(getattr(route, "path", "") or "an unknown address")


def status_of(error: ZhibanError) -> int:
    match error:
        case NotFound():
            return 404
        case Gone():
            return 410
        case Conflict():
            return 409
        case Unavailable():
            return 503
        case ForeignForm():
            return 403
    return 400


def install(app: FastAPI, renderer: Renderer) -> None:
    """Answer every error of ours, and those of the framework, in the reader's language."""

    def answer(request: Request, status: int, sentence: str) -> Response:
        if request.url.path.startswith(MACHINES):
            return JSONResponse({"detail": sentence}, status_code=status)
        viewer = viewer_of(request)
        words = viewer.texts.error(sentence) if sentence else viewer.texts(SENTENCES.get(status, SENTENCES[500]))
        if request.headers.get("hx-request") == "true" or "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(words, status_code=status)
        heading = viewer.texts(HEADINGS.get(status, mark("出了点问题")))
        return renderer.answer("error.html", viewer, status=status, heading=heading, sentence=words)

    async def ours(request: Request, error: Exception) -> Response:
        if not isinstance(error, ZhibanError):
            raise error
        return answer(request, status_of(error), "" if isinstance(error, NotFound) else error.sentence)

    async def framework(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        detail = error.detail if request.url.path.startswith(MACHINES) else ""
        response = answer(request, error.status_code, str(detail))
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        if request.url.path.startswith(MACHINES):
            problems = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]
            return JSONResponse({"detail": problems}, status_code=422)
        # An id in the address that is no number: there is no such page.
        missing = any(one["loc"][:1] == ("path",) for one in error.errors())
        return answer(request, 404 if missing else 422, "")

    async def unforeseen(request: Request, error: Exception) -> Response:
        log.exception("An unforeseen error at %s %s", request.method, route_of(request), exc_info=error)
        return answer(request, 500, "")

    app.add_exception_handler(ZhibanError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)
    _install_database(app, answer)


def _install_database(app: FastAPI, answer: Callable[[Request, int, str], Response]) -> None:
    async def unstorable(request: Request, error: Exception) -> Response:
        # A character or a number that PostgreSQL cannot hold: nothing that our own pages send.
        log.info("The database refused what was sent to %s: %s", route_of(request), str(error).strip())
        return answer(request, 422, "")

    async def away(request: Request, error: Exception) -> Response:
        log.warning("The database went away at %s: %s", route_of(request), str(error).strip())
        return answer(request, 503, "The database does not answer.")

    app.add_exception_handler(psycopg.DataError, unstorable)
    app.add_exception_handler(psycopg.OperationalError, away)
