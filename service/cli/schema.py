"""`rcf schema`: what messages look like, without a server."""

import json
from importlib.metadata import version

from service.cli.errors import USAGE, CommandError
from service.messages.asyncapi import asyncapi
from service.messages.schemas import DOCUMENTS, document

ASYNCAPI = "asyncapi"


def text(name: str | None) -> str:
    """The names there are, one a line, or one document as JSON.

    Raises:
        CommandError: There is none of this name.
    """
    names = [ASYNCAPI, *DOCUMENTS]
    if name is None:
        return "\n".join(names)
    if name not in names:
        raise CommandError(f"no schema {name!r}; there are: {', '.join(names)}", USAGE)
    found = asyncapi(version("rcf-stream")) if name == ASYNCAPI else document(name)
    return json.dumps(found, indent=2, ensure_ascii=False)
