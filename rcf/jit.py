"""How every kernel is compiled, and where the compiled code is kept.

Laws:
    * All kernels share one set of flags. No ``fastmath``: NaN, infinity and the order of a sum mean
      what they say, so equal input gives equal bits. ``error_model="numpy"`` drops the check of
      every division (27 % of the run time); kernels test divisors that can be 0.
    * Numba's disk cache notices an edit of the file that defines an entry, not of the kernels that
      are compiled into it from other files. The cache folder is therefore named by a digest of all
      the sources of this package: edit any of them and everything is compiled anew.
    * A cache folder that cannot be written makes ``cache=True`` raise while a module is imported
      (a read-only root, a user without a home). Folders are tried before they are used; one that
      is full but cannot be written, as in an image, is copied into the next that can; where none
      can be written, kernels are compiled for this process alone.
    * A temporary folder that others made, or may write to, is not used: what lies there is run.
    * NUMBA_CPU_NAME may name a level of x86-64 (x86-64-v2, -v3, -v4) instead of a processor: then
      one cache serves every processor of that level. On a processor below it the name is dropped
      with a warning, because its code would hold instructions that end the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba.core import config as _config
from numba.extending import register_jitable

from rcf.callee import CalleeCompiler, EntryCompiler

_Function = TypeVar("_Function", bound=Callable[..., Any])

config: Any = _config  # its attributes are made at run time

#: True where NUMBA_DISABLE_JIT=1 runs the kernels as plain Python (coverage, debugging).
INTERPRETED: bool = bool(config.DISABLE_JIT)

_PACKAGE = Path(__file__).resolve().parent

_V2 = frozenset(["cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"])
_V3 = _V2 | frozenset(["avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"])
_V4 = _V3 | frozenset(["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"])

#: What a processor of each level has. Source: x86-64 psABI, section "Micro-Architecture Levels";
#: the names are LLVM's.
LEVELS = {"x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4}


def fit_processor() -> None:
    """Compile for this processor where it lacks what the level in NUMBA_CPU_NAME stands for.

    Warns:
        RuntimeWarning: it does; says what is missing. Compiled code of that level is not used.
    """
    level = config.CPU_NAME
    there = get_host_cpu_features()
    missing = sorted(name for name in LEVELS.get(level, ()) if not there.get(name, False))
    if missing:
        warnings.warn(
            f"NUMBA_CPU_NAME is {level}, but this processor lacks {', '.join(missing)}: kernels "
            "are compiled for this processor instead",
            RuntimeWarning,
            stacklevel=2,
        )
        config.CPU_NAME = config.CPU_FEATURES = None


fit_processor()


def source_digest(package: Path = _PACKAGE) -> str:
    """Digest of the package's sources and of the compiler's version: 16 hexadecimal digits."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Whether nobody else could put there what is run: anybody may make a temporary folder."""
    try:
        is_temporary = folder.parent == Path(tempfile.gettempdir())
    except FileNotFoundError:  # a root that can only be read
        return True
    if not is_temporary or not hasattr(os, "getuid"):
        return True
    found = folder.lstat()
    is_alone = found.st_uid == os.getuid() and not found.st_mode & 0o022
    return stat.S_ISDIR(found.st_mode) and is_alone


def _candidates() -> list[Path]:
    """Folders for compiled code, best first: asked for, the user's cache, a temporary one."""
    asked = os.environ.get("RCF_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(asked)] if asked else []
    home_cache = os.environ.get("XDG_CACHE_HOME")
    if home_cache:
        folders.append(Path(home_cache) / "rcf-stream")
    else:
        with contextlib.suppress(RuntimeError):  # a user id without an entry in the password file
            folders.append(Path.home() / ".cache" / "rcf-stream")
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    with contextlib.suppress(FileNotFoundError):  # a root that can only be read
        folders.append(Path(tempfile.gettempdir()) / f"rcf-stream-{owner}")
    return folders


def _copy(compiled: Path, folder: Path) -> None:
    """Copy compiled code, all at once or not at all: another process may start beside this one."""
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="copying-") as fresh:
            copied = Path(fresh) / "kernels"
            shutil.copytree(compiled, copied, copy_function=shutil.copyfile)
            copied.rename(folder)


def cache_directory() -> Path | None:
    """First writable folder for this state of the sources; None where there is none.

    A better one that can only be read, and holds compiled code, is copied there.
    """
    compiled: Path | None = None
    for folder in _candidates():
        versioned = folder / f"kernels-{source_digest()}"
        if compiled is not None and not versioned.exists():
            _copy(compiled, versioned)
        if _writable(versioned) and _is_ours(folder):
            return versioned
        if compiled is None and versioned.is_dir():
            compiled = versioned
    return None


CACHE_DIRECTORY: Path | None = None if INTERPRETED else cache_directory()


def processor() -> str:
    """Name what kernels are compiled for; code of another name is not loaded from the cache."""
    level: str | None = config.CPU_NAME
    if level:
        return level
    features = hashlib.sha256(get_host_cpu_features().flatten().encode())
    return f"{get_host_cpu_name()}-{features.hexdigest()[:8]}"


def marker(kernels: str, folder: Path) -> Path:
    """File in a cache folder that says that these kernels are there for this processor."""
    return folder / f"{kernels}-{processor()}.ready"


def kernel(function: _Function) -> _Function:
    """Compile `function` for other kernels to call, with the flags of this package.

    It is compiled into those that call it (`rcf.callee`), so nothing of it is kept on disk, and
    Python cannot call it: what Python's side of a hundred kernels took was a third of a cold start.
    """
    # Numba takes these flags, and its type hints do not name them.
    callee: Any = {
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
        "pipeline_class": CalleeCompiler,
    }
    compiled: _Function = numba.njit(function, nogil=True, error_model="numpy", **callee)
    return compiled


def formula(function: _Function) -> _Function:
    """Let kernels call `function`, which stays plain Python for Python."""
    compiled: _Function = register_jitable(function)
    return compiled


def entry(function: _Function) -> _Function:
    """Compile `function` for Python to call, with the flags of this package, kept on disk."""
    before = config.CACHE_DIR
    # The folder is read when the decorator runs; other users of numba in this process keep theirs.
    config.CACHE_DIR = str(CACHE_DIRECTORY or "")
    try:
        compiled: _Function = numba.njit(
            function,
            nogil=True,
            cache=CACHE_DIRECTORY is not None,
            error_model="numpy",
            pipeline_class=EntryCompiler,
        )
    finally:
        config.CACHE_DIR = before
    return compiled


def compile_beside(code: str) -> subprocess.Popen[bytes]:
    """Run Python that compiles kernels in a process of its own, which leaves them in the cache."""
    return subprocess.Popen(  # noqa: S603  (this very interpreter, no input from outside)
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
