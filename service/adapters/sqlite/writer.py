"""The one thread that writes. Jobs that wait together share one transaction and one flush."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from service.adapters.sqlite import storage
from service.engine.errors import EngineError, TransientError
from service.engine.ports import Failpoints

T = TypeVar("T")
MOST_JOBS = 256
"""Jobs in one transaction at most."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    then: Callable[[Any], None] | None
    value: Any = None
    error: Exception | None = None


class Writer:
    """Runs jobs on the file, in the order given, each wholly or not at all."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        failpoint: Failpoints,
    ) -> None:
        self._db = connection
        self._loop = loop
        self._failpoint = failpoint
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._epoch = self._in_transaction(storage.take_ownership)
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """Queue a job; the future is done once it is durable.

        `then` is called on the loop with the job's value, in the order of the jobs, even if the
        caller has gone away meanwhile. The future fails with the error of the job, with
        `Fenced`, or with `TransientError`; in each case nothing was written.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, future, then))
        return future

    def close(self) -> None:
        """Finish the queued jobs, then close the file. Blocks."""
        self._jobs.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while True:
            jobs, last = self._take()
            if jobs:
                self._write(jobs)
                self._loop_call(jobs)
            if last:
                return

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take along what else waits."""
        job = self._jobs.get()
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) == MOST_JOBS:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _write(self, jobs: list[_Job]) -> None:
        """Run jobs in one transaction; if that fails, it fails for all of them."""
        try:
            self._in_transaction(lambda db: self._run_jobs(db, jobs))
        except Exception as error:
            for job in jobs:
                job.error = job.error or error

    def _run_jobs(self, db: sqlite3.Connection, jobs: list[_Job]) -> None:
        storage.check_ownership(db, self._epoch)
        for job in jobs:
            db.execute("SAVEPOINT job")
            try:
                job.value = job.work(db)
            except EngineError as error:
                job.error = error
                db.execute("ROLLBACK TO job")
            db.execute("RELEASE job")

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            value = work(db)
            self._failpoint("sqlite.before_commit")
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise TransientError(f"the log could not be written: {error}") from error
            if isinstance(error, sqlite3.Error):
                raise EngineError(f"the log's file is damaged: {error}") from error
            raise
        self._failpoint("sqlite.after_commit")
        return value

    def _loop_call(self, jobs: list[_Job]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.error is None and job.then is not None:
            job.then(job.value)
        if job.future.done():  # its caller was cancelled
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.value)
