"""Snapshot files as objects of an S3-compatible store.

An object appears whole or not at all, for that is what a put promises; nothing is ever renamed or
changed in place. Address and credentials come from the usual variables of S3 tools
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL), or from
the machine's role; they are read by the client library, and never pass through here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from service.engine.errors import CorruptSnapshot, SnapshotsRefused, TransientError

REQUEST_S = 30
"""Bound of one request; a pack has at most 32 MiB, beside one large series."""

CONNECT_S = 5
RETRY_S = 60
"""Bound of a request with all its repetitions."""

RETRIES = 5
NO_BUCKET = "NoSuchBucket"
"""A store's code where not the object is missing, but everything."""

Objects = S3Store | LocalStore | MemoryStore


class ObjectSnapshotStore:
    """Files as objects below a prefix."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Put an object.

        Raises:
            SnapshotsRefused: the store refuses, or does not answer.
        """
        data = b"".join(chunks)
        with _refusing(f"writing {name}"):
            obstore.put(self._objects, name, data)

    def read(self, name: str) -> bytes:
        """Get an object.

        Raises:
            CorruptSnapshot: there is none of this name.
            TransientError: the store refuses, or does not answer.
        """
        try:
            return obstore.get(self._objects, name).bytes().to_bytes()
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and NO_BUCKET not in str(error):
                raise CorruptSnapshot(name, "missing") from None
            raise TransientError(f"snapshots: reading {name}: {_said(error)}") from None

    def names(self, prefix: str) -> list[str]:
        """List the objects whose names begin with the prefix, sorted.

        Raises:
            SnapshotsRefused: the store refuses, or does not answer.
        """
        folder = prefix.rpartition("/")[0]  # stores list by whole parts of a name
        with _refusing(f"listing {prefix!r}"):
            pages = obstore.list(self._objects, folder or None)
            found = [meta["path"] for page in pages for meta in page]
        return sorted(name for name in found if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Delete an object; nothing happens when there is none.

        Raises:
            SnapshotsRefused: the store refuses, or does not answer.
        """
        with _refusing(f"deleting {name}"):
            try:
                obstore.delete(self._objects, name)
            except FileNotFoundError as error:
                if NO_BUCKET in str(error):
                    raise


def bucket(url: str) -> ObjectSnapshotStore:
    """Return the store behind s3://bucket/prefix; nothing is asked of it yet."""
    parts = urlsplit(url)
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return ObjectSnapshotStore(
        S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "timeout": timedelta(seconds=REQUEST_S),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                **({"allow_http": True} if plain else {}),  # whoever writes http:// means it
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_S),
            },
        )
    )


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Say the client library's errors as those of a file system."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise SnapshotsRefused(f"snapshots: {what}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Say what went wrong, and the store's code for it.

    Not what the store answered in full: where it refuses a signature, it repeats the key's id and
    all that was signed. Nor what the library adds for its own debugging.
    """
    text = str(error).partition("Debug source:")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = re.split(r"[:\s]*<", text, maxsplit=1)[0].strip()
    return said if code is None else f"{said}: {code[1]}"
