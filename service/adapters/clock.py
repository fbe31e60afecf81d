"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """Wall clock and monotonic clock of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment; never steps back."""
        return time.monotonic()

    def worked_s(self) -> float:
        """Processor seconds of the calling thread."""
        return time.thread_time()
