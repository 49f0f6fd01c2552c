"""A folder of data whose every name is markup, a formula, a field or a command somewhere."""

from pathlib import Path

import numpy as np
import pandas as pd

NASTY = [
    "US$$", "{2024}", "<img src=x onerror=alert(1)>", "`code` **fat** _it_", "[here](javascript:alert(1))", "$\\frac$",
    "a\nb\t| c", "100%s {0} {}", "]]> --><!--", "\\$x^2$ \\(y\\)", "=HYPERLINK(1)", "&lt;b&gt; # 1. https://a.b",
]  # fmt: skip
FOLDER = "US$$ {2024} <b>`x`|y"


def hostile_folder(parent: Path) -> Path:
    """240 users, 60 items in 6 categories, 6 likes a user; ids, titles, categories, profiles and the folder's name."""
    folder, rng = parent / FOLDER, np.random.default_rng(0)
    folder.mkdir(parents=True)
    names = np.resize(NASTY, 60)
    items = pd.DataFrame({
        "item_id": [f"{' '.join(name.split())} {n}" for n, name in enumerate(names)],
        "title": [f"{name} 第{n}款" for n, name in enumerate(names)],
        "text": [f"{name}，适合送礼，第{n}款" for n, name in enumerate(names)],
        "category": [NASTY[n % 6] for n in range(60)],
    })  # fmt: skip
    rows = [
        (f"{' '.join(NASTY[user % 12].split())} {user}", items["item_id"][item], 1_600_000_000 + 3600 * n + user)
        for user in range(240)
        for n, item in enumerate(rng.choice(np.arange(user % 3, 60, 3), 6, replace=False))
    ]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    users = pd.DataFrame({"user_id": interactions["user_id"].unique(), "text": "<b>$x$</b> {0}"})
    for name, table in (("items", items), ("interactions", interactions), ("users", users)):
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder
