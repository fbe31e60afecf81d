"""GET /: a page that shows live streams. Plain files, no build step, nothing from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from service.api.context import Context
from service.api.problems import Problem

_FILES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "asking.js": "text/javascript",
    "chart.js": "text/javascript",
    "language.js": "text/javascript",
    "live.js": "text/javascript",
    "vendor/uPlot.iife.min.js": "text/javascript",
    "vendor/uPlot.min.css": "text/css",
}


def router(_context: Context) -> APIRouter:
    """The page and its files; they talk to the public endpoints like anyone."""
    routes = APIRouter(include_in_schema=False)
    folder = files(__name__)

    @routes.get("/")
    async def index() -> Response:
        return _file("index.html")

    @routes.get("/page/{path:path}")
    async def asset(path: str) -> Response:
        return _file(path)

    def _file(path: str) -> Response:
        if path not in _FILES:
            raise Problem("not-found", f"the page has no file {path[:80]!r}")
        return Response(
            folder.joinpath(path).read_bytes(),
            media_type=_FILES[path],
            headers={"Cache-Control": "no-cache"},
        )

    return routes
