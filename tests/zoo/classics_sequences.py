"""Classics in plain torch, small, of sequences: text, audio, video."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Tagger(nn.Module):
    """Embeddings of words and features, a recurrent network both ways, a tag for every word."""

    def __init__(self, kind: str = "LSTM", layers: int = 2) -> None:
        super().__init__()
        self.words, self.cases = nn.Embedding(40, 12), nn.Embedding(5, 4)
        self.rnn = getattr(nn, kind)(16, 10, layers, batch_first=True, bidirectional=True, dropout=0.1)
        self.mid, self.out = nn.Linear(20, 12), nn.Linear(12, 7)

    def forward(self, words: Tensor, cases: Tensor) -> Tensor:
        x = torch.cat([self.words(words), self.cases(cases)], -1)
        return self.out(torch.tanh(self.mid(self.rnn(x)[0])))


class Cells(nn.Module):
    """An LSTM cell written by hand over a few steps, with one linear layer for all gates."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width = width
        self.into, self.again = nn.Linear(6, 4 * width), nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], self.width)
        for step in range(3):
            i, f, g, o = (self.into(x[:, step]) + self.again(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


class TemporalNet(nn.Module):
    """Dilated gated convolutions with skip connections (van den Oord et al. 2016)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.skips = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(3))
        self.last = nn.Conv1d(width, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), 0.0
        for gate, skip in zip(self.gates, self.skips, strict=True):
            out, more = skip(F.glu(gate(x), 1)).chunk(2, 1)
            x, total = x + out, total + more
        return self.last(F.relu(total))


class Video(nn.Module):
    """Three-dimensional convolutions and a factorized one (Tran et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.space = nn.Conv3d(2, 8, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(8, 12, (3, 1, 1), padding=(1, 0, 0))
        self.norm, self.fc = nn.BatchNorm3d(12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.norm(self.time(F.relu(self.space(x))))), 2)
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))
