"""Each loss against a plain formula and, where it has one, against sentence-transformers'; mined negatives are fair."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.losses import (
    bpr_loss,
    full_softmax_loss,
    in_batch_corrected_loss,
    in_batch_loss,
    mine_hard_negatives,
)


def test_full_softmax_by_hand():
    torch.manual_seed(0)
    users, items = torch.randn(3, 4), torch.randn(5, 4)
    wanted = [[0], [2, 3], [4]]
    target = torch.zeros(3, 5)
    for p, items_wanted in enumerate(wanted):
        target[p, items_wanted] = 1
    barred = torch.zeros(3, 5, dtype=torch.bool)
    barred[0, 1] = True
    loss = full_softmax_loss(users, items, target, barred, 0.5)
    expected = []
    for p in range(3):
        allowed = [j for j in range(5) if not barred[p, j]]
        scores = torch.stack([users[p] @ items[j] / 0.5 for j in allowed])
        terms = [-(users[p] @ items[j] / 0.5 - torch.logsumexp(scores, 0)) for j in wanted[p]]
        expected.append(torch.stack(terms).mean())
    assert loss == pytest.approx(float(torch.stack(expected).mean()), abs=1e-5)


def test_in_batch_by_hand():
    torch.manual_seed(1)
    target = torch.tensor([3, 1, 3])  # item 3 twice: a duplicate, not a negative
    users, items = torch.randn(3, 4), torch.randn(3, 4)
    log_q = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    barred = torch.zeros(3, 4, dtype=torch.bool)
    barred[1, 3] = True  # user of row 1 likes item 3 already: no negative is left for it
    loss = in_batch_loss(users, items, target, barred, 1.0, log_q)
    logits = users @ items.T - log_q[target]
    row0 = -F.log_softmax(logits[0, [0, 1]], 0)[0]
    row2 = -F.log_softmax(logits[2, [2, 1]], 0)[0]
    assert loss == pytest.approx(float((row0 + 0 + row2) / 3), abs=1e-5)


def test_in_batch_without_repeats_is_plain_cross_entropy():
    """With distinct items, nothing barred and no correction it is the loss of sentence-transformers."""
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    torch.manual_seed(2)
    users, items = F.normalize(torch.randn(6, 8), dim=1), F.normalize(torch.randn(6, 8), dim=1)
    loss = in_batch_loss(users, items, torch.arange(6), torch.zeros(6, 6, dtype=torch.bool), 0.05, None)
    assert loss == pytest.approx(float(F.cross_entropy(users @ items.T * 20, torch.arange(6))), abs=1e-5)
    theirs = MultipleNegativesRankingLoss(None, scale=20.0).compute_loss_from_embeddings([users, items], None)
    assert loss == pytest.approx(float(theirs), abs=1e-5)
    hard = F.normalize(torch.randn(6, 1, 8), dim=2)
    with_hard = in_batch_loss(users, items, torch.arange(6), torch.zeros(6, 6, dtype=torch.bool), 0.05, None, hard)
    # Theirs offers each row the hard negatives of all rows; ours its own alone.
    own = torch.cat([users @ items.T, (users * hard[:, 0]).sum(1, keepdim=True)], dim=1) * 20
    assert with_hard == pytest.approx(float(F.cross_entropy(own, torch.arange(6))), abs=1e-5) and with_hard > loss


def test_logq_undoes_sampling_by_popularity():
    """In a big batch drawn by popularity, what a row's item competes with is the whole catalogue, each item once."""
    torch.manual_seed(3)
    q, items, user = torch.tensor([0.6, 0.2, 0.1, 0.05, 0.05]), torch.randn(5, 4), torch.randn(4)
    drawn = torch.multinomial(q, 3000, replacement=True)
    users, nothing = user.expand(3000, 4), torch.zeros(1, 5, dtype=torch.bool).expand(3000, 5)
    corrected = in_batch_loss(users, items[drawn], drawn, nothing, 1.0, torch.log(q))
    plain = in_batch_loss(users, items[drawn], drawn, nothing, 1.0, None)
    weight = np.exp((items @ user).double().numpy())  # of each item in the softmax
    share = np.bincount(drawn, minlength=5) / 3000
    evenly = weight.sum() - weight  # the others, each once; the row's own comes as often as 1 / (3000 q)
    own = weight / q.numpy() / 3000
    assert float(corrected) == pytest.approx(-(share * np.log(own / (own + evenly))).sum(), abs=0.05)
    as_drawn = (weight * share).sum() - weight * share
    assert float(plain) == pytest.approx((share * np.log1p(3000 * as_drawn / weight)).sum(), abs=0.05)
    assert abs(float(plain) - float(corrected)) > 0.2


def test_bpr_in_numbers():
    """−log σ of the margins 1 and 0 over a temperature of one half: −log σ(2) = .1269 and −log σ(0) = .6931."""
    users, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 3.0]])
    negatives = torch.tensor([[[0.0, 5.0], [1.0, -2.0]]])
    assert bpr_loss(users, items, negatives, 0.5) == pytest.approx((0.126928 + 0.693147) / 2, abs=1e-5)


def test_mined_negatives_are_hard_and_fair():
    """One user at (1, 0): a liked item at cosine .8; above 95% of that lies what is likely a forgotten like."""
    angles = np.arccos([0.8, 0.99, 0.77, 0.7, 0.5, 0.1])
    items = torch.tensor(np.c_[np.cos(angles), np.sin(angles)], dtype=torch.float32)
    liked, nothing = torch.tensor([[True, False, False, False, False, False]]), torch.zeros(6, dtype=torch.bool)
    user = torch.tensor([[1.0, 0.0]])
    assert mine_hard_negatives(user, items, liked, nothing, 3).tolist() == [[3, 4, 5]]  # .99 and .77 exceed .76
    barred = torch.tensor([False, False, False, True, False, False])
    assert mine_hard_negatives(user, items, liked, barred, 3).tolist() == [[4, 5, 5]]  # the last one is repeated
    everything = mine_hard_negatives(user, items[:3], liked[:, :3], nothing[:3], 3).tolist()
    assert everything == [[2, 2, 2]]  # nothing is below the limit: the least suspicious there is, and nothing liked


def test_a_hard_negative_weighs_as_much_as_one_item_of_the_catalogue():
    """The corrected columns together estimate pairs × the catalogue's sum, so a hard one is counted pairs times."""
    torch.manual_seed(5)
    users, items, hard = torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 2, 8)
    log_q, nothing = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1])), torch.zeros(4, 4, dtype=torch.bool)
    loss = in_batch_loss(users, items, torch.arange(4), nothing, 0.5, log_q, hard)
    by_hand = []
    for p in range(4):
        columns = torch.exp(items @ users[p] / 0.5) / log_q.exp()
        mined = 4 * torch.exp(hard[p] @ users[p] / 0.5)
        by_hand.append(-torch.log(columns[p] / (columns.sum() + mined.sum())))
    assert loss == pytest.approx(float(torch.stack(by_hand).mean()), abs=1e-4)


def test_the_corrected_loss_has_the_gradient_of_the_whole_softmax():
    """Items as they are drawn in training, popular ones more often; the mean gradient over many batches."""
    torch.manual_seed(0)
    user, catalogue = torch.randn(1, 4), torch.randn(6, 4)
    q = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    nothing, liked = torch.zeros(400, 6, dtype=torch.bool), 4  # an item that hardly anybody likes

    def gradient(loss) -> torch.Tensor:
        items = catalogue.clone().requires_grad_()
        loss(items).backward()
        return items.grad

    target = torch.zeros(1, 6)
    target[0, liked] = 1
    whole = gradient(lambda items: full_softmax_loss(user, items, target, nothing[:1], 1.0))
    drawn = [torch.multinomial(q, 400, replacement=True) for _ in range(40)]
    for rows in drawn:
        rows[0] = liked  # row 0 asks for it, the other rows are its negatives

    def first_row(loss):  # the others' users are zero: no gradient comes from them
        alone = torch.cat([user, torch.zeros(399, 4)])
        return lambda items: sum(400 * loss(alone, items[rows], rows) for rows in drawn) / len(drawn)

    def corrected(users, items, rows):
        return in_batch_corrected_loss(users, items, rows, nothing, 1.0, torch.log(q))

    def plain(users, items, rows):
        return in_batch_loss(users, items, rows, nothing, 1.0, torch.log(q))

    near, far = (gradient(first_row(loss)) for loss in (corrected, plain))
    assert (near - whole).norm() < 0.05 * whole.norm() < (far - whole).norm()


def test_a_row_without_negatives_adds_nothing_to_the_corrected_loss():
    users, items = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    loss = in_batch_corrected_loss(users, items, torch.tensor([1, 1, 1]), torch.zeros(3, 5, dtype=torch.bool), 0.1,
                                   torch.log(torch.full((5,), 0.2)))  # fmt: skip
    loss.backward()
    assert loss == 0 and (users.grad == 0).all()
