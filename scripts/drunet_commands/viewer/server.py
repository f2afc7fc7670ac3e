"""The viewer's pages: for this machine alone, for whoever has the token, and of slides of the sheet alone."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drunet.errors import AnnotationError, DrunetError
from drunet_commands.viewer.corrections import beginnings, save
from drunet_commands.viewer.layers import heatmap_bytes, outlines, quality_bytes
from drunet_commands.viewer.opened import Opened
from drunet_commands.viewer.pixels import OpenSlides

_MOST_BYTES = 64 << 20
# Annotorious draws through WebGL, for which it compiles functions.
_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Gate:
    """Lets in who has the token: once in the address, then in a cookie of this port."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http":
            request = Request(scope)
            cookie, shown = f"drunet_view_{request.url.port}", request.query_params.get("token", "")
            if secrets.compare_digest(shown.encode(), self.token):
                app = answer = RedirectResponse(request.url.path, 303)
                answer.set_cookie(cookie, shown, httponly=True, samesite="strict")
            elif not secrets.compare_digest(request.cookies.get(cookie, "").encode(), self.token):
                app = PlainTextResponse("Open the address that `drunet view` printed: it carries the key.\n", 403)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
            await send(message)

        await app(scope, receive, with_headers)


def make_app(opened: Opened, token: str) -> Starlette:
    """The viewer of a cohort as an ASGI application."""
    slides, here = OpenSlides(opened.rows, opened.frame), Path(__file__).parent

    def asked(request: Request) -> tuple[str, str | None]:
        slide, run = request.path_params["slide"], request.query_params.get("run")
        if slide not in opened.rows or (run is not None and run not in opened.runs()):
            raise HTTPException(404, "there is no such slide or run")
        return slide, run

    def cohort(_: Request) -> Response:
        return _now(opened.summary())

    def facts(request: Request) -> Response:
        slide, run = asked(request)
        files = opened.files(run, slide) if run else {}
        sizes = [{"name": name, "bytes": path.stat().st_size} for name, path in files.items()]
        return _now({**slides.get(slide).facts(), "files": sizes})

    def tile(request: Request) -> Response:
        slide, place = asked(request)[0], (request.path_params[key] for key in ("level", "column", "row"))
        try:
            jpeg = slides.tile(slide, *place)
        except ValueError:
            raise HTTPException(404, "there is no such tile") from None
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    def layers(request: Request) -> Response:
        slide, run = asked(request)
        return _now(outlines(opened, run, slide, slides.get(slide).origin))

    def heatmap(request: Request) -> Response:
        slide, run = asked(request)
        kind = request.url.path.rsplit("/", 1)[1]
        path = getattr(opened, kind)(run or "", slide)
        if path is None:
            raise HTTPException(404, "there is no such map of this slide")
        try:
            # A standard deviation of probabilities is at most a half.
            most = 0.5 if kind == "uncertainty" else 1.0
            grid, values = quality_bytes(path) if kind == "quality" else heatmap_bytes(path, most)
        except KeyError:
            raise HTTPException(404, "the quality of these tiles was not measured") from None
        x, y = slides.get(slide).origin
        headers = {"x-grid": json.dumps({**grid, "x": -x, "y": -y}), "cache-control": "no-store"}
        return Response(values, media_type="application/octet-stream", headers=headers)

    def file(request: Request) -> Response:
        slide, run = asked(request)
        path = opened.files(run or "", slide).get(request.path_params["name"]) if run else None
        if path is None:
            raise HTTPException(404, "there is no such file")
        return FileResponse(path, filename=f"{path.parent.name}.{path.name}")

    def begin(request: Request) -> Response:
        slide, run = asked(request)
        return _now(beginnings(opened, run, slide, slides.get(slide)))

    async def keep(request: Request) -> Response:
        slide, _ = asked(request)
        # Other pages of this machine may send forms and text with the cookie, but not this type.
        if request.headers.get("content-type") != "application/json":
            raise HTTPException(415, "only the viewer's own page saves")
        if not 0 < int(request.headers.get("content-length", 0)) <= _MOST_BYTES:
            raise HTTPException(413, "there is too much to save")
        try:
            value = dict(json.loads(await request.body()))
        except (TypeError, ValueError):
            raise HTTPException(400, "these are no outlines") from None
        return _now(await run_in_threadpool(lambda: save(opened, slide, slides.get(slide), value)))

    def refused(_: Request, error: Exception) -> Response:
        if isinstance(error, FileNotFoundError):
            return PlainTextResponse("a file was replaced at this moment: load the page again", 404)
        return PlainTextResponse(str(error), 422 if isinstance(error, AnnotationError) else 404)

    of_slide = "/slides/{slide}"
    return Starlette(
        routes=[
            Route("/", lambda _: FileResponse(here / "static" / "index.html")),
            Route("/cohort", cohort),
            Route(of_slide, facts),
            Route(of_slide + "/tiles/{level:int}/{column:int}_{row:int}.jpg", tile),
            Route(of_slide + "/outlines", layers),
            Route(of_slide + "/heatmap", heatmap),
            Route(of_slide + "/uncertainty", heatmap),
            Route(of_slide + "/quality", heatmap),
            Route(of_slide + "/files/{name}", file),
            Route(of_slide + "/correction", begin),
            Route(of_slide + "/correction", keep, methods=["POST"]),
            *(Mount(f"/{name}", StaticFiles(directory=here / name)) for name in ("static", "vendor")),
        ],
        middleware=[
            # A page elsewhere whose name leads here comes with its own name.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
            Middleware(_Gate, token=token),
        ],
        exception_handlers={DrunetError: refused, FileNotFoundError: refused},
    )


def _now(value: Any) -> JSONResponse:
    return JSONResponse(value, headers={"cache-control": "no-store"})
