"""GET /docs: Swagger UI over the OpenAPI document, served from this machine.

FastAPI's own page loads its script from a public host and stays blank without a way there; the
package fastapi-swagger brings the same files along.
"""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

from service.api.context import Context
from service.api.problems import Problem

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def router(_context: Context) -> APIRouter:
    """The page and its files."""
    routes = APIRouter(include_in_schema=False)
    folder = files("fastapi_swagger.resources")

    @routes.get("/docs")
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="rcf-stream: API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon-32x32.png",
        )

    @routes.get("/docs/{name}")
    async def file(name: str) -> Response:
        if name not in _FILES:
            raise Problem("not-found", f"the documentation has no file {name[:80]!r}")
        return Response(
            folder.joinpath(name).read_bytes(),
            media_type=_FILES[name],
            headers={"Cache-Control": "max-age=86400"},
        )

    return routes
