"""What the command line says when it must stop, and the exit codes."""

OK = 0
FAILED = 1
USAGE = 2
ANOMALY_FOUND = 3


class CommandError(Exception):
    """Ends the command with one readable message.

    Attributes:
        code: Exit code, `FAILED` unless the arguments were at fault (`USAGE`).
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
