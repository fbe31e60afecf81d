"""The log in one SQLite file: what `rcf dev` and a single server run on.

- `schema`    tables, connections, the lock on the directory
- `segments`  many records or results in one row
- `storage`   the protocol's steps as SQL, each inside a transaction that `writer` opened
- `writer`    the one thread that writes; jobs that wait together share one flush to the disk
- `log`       the port: awaits the writer, serves polls from memory, reads beside the writer
"""

from service.adapters.sqlite.log import SqliteLog

__all__ = ["SqliteLog"]
