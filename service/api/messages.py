"""GET /asyncapi.json and /schemas/…: what messages look like, for programs that read them."""

from importlib.metadata import version
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.responses import Response

from service.api.context import Context
from service.api.errors import invalid_parameter
from service.api.schemas import ASYNCAPI, MESSAGE_SCHEMA, MESSAGE_SCHEMAS
from service.messages.asyncapi import asyncapi
from service.messages.schemas import DOCUMENTS, document

JSON = "application/json"
SCHEMA_JSON = "application/schema+json"


def router(_context: Context) -> APIRouter:
    """The documents; the same whatever the service works on."""
    routes = APIRouter(tags=["messages"])
    whole = msgspec.json.encode(asyncapi(version("rcf-stream")))
    listed = msgspec.json.encode({"schemas": list(DOCUMENTS)})

    @routes.get("/asyncapi.json", **ASYNCAPI)
    async def get_asyncapi() -> Response:
        """The AsyncAPI document: the topics on Kafka and their messages."""
        return Response(whole, media_type=JSON)

    @routes.get("/schemas", **MESSAGE_SCHEMAS)
    async def list_schemas() -> Response:
        """Names of the messages that have a JSON Schema."""
        return Response(listed, media_type=JSON)

    @routes.get("/schemas/{name}", **MESSAGE_SCHEMA)
    async def get_schema(
        name: Annotated[
            str,
            Path(
                description="Of a message, as GET /schemas lists them.",
                json_schema_extra={"enum": list(DOCUMENTS)},
            ),
        ],
    ) -> Response:
        """The JSON Schema of a message."""
        if name not in DOCUMENTS:
            raise invalid_parameter("name", name, ", ".join(DOCUMENTS))
        return Response(msgspec.json.encode(document(name)), media_type=SCHEMA_JSON)

    return routes
