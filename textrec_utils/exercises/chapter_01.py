"""Chapter 01: repeated characters, words of one's own, matching from the right, the last like, the price of time."""

import pandas as pd

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.exercises.judge import exercise, require, require_number, run
from textrec_utils.splits import make_split
from textrec_utils.text import Segmenter


@exercise(
    "01-1",
    "正则表达式的反向引用`\\1`指“与第一个括号里相同的字符”，`\\D`是“不是数字的字符”",
    "要压的是连续三个或更多：先有一个，再重复至少两次，也就是`{2,}`",
    '`re.sub(r"(\\D)\\1{2,}", …, text)`，替换成两个同样的字符',
)
def squeeze(answer):
    cases = {
        "哈哈哈哈哈，太好看了！！！！": ("哈哈，太好看了！！", "四个以上的要压成两个"),
        "好好好": ("好好", "正好三个也要压"),
        "票房1000000元": ("票房1000000元", "数字不能压缩"),
        "妈妈看看……": ("妈妈看看……", "两次的不动"),
        "aaaa  bbb": ("aa  bb", "字母也一样"),
        "啊啊啊9999啊啊啊": ("啊啊9999啊啊", "数字两边的字照样要压"),
        " 好 \n": (" 好 \n", "别的字符一个也不要动"),
        "Hello，OKKK": ("Hello，OKK", "大小写也不要动"),
        "": ("", "空文本照样返回空文本"),
    }
    for text, (wanted, why) in cases.items():
        found = run(answer, text, shown=f"文本“{text}”")
        require(isinstance(found, str), f"应当返回文字，这里是{type(found).__name__}（忘了return？）")
        require(found == wanted, f"“{text}”变成了“{found}”：{why}")


@exercise(
    "01-2",
    "切错的是哪两处？`Segmenter`的第一个参数是用户词的列表",
    "列表里只放被切开的词，各写一次；多加的词会改动别的句子",
)
def user_words(answer):
    require(isinstance(answer, list | tuple) and all(isinstance(w, str) for w in answer), "应当是词的列表")
    cases = {
        "协同过滤看不见新影片，自注意力看得见": ["协同过滤", "看不见", "新", "影片", "自注意力", "看得见"],
        "新影片里有自注意力和协同过滤": ["新", "影片", "里", "有", "自注意力", "和", "协同过滤"],
    }
    segment = Segmenter(list(answer), stopwords=())
    for text, wanted in cases.items():
        found = segment(text)
        require(found == wanted, f"“{text}”现在切成{' / '.join(found)}")


@exercise(
    "01-3",
    "照第5节的`longest_match`改：那里记着一段的开头`start`，从0往右走；这里记着一段的末尾`end`，从`len(text)`往左走",
    "末尾在`end`、长`size`个字的一段是`text[end - size:end]`；`size`不能超过`end`，否则开头成了负数",
    "得到的词是从右往左的，返回以前用`[::-1]`倒过来；一个字总能取，不必在词典里",
)
def from_right(answer):
    cases = [
        ("研究生命的起源", {"研究", "研究生", "生命", "起源"}, 6, "研究/生命/的/起源"),
        (
            "北京大学生前来应聘",
            {"北京", "北京大学", "大学生", "生前", "前来", "应聘"},
            6,
            "北京/大学生/前来/应聘",
        ),
        ("结婚的和尚未结婚的", {"结婚", "和尚", "尚未"}, 6, "结婚/的/和/尚未/结婚/的"),
        ("从小学到大学", {"从小", "小学", "学到", "大学"}, 6, "从小/学到/大学"),
        ("大学生", {"大学", "大学生", "学生"}, 2, "大/学生"),
        ("电影", {"电影"}, 6, "电影"),
        ("新电影院", {"电影", "电影院"}, 6, "新/电影院"),
        ("天地玄黄", set(), 6, "天/地/玄/黄"),
        ("", {"电影"}, 6, ""),
    ]
    for text, words, longest, wanted in cases:
        shown = f"“{text}”，词典{'、'.join(sorted(words)) or '是空的'}，最长{longest}个字"
        found = run(answer, text, words, longest, shown=shown)
        require(isinstance(found, list) and all(isinstance(word, str) for word in found), f"{shown}：应当返回词的列表")
        require(found == [word for word in wanted.split("/") if word], f"{shown}：现在切成{' / '.join(found) or '空'}")


@exercise(
    "01-4",
    "先按时间排好，再给每位用户留下最后一行；别忘了表不一定是排好的",
    "`sort_values('timestamp')`以后，`~duplicated('user', keep='last')`标出每人的最后一行",
    "只有一条喜欢的人没有历史可学，要去掉：`groupby('user')['item'].transform('size') > 1`",
)
def last_likes(answer):
    cases = {
        "时间没有排好": [("甲", 1, 30), ("甲", 2, 10), ("乙", 3, 5), ("乙", 1, 9), ("甲", 3, 20)],
        "有人只喜欢过一部": [("甲", 1, 10), ("甲", 2, 20), ("乙", 3, 15)],
        "最后一秒喜欢了两部": [("甲", 1, 10), ("甲", 2, 20), ("甲", 3, 20), ("乙", 1, 7), ("乙", 4, 7)],
        "每人都只喜欢过一部": [("甲", 1, 10), ("乙", 1, 20)],
    }
    for what, rows in cases.items():
        table = pd.DataFrame(rows, columns=["user", "item", "timestamp"], index=range(9, 9 + len(rows)))
        found = run(answer, table, shown=what)
        fits = isinstance(found, pd.DataFrame) and {"user", "item", "timestamp"} <= set(found.columns)
        require(fits, f"{what}时，应当返回有user、item、timestamp三栏的表")
        likes = table.groupby("user")["item"].size()
        tested = found["user"].tolist()
        require(len(tested) == len(set(tested)), f"{what}时，有一位用户留下了不止一条")
        require(not set(tested) & set(likes.index[likes == 1]), f"{what}时，只喜欢过一部的人也拿去考了")
        require(set(tested) == set(likes.index[likes > 1]), f"{what}时，少了一位该考的用户")
        known = set(table[["user", "item", "timestamp"]].itertuples(index=False, name=None))
        kept = set(found[["user", "item", "timestamp"]].itertuples(index=False, name=None))
        require(kept <= known, f"{what}时，有一行原来的表里没有")
        latest = table.groupby("user")["timestamp"].max()
        require((found["timestamp"] == found["user"].map(latest)).all(), f"{what}时，留下的不是最后一条")


@exercise(
    "01-5",
    "`make_split`的返回值里有一项专门放他们",
    "`split.new_users`一行是一条喜欢，一个人可以有好几行：数不同的人",
)
def users_without_history(answer):
    split = make_split(load_dataset("movielens-zh"), "temporal", at="1998-01-01")
    require_number(answer, split.new_users["user"].nunique(), "人数", 0)


@exercise(
    "01-6",
    "两次`make_split`，只有`seed`不同；`test`里每位用户一行，栏`item`是留下的那一部",
    "两张表的行次序不必相同：先按用户对齐，例如`test.set_index('user')['item']`",
    "对齐以后数一数`first != second`有几个",
)
def other_seed(answer):
    dataset = load_dataset("movielens-zh")
    first, second = (make_split(dataset, seed=seed).test.set_index("user")["item"] for seed in (0, 1))
    require_number(answer, int((first != second.reindex(first.index)).sum()), "人数", 0)
