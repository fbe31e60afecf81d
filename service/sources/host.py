"""This machine as a record: processor, memory, disk and network, by psutil."""

from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]  # ships no annotations

FEATURES = ("cpu_percent", "memory_percent", "disk_bytes_per_s", "network_bytes_per_s")

INTERVAL_S = 1.0
"""Seconds between two records."""


@dataclass(frozen=True, slots=True)
class _Counters:
    time_s: float
    disk_bytes: int
    network_bytes: int


class Host:
    """Reads the machine; rates are taken between two calls of `read`."""

    def __init__(self, now_s: float) -> None:
        psutil.cpu_percent()  # psutil measures from the previous call; this one is the start
        self._last = _counters(now_s)

    def read(self, now_s: float) -> tuple[float, ...]:
        """Values in the order of `FEATURES`.

        Args:
            now_s: Seconds on the clock that was given at construction; later than the last call.

        Returns:
            Percent of all processors and of memory in use [0, 100]; bytes read and written per
            second on all disks, received and sent per second on all networks. Counters that the
            system does not offer, or that were reset, count as 0.
        """
        counters = _counters(now_s)
        elapsed_s = max(counters.time_s - self._last.time_s, 1e-3)
        disk = max(0, counters.disk_bytes - self._last.disk_bytes) / elapsed_s
        network = max(0, counters.network_bytes - self._last.network_bytes) / elapsed_s
        self._last = counters
        return psutil.cpu_percent(), psutil.virtual_memory().percent, disk, network


def _counters(now_s: float) -> _Counters:
    disk = psutil.disk_io_counters()
    network = psutil.net_io_counters()
    return _Counters(
        now_s,
        disk.read_bytes + disk.write_bytes if disk else 0,
        network.bytes_recv + network.bytes_sent if network else 0,
    )
