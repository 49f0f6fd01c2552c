"""Register, judge and hint: what every chapter's exercises share."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from textrec_utils.core.errors import DataError

BLANK, RIGHT = "还没有作答", "正确"


class Wrong(Exception):
    """What is wrong with an answer, as one sentence for the learner."""


@dataclass(frozen=True)
class Exercise:
    name: str  # chapter and number: "02b-3"
    hints: tuple[str, ...]  # from a nudge to almost the answer
    judge: Callable[..., None]  # judge(answer, **given) raises Wrong


REGISTER: dict[str, Exercise] = {}
SHOWN: dict[str, int] = {}  # hints that a learner has seen


def exercise(name: str, *hints: str) -> Callable:
    """Decorator that registers a judge. It returns where the answer is right and raises `Wrong` where it isn't."""

    def register(judge: Callable[..., None]) -> Callable[..., None]:
        REGISTER[name] = Exercise(name, hints, judge)
        return judge

    return register


def find(name: str) -> Exercise:
    """The exercise of that name; its chapter's file is loaded on demand. DataError where there is none."""
    chapter = str(name).partition("-")[0]
    try:
        importlib.import_module(f"textrec_utils.exercises.chapter_{chapter}")
        return REGISTER[name]
    except (ModuleNotFoundError, KeyError):
        raise DataError(f"没有练习“{name}”：名字写成“章-题号”，例如“01-2”。") from None


def require(condition: Any, message: str) -> None:
    """Raise `Wrong(message)` unless the condition holds."""
    if not condition:
        raise Wrong(message)


def run(function: Any, *arguments: Any, shown: str = "", **options: Any) -> Any:
    """What the learner's function returns for copies of the arguments, which it may therefore not change for others.

    `shown` names the case in the message ("" hides it). Anything it raises becomes one sentence.
    """
    return run_in_place(function, *copy.deepcopy(arguments), shown=shown, **copy.deepcopy(options))


def run_in_place(function: Any, *arguments: Any, shown: str = "", **options: Any) -> Any:
    """As `run`, on these very objects: where the judge looks at what was changed in them."""
    require(callable(function), "答案应当是一个函数：写它的名字，不要加括号调用它")
    case = f"（{shown}）" if shown else ""
    try:
        return function(*arguments, **options)
    except Exception as error:  # a learner's code may raise anything
        raise Wrong(f"你的函数出错了{case}：{type(error).__name__}: {error}") from error


def require_number(answer: Any, wanted: float, what: str, tolerance: float = 1e-6) -> None:
    """Raise `Wrong` unless the answer is one finite number within `tolerance` of the wanted one (booleans are none)."""
    number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
    require(number, f"{what}应当是一个数，这里是{type(answer).__name__}")
    require(np.isfinite(answer), f"{what}应当是一个数，这里是{float(answer)}")
    require(abs(float(answer) - wanted) <= tolerance, f"{what}不对")


def require_array(answer: Any, wanted: Any, what: str, tolerance: float = 1e-5) -> None:
    """Raise `Wrong` unless the answer has the wanted shape and values (arrays, tensors, lists of numbers)."""
    try:
        found = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise Wrong(f"{what}应当是数组，这里是{type(answer).__name__}") from None
    wanted = np.asarray(wanted, dtype=float)
    require(found.shape == wanted.shape, f"{what}的形状应当是{wanted.shape}，这里是{found.shape}")
    require(np.allclose(found, wanted, atol=tolerance, equal_nan=True), f"{what}的值不对")


def verdict(name: str, answer: Any, **given: Any) -> str | None:
    """None where the answer is right, else what is wrong with it. `given` is what the judge needs of the notebook."""
    try:
        find(name).judge(answer, **given)
    except Wrong as wrong:
        return str(wrong)
    return None


def check(name: str, answer: Any, **given: Any) -> None:
    """Judge an answer and say so in one line; None counts as not answered yet."""
    if answer is None:
        print(BLANK)
        return
    wrong = verdict(name, answer, **given)
    print(RIGHT if wrong is None else f'还不对：{wrong}。要提示，运行 hint("{name}")')


def hint(name: str) -> None:
    """Print the next hint; after the last one it starts again."""
    hints = find(name).hints
    number = SHOWN.get(name, 0) % len(hints)
    SHOWN[name] = number + 1
    more = "再运行一次有下一条" if number + 1 < len(hints) else "这是最后一条；参考答案在solutions里"
    print(f"提示{number + 1}/{len(hints)}：{hints[number]}（{more}）")
