"""Our exact search beside faiss' flat index: seconds and ratio, and the share of a measured matrix product.

    python benchmarks/top_k.py [users ...]

Top 20 of 100,000 items with 312 dimensions, by default for 1,000 and for 100,000 users; the two take turns.
"""

import platform
import sys
import time

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from textrec_utils.core import measure
from textrec_utils.ranking import dot_top_k, top_k

ITEMS, WIDTH, K = 100_000, 312, 20


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(counts: list[int]) -> None:
    threads = torch.get_num_threads()
    faiss.omp_set_num_threads(threads)
    rng = np.random.default_rng(0)
    items = rng.standard_normal((ITEMS, WIDTH), dtype=np.float32)
    index = faiss.IndexFlatIP(WIDTH)
    index.add(items)
    square = rng.standard_normal((2048, 2048), dtype=np.float32)
    with threadpool_limits(threads):
        peak = 2 * 2048**3 / min(seconds(lambda: square @ square) for _ in range(10)) / 1e9
    print(f"{platform.processor() or platform.machine()}, {threads} threads, matrix product {peak:.0f} GFLOP/s")
    for count in counts:
        users = rng.standard_normal((count, WIDTH), dtype=np.float32)
        dot_top_k(users[:100], items, K), index.search(users[:100], K)
        took = []
        for _ in range(7 if count <= 10_000 else 1):
            with measure() as cost:
                found, scores = dot_top_k(users, items, K)
            theirs = []
            took.append((cost.seconds, seconds(lambda: theirs.extend(index.search(users, K)))))  # noqa: B023
        ours, peer = np.median(took, axis=0)
        assert (found == theirs[1]).mean() > 0.999 and np.abs(scores - theirs[0]).max() < 1e-3
        share = 2 * count * ITEMS * WIDTH / ours / 1e9 / peak
        print(f"{count:,} users: {ours:.2f} s, faiss {peer:.2f} s, ratio {np.median([b / a for a, b in took]):.2f}, "
              f"{share:.0%} of the matrix product, peak +{cost.peak_mb:.0f} MB")  # fmt: skip
    scores = rng.standard_normal((1024, 50_000), dtype=np.float32)
    ours, peer = (min(seconds(call) for _ in range(3)) for call in (
        lambda: top_k(scores, K), lambda: torch.from_numpy(scores).topk(K)))  # fmt: skip
    print(f"top_k of scores: {ours / scores.size * 1e9:.1f} ns a score, torch.topk {peer / scores.size * 1e9:.1f}")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [1_000, 100_000])
