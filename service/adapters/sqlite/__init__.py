"""The log in one SQLite file: what `rcf dev` and a single server run on.

- `schema`    tables, connections, the lock on the directory
- `segments`  many records or results in one row
- `storage`   the protocol's steps as SQL, each inside a transaction that `writer` opened
- `writer`    the one thread that writes; jobs that wait together share one flush to the disk
- `view`      the same file for those who only look, while another process may serve it
- `doctor`    what is wrong with the directory
- `log`       the port: awaits the writer, serves polls from memory, reads beside the writer
"""

from service.adapters.sqlite.log import SqliteLog
from service.adapters.sqlite.view import SqliteView

__all__ = ["SqliteLog", "SqliteView"]
