"""What each parameter of the chapters and of the report means, and which values it takes, for lists and help."""

from textrec_utils.course.chapters import FILLED, Chapter

SHARED = {
    "dataset_name": "数据集的名字，或放着items.csv和interactions.csv的文件夹",
    "model": "编码器：自带的名字、本地文件夹，或Hugging Face名字",
    "model_name": "编码器：自带的名字、本地文件夹，或Hugging Face名字",
    "k": "推荐列表的长度，至少1",
    "seed": "随机种子，0到4294967295",
}
OWN = {
    "00": {"film_title": "找哪部影片的近邻：数据里的片名", "user_id": "给谁推荐：数据里的用户编号"},
    "01": {"top_n": "高频词的表里列几个词，至少1", "n_users": "时间线上画几位用户，分三组，所以至少3"},
    "02": {
        "budget": "每个方法在验证集上至多试几组设置，至少1", "example_item": "举例的影片：数据里的编号",
        "example_user": "举例的用户：数据里的编号",
    },
    "02b": {
        "negatives": "采样指标给每条测试配几件随机的物品，至少1",
        "claim": "论文里常见的那种领先，指标的差，例如0.005",
    },
    "03": {
        "dim": "词向量的维数，至少1", "window": "左右各看几个词，至少1", "epochs": "把文本读几遍，至少1",
    },
    "04": {
        "mask_rate": "掩码占几成，0到1之间", "vocab_size": "袖珍BERT的词表至多几个词，至少1",
        "mini_mask_rate": "袖珍BERT的掩码占几成，0到1之间", "mini_steps": "袖珍BERT训练几步，至少1",
    },
    "04b": {"adapt_steps": "继续预训练几步，至少1", "distil_steps": "蒸馏和它的对照各训练几步，至少1"},
    "05": {"max_length": "编码器至多读几个词元，至少1", "batch_size": "一批编码几段文本，至少1"},
    "06": {"pairs": "这一章里训练的句对分类器用几对，至少1", "head_steps": "头训练几步，至少1"},
    "06b": {
        "head_steps": "头训练几步，至少1", "encoder_steps": "头训练好以后，编码器再训练几步，至少1",
        "new_readers": "把几位用户的喜欢全藏起来当新用户，至少1",
    },
    "07": {"user_id": "整章跟着哪位用户：数据里的编号"},
    "08": {
        "budget": "一个融合在验证集上至多试几组设置，至少1", "steps": "塔训练几步，至少1",
        "dim": "物品和用户向量的宽度，至少1", "new_users": "造几位新用户，验证和测试各这么多，至少1",
        "pairs": "重排的句对模型用几对训练，至少1", "rerank_users": "重排给几位用户看，至少1",
        "depth": "交给重排的候选有几件，至少1",
    },
    "09": {
        "news_at": "哪一刻（UTC）：这一天之前的新闻用来选设置，之后的用来评判",
        "fresh_days": "超过几天的新闻不再推荐，至少1", "choice_days": "用news_at之前几整天选设置，至少1",
        "test_days": "用news_at之后几整天评判，至少1", "k_new": "新商品的列表有多长，至少1",
        "budget": "试不遍的方法各随机试几组设置，至少1", "draws": "新商品、新视频各随机抽几批，至少1",
        "least_ears": "听众少于几人的艺人不要，至少1", "few_likes": "训练里喜欢的人少于几位就算近乎新商品，至少1",
    },
    "report": {
        "dataset": SHARED["dataset_name"],
        "split": "怎样划分：auto（有时间、测试用户够多就按时间）、leave_last_out、temporal、cold_items、random、given",
        "profile": "跑哪些方法：full（全部）、quick（少而快；各有哪些见textrec report -h）",
        "budget": "训练慢的方法在验证集上至多试几组设置，快的试遍；0：不调，用默认设置，没有融合和“文本（本数据选定）”",
        "min_value": "数值不低于几算喜欢：auto（数据自己的阈值）或一个数，0也可以",
        "on_missing": "缺文字的物品、缺编号或时间的行：refuse（拒绝，说出在哪一行）、drop（去掉并报数）",
        "prefix": "编码时每条文本前加的字，例如 'query: '；也可以是模型自带提示的名字，none 什么也不加",
        "pooling": "词元怎样并成一个向量：auto（照模型自己的文件）、mean、cls、lasttoken等，用 + 并排",
        "max_length": "每段文字读几个词元：auto（按自己的文字定，课程的数据是128）或一个整数",
    },
}  # fmt: skip


def meaning(chapter: Chapter, name: str) -> str:
    """In Chinese; "" for a parameter that nobody has described."""
    own = OWN.get(chapter.name.partition("_")[0], {})
    return own.get(name) or SHARED.get(name, "")


def described(chapter: Chapter, *, shared: bool = True) -> list[str]:
    """A line a parameter: name, default, meaning. shared: also what many chapters have under one name."""
    lines = []
    for name, value in chapter.parameters().items():
        if name not in FILLED and (shared or name not in SHARED):
            lines.append(f"{name}={value!r}  {meaning(chapter, name)}".rstrip())
    return lines
