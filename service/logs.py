"""Log lines on standard error: for people, or one JSON object per line."""

import json
import logging
import math
import sys
from datetime import UTC, datetime

SELDOM_S = 10.0
TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and an exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record on one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Seldom(logging.Filter):
    """Lets the Kafka client say the same thing once in a while only.

    It tries a broker that is away a hundred times a second, and tells of each time.
    """

    def __init__(self, logger: str, interval_s: float = SELDOM_S) -> None:
        super().__init__()
        self._logger = logger
        self._interval_s = interval_s
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is written."""
        if record.name.partition(".")[0] != self._logger:
            return True
        if record.created < self._said.get(record.msg, -math.inf) + self._interval_s:
            return False
        self._said[record.msg] = record.created
        return True


def configure(level: str, form: str) -> None:
    """Send the log of the whole process to standard error.

    Args:
        level: "debug", "info", "warning" or "error".
        form: "text" or "json".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    handler.addFilter(Seldom("aiokafka"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Numba logs every step of its compiler at DEBUG, a thousand lines for one kernel.
    logging.getLogger("numba").setLevel(logging.WARNING)
    # The Kafka client tells of every partition it looks at.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
