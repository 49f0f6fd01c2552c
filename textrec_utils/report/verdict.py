"""The verdict: a sentence a question, worded by the numbers."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from textrec_utils.core.escape import in_markdown
from textrec_utils.evaluation.statistics import FEW_USERS
from textrec_utils.report import advice, own_tower
from textrec_utils.report.advice import learned
from textrec_utils.report.claims import Claims, Contest, NewItems
from textrec_utils.report.comparisons import Rivalry, Sides
from textrec_utils.report.groups import Grouping
from textrec_utils.report.methods import KINDS, METHODS
from textrec_utils.report.run import Report
from textrec_utils.report.words import cost_words, live_words, p_equals, share_words, speed_words

CLEAR = 3.0  # times as long: of a few timed requests less is noise


def who_wins(report: Report, claims: Claims) -> str:
    """The first by validation, its place on the test, and whom it surely beats."""
    first, main = claims.first, report.main
    low, high = first.interval(main)
    told = (
        f"{'验证集' if report.validation else '测试'}上最好的是{first.method}，属于{KINDS[METHODS[first.key].kind]}；"
        f"测试{main}为{first.mean(main):.4f}，95%区间[{low:.4f}, {high:.4f}]，{_place(report, first.key, main)}"
    )
    for word, some in _by_outcome(claims.peers.values()).items():
        names = "、".join(f"{r.rival.method}（{r.rival.mean(main):.4f}）" for r in some)
        told += f"；{word}{names}"
        if word == "分不出高下的有":
            told += f"，看得出的最小差别约{max(r.visible for r in some):.4f}"
    other, live = report.metrics[1], live_words(first.key, report.split.protocol)
    if live and advice.chosen(report, claims) is not first:  # else it stands where that is shipped
        told += f"。{live}"
    return (
        f"{told}。共{len(report.results)}个方法，{report.users:,}位用户，在{report.candidates:,}件候选里全量排序；"
        f"按{other}，{first.method}{_place(report, first.key, other)}"
    )


def _place(report: Report, key: str, metric: str) -> str:
    """Which place a method takes on the test, and who stands first there where it doesn't."""
    order = sorted(report.results.values(), key=lambda r: -r.mean(metric))
    place = [r.key for r in order].index(key) + 1
    if place == 1:
        return "分数也最高"
    return f"分数排第{place}，最高的是{order[0].method}（{order[0].mean(metric):.4f}，看了测试才知道，不作数）"


def _by_outcome(rivalries: Iterable[Rivalry]) -> dict[str, list[Rivalry]]:
    found: dict[str, list[Rivalry]] = {}
    for r in rivalries:
        word = "分不出高下的有" if r.p >= 0.05 else "显著高于" if r.test.difference > 0 else "显著低于"
        found.setdefault(word, []).append(r)
    return found


def versus(against: Rivalry, metric: str) -> str:
    """One sentence on a method against a rival, by its Holm-corrected test."""
    test, name = against.test, against.rival.method
    detail = f"差{test.difference:+.4f}，95%区间[{test.low:+.4f}, {test.high:+.4f}]，校正后{p_equals(against.p)}"
    if against.p >= 0.05:
        return f"和{name}分不出高下（{detail}，看得出的最小差别约{against.visible:.4f}）"
    base = against.rival.mean(metric)
    relative = f"{abs(test.difference) / base:.0%}" if abs(test.difference) < 2 * base else ""
    return f"比{name}{'高' if test.difference > 0 else '低'}{relative}，差异显著（{detail}）"


def text_or_not(report: Report, sides: Sides, against: dict[str, Rivalry]) -> str:
    """Towers also learn from likes: against what reads the same texts and learns nothing it is told as well."""
    told = f"最好的文本方法{sides.text.method}"
    named = [(sides.behaviour, "最好的协同方法"), (sides.plain, "最好的非文本方法")]
    if sides.behaviour.key == "random":
        named = [(sides.behaviour, "随机的次序")]
    elif sides.plain.key == sides.behaviour.key:
        named = [(sides.behaviour, "最好的协同方法，也是最好的非文本方法")]
    said = [f"{versus(against[side.key], report.main)}，后者是{name}" for side, name in named if side.key in against]
    if sides.text.key == "own_tower":
        setting = report.chosen["own_tower"].best
        learns = [word for word, there in (("训练", setting["steps"]), ("热度", setting["prior"])) if there]
        also = f"；{'和'.join(learns)}来自行为，这一比不全是文字的功劳" if learns else ""
        said.append(f"它在验证集上选定的是{own_tower.in_words(setting)}{also}")
    if sides.text.key.startswith("two_tower"):
        alone = "在movielens-zh上，历史一样重时，读随机向量的塔已有双塔的大半分数（第06章第6节）"
        alone += "，让近的重以后没有做这个对照"
        if report.cold_share > 0.5:
            alone = f"不过测试里{report.cold_share:.0%}在训练里没有人喜欢过，在它们身上塔只能靠文字"
        said.append(f"双塔也从行为里学，这一比说的是整座塔，不全是文字的功劳；{alone}")
    return told + "；".join(said)


def joined(report: Report, claims: Claims) -> str | None:
    """The best method that joins both kinds against the first, or the first that does against the best single one."""
    first = claims.first
    if METHODS[first.key].kind == "both":
        some = [r for key, r in claims.peers.items() if METHODS[key].kind != "both"]
        if not some:
            return None
        other = max(some, key=lambda r: report.worth(r.rival.key))
        return f"{first.method}（验证集上的第一名）{versus(other, report.main)}，后者是单个方法里最好的"
    some = [r for key, r in claims.peers.items() if METHODS[key].kind == "both"]
    if not some:
        return None
    told = f"单个方法里最好的{first.method}{versus(some[0], report.main)}，后者把文本和行为合起来"
    return told + (f"（{share_words(some[0].rival)}）" if some[0].rival.key == "hybrid" else "")


def what_it_costs(report: Report, sides: Sides) -> str:
    text, other = sides.text, sides.behaviour
    told = f"{text.method}一共用{cost_words(text.cost)}，{other.method}用{cost_words(other.cost)}"
    told = f"{told}：{speed_words(text.cost, other.cost)}"
    if {text.key, other.key} <= set(report.serving):
        a, b = (report.serving[side.key].ms for side in (text, other))
        if not 1 / CLEAR < a / max(b, 1e-9) < CLEAR:
            told += f"；排一份名单{a:.1f}毫秒对{b:.1f}毫秒"
    return f"{told}（调参另计，见第5节）"


def where_it_fails(sides: Sides, found: list[Grouping]) -> str:
    """The text method's weakest group, and where it is surely behind and ahead of the collaborative one."""
    several = [g.table.assign(by=g.name) for g in found if len(g.table) > 1]
    if not several:
        return "测试太少，分不出各有20位以上用户的两组，没有分组看"
    gaps, text, other = pd.concat(several, ignore_index=True), sides.text.method, sides.behaviour.method

    def told(row: pd.Series) -> str:
        group = f"{row['by']}为“{in_markdown(row['组'])}”的一组"
        return f"{group}（{row[text]:.3f}对{row[other]:.3f}，{row['测试条数']}条）"

    lowest, sure = gaps[text].idxmin(), gaps[gaps["p"] < 0.05].sort_values("差")
    words = f"{len(gaps)}组里{text}命中率最低的是{told(gaps.loc[lowest])}"
    if sure.empty:
        words += f"；校正之后，没有哪一组里{text}和{other}的差距是显著的"
    elif sure["差"].iloc[0] < 0:
        where = "也正是这一组" if sure.index[0] == lowest else f"是{told(sure.iloc[0])}"
        words += f"；显著落后{other}最多的{where}"
    if len(sure) and sure["差"].iloc[-1] > 0:
        words += f"；显著领先最多的是{told(sure.iloc[-1])}"
    return f"{words}。括号里先文本后协同；最低、最多是看着测试挑的，会偏极端"


def among_new_items(new: NewItems) -> str:
    """The text method among all items and among new ones, each time against the strongest untrained reader, the tower
    of both where it is not that itself, and chance.

    The intervals are over users: of another draw of new items or another seed they say nothing.
    """

    def one(where: str, of: Contest) -> str:
        main = of.metric
        untrained = [r for key, r in of.rivals.items() if key not in ("random", "two_tower_both")]
        strongest = max(untrained, key=lambda r: r.rival.mean(main), default=None)
        said = [f"{versus(strongest, main)}，后者是不训练的对手里分数最高的"] if strongest else []
        if not learned(of.text) and "two_tower_both" in of.rivals:
            reads = "读的一样，训练过" if of.text.key == "both" else "读BERT和词面，训练过"
            said.append(f"{versus(of.rivals['two_tower_both'], main)}，后者{reads}")
        said += [versus(of.rivals["random"], main)] if "random" in of.rivals else []
        return f"{where}，验证时最好的文本方法是{of.text.method}，{main}是{of.text.mean(main):.4f}，{'；'.join(said)}"

    placed = new.report.mixed[new.mixed.text.key][1].mean(new.mixed.metric)
    return (
        one("和全部物品混在一起排", new.mixed)
        + f"。给新物品留位置之后，{new.mixed.text.method}的{new.mixed.metric}是{placed:.4f}。"
        + one("只在新物品之间排", new.alone)
        + "。新物品只抽了一批，训练只有一个种子，区间没有算这两样的起落（第06章第6节在movielens-zh上另换过九批）"
    )


def in_words(report: Report, claims: Claims) -> str:
    """The list that opens a report, as Markdown."""
    cost = {"代价": what_it_costs(report, claims.sides)}
    if report.few:
        points = {"没有结论": (
            f"能评测的用户只有{report.users}位，不到{FEW_USERS}位，分不出方法的高下；下面的数字只说明流水线跑通了，"
            "可以看第7节的列表合不合意，等用户多了再比"
        )} | cost  # fmt: skip
    else:
        points = {
            "先上哪个": advice.ship(report, claims), "谁赢": who_wins(report, claims),
            "文本值不值": text_or_not(report, claims.sides, claims.rivals), "合起来": joined(report, claims),
        } | cost | {"哪里失败": where_it_fails(claims.sides, claims.groups)}  # fmt: skip
        if claims.new:
            points["新物品"] = among_new_items(claims.new)
    first, *others = [f"**{name}**：{sentence}" for name, sentence in points.items() if sentence]
    # Right under the first: what the split lets a method know that it could not know in life.
    lines = [first, f"**协议**：{report.protocol}，{report.split.leaks}", *others]
    cold = claims.new.report if claims.new and claims.new.report is not report else None
    lines += [f"**当心**：{in_markdown(c)}" for c in report.cautions + (cold.cautions if cold else [])]
    return "\n".join(f"- {line.rstrip('。')}。" for line in lines)
