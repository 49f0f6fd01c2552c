"""What is lost: corrupted tokens, a teacher's vectors, the order of sentence pairs; and the step against it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from textrec_utils.pretraining.vocabulary import SPECIAL


def mask_tokens(
    ids: torch.Tensor, maskable: torch.Tensor, rate: float, mask_id: int, vocab_size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corruption (Devlin et al. 2019): of the chosen tokens 80% [MASK], 10% another token, 10% as they are.

    ids: (batch, tokens). maskable: the same shape, True where a token may be chosen (no padding, no [CLS]).
    Returns the corrupted ids and chosen, a bool mask: the positions that the loss asks for.
    """
    draw = torch.rand(ids.shape, generator=generator)
    chosen = (draw < rate) & maskable
    if maskable.any() and not chosen.any():  # a few short texts: one token at least
        chosen = (draw == draw[maskable].min()) & maskable
    what = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), vocab_size, ids.shape, generator=generator)
    corrupted = torch.where(chosen & (what < 0.8), mask_id, ids)
    corrupted = torch.where(chosen & (what >= 0.9), noise, corrupted)
    return corrupted, chosen


def masked_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the chosen tokens; 0, not NaN, where none could be. (chosen, vocabulary), (chosen,)."""
    return F.cross_entropy(logits.float(), truth) if len(truth) else logits.sum()


def cosine_loss(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 − mean cosine. student, target: (batch, dim) unit vectors."""
    return 1 - (student * target).sum(-1).mean()


def similarity_loss(
    student: torch.Tensor, target: torch.Tensor, bank: torch.Tensor, temperature: float = 0.05
) -> torch.Tensor:
    """KL divergence between teacher's and student's neighbourhoods (after SEED, Fang et al. 2021).

    Each sentence's similarities to the other sentences of the batch and to a bank of other teacher vectors,
    softened to a distribution: which sentences are near, not only where this one lies. The sentence itself
    is left out (SEED keeps it), else it takes all the weight. student, target: (batch, dim), bank: (bank, dim), unit
    vectors.
    """
    keys = torch.cat([target, bank])  # (batch + bank, dim)
    own = torch.zeros(len(target), len(keys), dtype=torch.bool)
    own.fill_diagonal_(True)
    of_teacher = (target @ keys.T / temperature).masked_fill(own.to(target.device), -1e4).softmax(-1)
    of_student = (student @ keys.T / temperature).masked_fill(own.to(target.device), -1e4).log_softmax(-1)
    return F.kl_div(of_student, of_teacher, reduction="batchmean")


def cosent_loss(left: torch.Tensor, right: torch.Tensor, label: torch.Tensor, scale: float = 20.0) -> torch.Tensor:
    """CoSENT (Su 2022): a pair with a higher label shall have a higher cosine than every pair with a lower one.

    log(1 + sum over label_i > label_j of exp(scale · (cos_j − cos_i))). left, right: (pairs, dim). label: (pairs,).
    """
    cosine = F.cosine_similarity(left, right) * scale  # (pairs,)
    difference = cosine[None, :] - cosine[:, None]  # [i, j] = cos_j − cos_i
    wrong = difference.masked_fill(label[:, None] <= label[None, :], -1e4)
    return torch.logsumexp(torch.cat([wrong.flatten(), wrong.new_zeros(1)]), dim=0)


def update(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor, learning_rate: float) -> None:
    """Move the weights against the loss; a gradient longer than 1 is cut to 1."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
