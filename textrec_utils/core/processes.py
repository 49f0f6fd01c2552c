"""Processes of one's own, and signals that wait for the end of a step."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial


def in_own_process(function: Callable, *arguments, **options):
    """`function(*arguments, **options)`, run in a new Python process that ends with it.

    For peaks of memory that can be compared: in a process that has worked before, a peak that fits into what
    earlier work has left doesn't show. Function, arguments and result must be picklable (nothing defined in a
    notebook).
    """
    return side_by_side(partial(function, *arguments, **options), [()], 1)[0]


def side_by_side(
    function: Callable, calls: Sequence[tuple], jobs: int, *, told: Callable[[], object] = lambda: None
) -> list:
    """[function(*call) for call in calls], in up to `jobs` new Python processes. told: called as each one is done.

    The first error ends them all. Function, arguments and results must be picklable.
    """
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            futures = [pool.submit(function, *call) for call in calls]
            for future in as_completed(futures):
                future.result()
                told()
        except BaseException:  # on Ctrl-C the end of this block would otherwise wait until all the work is done
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
        return [future.result() for future in futures]


class Interrupts:
    """While it lasts, Ctrl-C and a polite kill are noted instead of breaking off a step.

    asked: did a signal come? number: which one, so that a command can end with the status that belongs to it.
    """

    def __enter__(self) -> Interrupts:
        self.asked, self.number, self._before = False, 0, {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not None:  # None: a handler from C, which Python can't put back
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame) -> None:
        self.asked, self.number = True, number

    def __exit__(self, *exc) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_if_asked(self) -> None:
        """KeyboardInterrupt after Ctrl-C; after a polite kill `Terminated`."""
        if self.asked:
            raise Terminated if self.number == signal.SIGTERM else KeyboardInterrupt


class Terminated(KeyboardInterrupt):
    """A polite kill (SIGTERM): ends a run as Ctrl-C does, with the exit status 143 instead of 130."""
