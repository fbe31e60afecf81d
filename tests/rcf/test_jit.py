"""The cache of compiled kernels: never stale, never in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features
from numba.core import config
from numba.core.errors import TypingError

import rcf
from rcf import jit

PACKAGE = Path(rcf.__file__).parent


def run(code: str, root: Path = PACKAGE.parent, **environment: str) -> Any:
    """What `code` prints as JSON, in a process whose cache folders are those given."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("NUMBA_", "RCF_", "XDG_", "PYTHON", "TMP", "TEMP")) and k != "HOME"
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


FOLDER = "import json; from rcf import jit; print(json.dumps(str(jit.CACHE_DIRECTORY)))"


def test_folder_is_named_by_the_digest_of_all_sources(tmp_path: Path) -> None:
    copy = tmp_path / "rcf"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    first = jit.source_digest(copy)
    assert first == jit.source_digest(PACKAGE) and len(first) == 16
    seen = {first}
    for path in sorted(copy.rglob("*.py")):
        path.write_text(path.read_text() + "\n# one more line\n")
        seen.add(jit.source_digest(copy))
    (copy / "more.py").write_text("")
    seen.add(jit.source_digest(copy))
    (copy / "more.py").rename(copy / "other.py")
    seen.add(jit.source_digest(copy))
    assert len(seen) == len(list(PACKAGE.rglob("*.py"))) + 3
    assert jit.CACHE_DIRECTORY is None or jit.CACHE_DIRECTORY.name == f"kernels-{first}"


def test_folders_are_tried_in_order(tmp_path: Path) -> None:
    name = f"kernels-{jit.source_digest()}"
    nowhere = "/dev/null/nowhere"
    places = {
        "RCF_CACHE_DIR": tmp_path / "asked",
        "NUMBA_CACHE_DIR": tmp_path / "numba",
        "XDG_CACHE_HOME": tmp_path / "cache",
        "HOME": tmp_path / "home",
        "TMPDIR": tmp_path / "tmp",
    }
    for place in places.values():
        place.mkdir()
    everything = {key: str(place) for key, place in places.items()}
    assert run(FOLDER, **everything) == str(tmp_path / "asked" / name)
    del everything["RCF_CACHE_DIR"]
    assert run(FOLDER, **everything) == str(tmp_path / "numba" / name)
    del everything["NUMBA_CACHE_DIR"]
    assert run(FOLDER, **everything) == str(tmp_path / "cache" / "rcf-stream" / name)
    del everything["XDG_CACHE_HOME"]
    assert run(FOLDER, **everything) == str(tmp_path / "home" / ".cache" / "rcf-stream" / name)
    temporary = str(tmp_path / "tmp" / f"rcf-stream-{os.getuid()}" / name)
    assert run(FOLDER, HOME=nowhere, TMPDIR=everything["TMPDIR"]) == temporary
    unwritable = {
        "RCF_CACHE_DIR": nowhere,
        "NUMBA_CACHE_DIR": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "HOME": nowhere,
    }
    assert run(FOLDER, **unwritable, TMPDIR=everything["TMPDIR"]) == temporary


def test_a_temporary_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    there = tmp_path / f"rcf-stream-{os.getuid()}"
    there.mkdir()
    there.chmod(0o777)
    nowhere = {"HOME": "/dev/null/nowhere", "TMPDIR": str(tmp_path)}
    assert run(FOLDER, **nowhere) == "None"
    there.chmod(0o755)
    assert run(FOLDER, **nowhere).startswith(str(there))
    elsewhere = tmp_path / "elsewhere"
    there.rename(elsewhere)
    there.symlink_to(elsewhere)
    assert run(FOLDER, **nowhere) == "None"


#: What a process that may not write into `baked` takes; the tests may run as root.
READ_ONLY = """
import json, tempfile
make = tempfile.TemporaryFile
def refuse(*args, dir=None, **options):
    if str(dir).startswith({baked!r}):
        raise OSError(30, "Read-only file system")
    return make(*args, dir=dir, **options)
tempfile.TemporaryFile = refuse
from rcf import jit
print(json.dumps(str(jit.CACHE_DIRECTORY)))
"""


def test_a_full_folder_that_can_only_be_read_is_copied(tmp_path: Path) -> None:
    """As in an image: what was compiled when it was built is used by whoever may not write it."""
    baked, home = tmp_path / "baked", tmp_path / "home"
    full = baked / f"kernels-{jit.source_digest()}"
    (full / "rcf_0").mkdir(parents=True)
    (full / "rcf_0/step.nbi").write_bytes(b"compiled")
    code = READ_ONLY.format(baked=str(baked))
    found = Path(run(code, RCF_CACHE_DIR=str(baked), HOME=str(home)))
    assert found == home / ".cache" / "rcf-stream" / full.name
    assert (found / "rcf_0/step.nbi").read_bytes() == b"compiled"
    assert [path.name for path in found.parent.iterdir()] == [full.name]
    (found / "rcf_0/step.nbi").write_bytes(b"compiled here")  # what is there already stays
    run(code, RCF_CACHE_DIR=str(baked), HOME=str(home))
    assert (found / "rcf_0/step.nbi").read_bytes() == b"compiled here"


PROCESSOR = """
import json, warnings
import llvmlite.binding as llvm
there = dict(llvm.get_host_cpu_features())
there["avx2"] = {avx2}
llvm.get_host_cpu_features = lambda: there
with warnings.catch_warnings(record=True, action="always") as seen:
    from rcf import jit
said = [str(each.message) for each in seen]
print(json.dumps([jit.config.CPU_NAME, jit.config.CPU_FEATURES, said]))
"""


def test_a_processor_below_the_level_compiles_for_itself(tmp_path: Path) -> None:
    environment = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "", "HOME": str(tmp_path)}
    name, features, said = run(PROCESSOR.format(avx2=False), **environment)
    assert name is None and features is None
    assert len(said) == 1 and "avx2" in said[0] and "x86-64-v3" in said[0]
    there = get_host_cpu_features()
    if jit.LEVELS["x86-64-v3"] <= {name for name, has in there.items() if has}:
        assert run(PROCESSOR.format(avx2=True), **environment) == ["x86-64-v3", "", []]


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME and no entry in the password file: the temporary folder is used."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RCF_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(jit.tempfile, "tempdir", str(tmp_path))
    folder = jit.cache_directory()
    assert folder is not None and folder.is_relative_to(tmp_path)


def test_a_root_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an image: there is a folder to write to, and none for temporary files."""

    def no_folder() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    make = tempfile.TemporaryFile
    monkeypatch.setattr(jit.tempfile, "gettempdir", no_folder)
    monkeypatch.setattr(jit.tempfile, "TemporaryFile", lambda dir: make(dir=dir))
    monkeypatch.setenv("RCF_CACHE_DIR", str(tmp_path))
    folder = jit.cache_directory()
    assert folder is not None and folder.is_relative_to(tmp_path)


#: Draws the next acceptance of one tree anew, which needs a random number.
DRAW = """
import json
from rcf import Forest, state, step
forest = Forest(1, trees=1, sample_size=16)
opened = state.open_block(forest.block)
opened.sizes[:], opened.keys[:] = 16, 1e-9
step.set_decay(forest.block, 0.0)
hits = step.set_decay.stats.cache_hits
print(json.dumps([int(opened.due[0]), sum(hits.values())]))
"""

NO_FOLDER = """
import tempfile
def refuse():
    raise FileNotFoundError(2, "No usable temporary directory found")
tempfile.gettempdir = refuse
from rcf import jit
assert jit.CACHE_DIRECTORY is None, jit.CACHE_DIRECTORY
import rcf.detector, rcf.snapshot, rcf.step
"""


def test_without_any_folder_kernels_are_compiled_for_this_process(tmp_path: Path) -> None:
    """A read-only root: no folder at all can be written, temporary ones included."""
    nowhere = "/dev/null/nowhere"
    drawn, hits = run(NO_FOLDER + DRAW, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert hits == 0
    assert run(DRAW, RCF_CACHE_DIR=str(tmp_path))[0] == drawn


def test_compiled_code_is_kept_and_an_edited_helper_compiles_anew(tmp_path: Path) -> None:
    """`set_decay` inlines `uniform` from another file, whose edits numba's cache does not see."""
    copy = tmp_path / "rcf"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    folder = str(tmp_path / "cache")
    value, hits = run(DRAW, tmp_path, RCF_CACHE_DIR=folder)
    assert hits == 0
    assert run(DRAW, tmp_path, RCF_CACHE_DIR=folder) == [value, 1]
    helper = copy / "rng.py"
    edited = helper.read_text().replace("_DOUBLE = 2.0**-53", "_DOUBLE = 2.0**-54")
    assert edited != helper.read_text()
    helper.write_text(edited)
    changed, hits = run(DRAW, tmp_path, RCF_CACHE_DIR=folder)
    assert changed < value and hits == 0


def test_interpreted_needs_no_folder(tmp_path: Path) -> None:
    found = run(FOLDER, NUMBA_DISABLE_JIT="1", RCF_CACHE_DIR=str(tmp_path))
    assert found == "None" and not list(tmp_path.iterdir())


def test_other_users_of_numba_keep_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "theirs")

    @jit.entry
    def one() -> int:
        return 1

    assert config.CACHE_DIR == "theirs" and one() == 1


def test_importing_the_package_does_not_load_numba() -> None:
    code = (
        "import json, sys, rcf; print(json.dumps([m in sys.modules for m in ('numba', 'numpy')]))"
    )
    assert run(code) == [False, False]
    names = (
        "import json, rcf; print(json.dumps([getattr(rcf, n).__name__ for n in rcf.__all__[:5]]))"
    )
    assert run(names) == ["Detector", "Forecast", "Forecaster", "Forest", "Forests"]


def test_what_only_kernels_call_has_no_code_that_python_could_run() -> None:
    from rcf import rng

    with pytest.raises(TypeError):
        rng.uniform(np.zeros(1, np.uint64), 0)


def test_a_kernel_that_numba_cannot_compile_is_an_error_with_its_name() -> None:
    @jit.kernel
    def wrong(values: Any) -> Any:
        return values.nothing_of_that_name

    @jit.entry
    def caller(values: Any) -> Any:
        return wrong(values)

    with pytest.raises(TypingError, match="nothing_of_that_name"):
        caller(np.zeros(1))
