"""A container without an engine: an image's root, read-only, in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

#: Everything but /data is read-only, /tmp too. Only null and urandom are in /dev.
ENTER = """
root=$1 data=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for each in null urandom; do
  touch "$root/dev/$each"
  mount --bind "/dev/$each" "$root/dev/$each"
done
mount -o remount,ro "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
"""
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Image:
    """What a container is made from: the root's folder, and what the image says of its start."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV set."""
        return dict(each.split("=", 1) for each in self.config["Env"])

    @property
    def command(self) -> list[str]:
        """ENTRYPOINT and CMD."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


class Container:
    """A process in an image, as its user, with one writable folder.

    Args:
        image: what it runs.
        data: the folder that is its /data.
        command: None takes the image's.
        environment: beside the image's.
    """

    def __init__(
        self,
        image: Image,
        data: Path,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        user = image.config["User"]
        data.mkdir(parents=True, exist_ok=True)
        os.chown(data, *map(int, user.split(":")))
        settings = image.environment | dict(environment or {})
        inside = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in settings.items())]
        inside += image.command if command is None else command
        enter = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", ENTER, "sh"]
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            [*enter, str(image.root), str(data), user, *inside],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        """Begin to use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it: SIGTERM, as engines do, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._first():
                os.kill(pid, number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
            break
        if self.process.stdout is not None:
            self.process.stdout.close()

    def said(self) -> str:
        """Everything it writes until it ends."""
        return self.process.communicate(timeout=60)[0]

    def _first(self) -> list[int]:
        """The container's first process: a signal to `unshare` would not reach it."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def image_of(root: Path, inspected: str) -> Image:
    """An image from its mounted root and what `buildah inspect --type image` says."""
    return Image(root, json.loads(inspected)["Docker"]["config"])


def missing_tools() -> list[str]:
    """What this needs and is not there."""
    wanted = ("buildah", "debootstrap", "unshare", "chroot")
    return [name for name in wanted if shutil.which(name) is None]
