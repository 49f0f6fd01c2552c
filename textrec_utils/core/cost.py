"""What things took: a ledger that adds."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Step:
    """One entry of a ledger. stage: `encode`, `train`, `rank`, …; peak_mb: memory above the start."""

    stage: str
    seconds: float
    peak_mb: float


class Cost:
    """What it took to make something, as named steps. `a + b` holds each step once, however often it is added:
    two towers that read the same vectors paid for them once.

    seconds: the steps' sum; peak_mb: their highest. key: what the step is known by (default: only this one is it).
    """

    def __init__(self, seconds: float = 0.0, peak_mb: float = 0.0, stage: str = "rank", key: str = ""):
        self.steps: dict[str, Step] = {}
        if seconds or peak_mb:
            self.steps[key or uuid.uuid4().hex] = Step(stage, seconds, peak_mb)

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps.values())

    @property
    def peak_mb(self) -> float:
        return max((step.peak_mb for step in self.steps.values()), default=0.0)

    def by_stage(self) -> dict[str, float]:
        """Seconds of each stage, in the order in which they were spent."""
        spent: dict[str, float] = {}
        for step in self.steps.values():
            spent[step.stage] = spent.get(step.stage, 0.0) + step.seconds
        return spent

    def beyond(self, other: Cost, stage: str) -> Cost:
        """The steps of a stage that `other` has not paid for."""
        kept = Cost()
        kept.steps = {k: step for k, step in self.steps.items() if step.stage == stage and k not in other.steps}
        return kept

    def __add__(self, other: Cost) -> Cost:
        total = Cost()
        total.steps = self.steps | other.steps
        return total

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in self.by_stage().items())
        return f"Cost({stages or '0 s'}; {self.peak_mb:.0f} MB)"


class measure:
    """Context manager that fills a `Cost` when it ends; memory is this process's resident set, sampled every 10 ms."""

    def __init__(self, stage: str = "rank"):
        self.stage = stage

    def __enter__(self) -> Cost:
        self.cost = Cost()
        self._process = psutil.Process()
        self._base = self._peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._start = time.perf_counter()
        self._thread.start()
        return self.cost

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def so_far(self) -> Cost:
        """What the block has taken up to now."""
        seconds = time.perf_counter() - self._start
        self._peak = max(self._peak, self._process.memory_info().rss)
        return Cost(seconds, (self._peak - self._base) / 2**20, self.stage)

    def __exit__(self, *exc) -> None:
        self.cost.steps = self.so_far().steps
        self._stop.set()
        self._thread.join()
