"""Classics in plain torch, small, in which positions, channels or experts are weighed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from classics_parts import Head, conv_bn
from torch import Tensor, nn


class MLPMixer(nn.Module):
    """Mixing of positions and of channels by transposition (Tolstikhin et al. 2021)."""

    class Block(nn.Module):
        def __init__(self, tokens: int, width: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.tokens = nn.Sequential(nn.Linear(tokens, 10), nn.GELU(), nn.Linear(10, tokens))
            self.channels = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.norm2(x))

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.Sequential(self.Block(16, 16), self.Block(16, 16))
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.blocks(self.patch(x).flatten(2).transpose(1, 2))).mean(1))


class Attentive(nn.Module):
    """CBAM (Woo et al. 2018) and a selective kernel with softmax over branches (Li et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16)
        self.shared = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))
        self.space = nn.Conv2d(2, 1, 7, padding=3)
        self.small, self.large = conv_bn(16, 12, 3), conv_bn(16, 12, 5)
        self.squeeze = nn.Linear(12, 8)
        self.choose = nn.ModuleList(nn.Linear(8, 12) for _ in range(2))
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * torch.sigmoid(self.shared(x.mean((2, 3))) + self.shared(x.amax((2, 3))))[..., None, None]
        places = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        x = x * torch.sigmoid(self.space(places))
        branches = torch.stack([self.small(x), self.large(x)], 1)
        hidden = F.relu(self.squeeze(branches.sum(1).mean((2, 3))))
        shares = torch.stack([choose(hidden) for choose in self.choose], 1).softmax(1)
        return self.head((branches * shares[..., None, None]).sum(1))


class NonLocal(nn.Module):
    """Every position sees every other (Wang et al. 2017), and attention across channels (El-Nouby et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 2)
        self.theta, self.phi, self.g = (nn.Conv2d(16, 8, 1) for _ in range(3))
        self.back = nn.Conv2d(8, 16, 1)
        self.qkv, self.proj, self.heat = (
            nn.Linear(16, 48),
            nn.Linear(16, 16),
            nn.Parameter(torch.ones(4, 1, 1)),
        )
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, _, h, w = x.shape
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))
        seen = (theta.transpose(1, 2) @ phi).softmax(-1) @ g.transpose(1, 2)
        x = x + self.back(seen.transpose(1, 2).reshape(n, 8, h, w))
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).view(n, h * w, 3, 4, 4).permute(2, 0, 3, 4, 1)
        weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.heat).softmax(-1)
        mixed = self.proj((weights @ v).permute(0, 3, 1, 2).reshape(n, h * w, 16))
        return self.head(x + mixed.transpose(1, 2).reshape(n, 16, h, w))


class Attention(nn.Module):
    """Self-attention in the given spelling; ``kv`` heads for keys and values are shared by several of the query's."""

    def __init__(
        self, spelling: str, width: int = 32, heads: int = 4, kv: int = 2, rotary: bool = True
    ) -> None:
        super().__init__()
        self.spelling, self.heads, self.kv, self.each = spelling, heads, kv, width // heads
        self.q = nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, kv * self.each, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width)
        self.rotary = rotary
        angles = torch.outer(torch.arange(10.0), 100.0 ** -torch.arange(0, 1, 2 / self.each))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin(), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        if not self.rotary:
            return x
        first, second = x[..., : self.each // 2], x[..., self.each // 2 :]
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q = self.turned(self.q(x).view(n, t, self.heads, self.each).transpose(1, 2))
        k = self.turned(self.k(x).view(n, t, self.kv, self.each).transpose(1, 2))
        v = self.v(x).view(n, t, self.kv, self.each).transpose(1, 2)
        mask = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        if self.spelling == "fused":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self.kv < self.heads)
            return self.out(y.transpose(1, 2).flatten(2))
        times = self.heads // self.kv
        if self.spelling == "einsum":
            q = q.reshape(n, self.kv, times, t, self.each)
            scores = torch.einsum("nkhqd,nkcd->nkhqc", q, k) / math.sqrt(self.each)
            y = torch.einsum("nkhqc,nkcd->nkhqd", scores.masked_fill(~mask, -1e9).softmax(-1), v)
            return self.out(torch.einsum("nkhqd->nqkhd", y).reshape(n, t, -1))
        if self.spelling == "repeat":
            k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        else:
            k, v = (
                z[:, :, None].expand(n, self.kv, times, t, self.each).reshape(n, -1, t, self.each)
                for z in (k, v)
            )
        scores = (
            torch.bmm(q.reshape(-1, t, self.each), k.reshape(-1, t, self.each).transpose(1, 2))
            * self.each**-0.5
        )
        weights = scores.view(n, self.heads, t, t).masked_fill(~mask, float("-inf")).softmax(-1)
        y = torch.bmm(weights.view(n * self.heads, t, t), v.reshape(n * self.heads, t, self.each))
        return self.out(y.view(n, self.heads, t, self.each).permute(0, 2, 1, 3).contiguous().view(n, t, -1))


class Decoder(nn.Module):
    """Two blocks of attention and a gated network, tied embeddings."""

    def __init__(self, spelling: str, heads: int = 4, kv: int = 2, rotary: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 32)
        self.places = nn.Parameter(torch.randn(1, 10, 32) * 0.1)
        self.blocks = nn.ModuleList()
        for _ in range(2):
            block = nn.ModuleDict(
                {
                    "norm1": nn.RMSNorm(32),
                    "attention": Attention(spelling, 32, heads, kv, rotary),
                    "norm2": nn.LayerNorm(32),
                    "gate": nn.Linear(32, 48),
                    "up": nn.Linear(32, 48),
                    "down": nn.Linear(48, 32),
                }
            )
            self.blocks.append(block)
        self.score = nn.Linear(32, 40, bias=False)
        self.score.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places
        for block in self.blocks:
            x = x + block["attention"](block["norm1"](x))
            y = block["norm2"](x)
            x = x + block["down"](F.silu(block["gate"](y)) * block["up"](y))
        return self.score(x)


class TorchTransformer(nn.Module):
    """torch's own encoder and decoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 16)
        self.net = nn.Transformer(16, 4, 1, 1, 24, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.out(self.net(self.project(source), self.project(target)))


class TwoTowers(nn.Module):
    """Two inputs, one module used for both and once more, two outputs of which one is a product of features."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16))
        self.text = nn.Embedding(30, 16)
        self.wide = nn.Linear(16 + 10, 4)
        self.bilinear = nn.Bilinear(16, 16, 6)
        self.last = nn.Linear(6, 2)
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(3)))

    def forward(self, image: Tensor, other: Tensor, words: Tensor) -> dict[str, Tensor]:
        a, b, c = self.tower(image), self.tower(other), self.text(words).mean(1)
        a = a[:, self.order] + b.index_select(1, self.order)
        return {
            "similar": F.normalize(a, dim=-1) @ F.normalize(c, dim=-1).t(),
            "wide": self.wide(torch.cat([torch.relu(b * c), image], -1)),
            "deep": self.last(torch.relu(self.bilinear(a, c))),
        }


class Pyramid(nn.Module):
    """A feature pyramid with one head for all levels, boxes and scores concatenated (Lin et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2), conv_bn(12, 16, 3, 2)
        self.laterals = nn.ModuleList(nn.Conv2d(width, 10, 1) for width in (8, 12, 16))
        self.tower = nn.Sequential(nn.Conv2d(10, 10, 3, padding=1), nn.GroupNorm(5, 10), nn.ReLU())
        self.scores, self.boxes = nn.Conv2d(10, 3 * 2, 3, padding=1), nn.Conv2d(10, 4 * 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.one(x)
        two = self.two(one)
        three = self.three(two)
        maps = [lateral(m) for lateral, m in zip(self.laterals, (one, two, three), strict=True)]
        for low in (1, 0):
            maps[low] = maps[low] + F.interpolate(maps[low + 1], scale_factor=2.0)
        towers = [self.tower(m) for m in maps]
        n = x.shape[0]
        scores = [self.scores(t).permute(0, 2, 3, 1).reshape(n, -1, 3) for t in towers]
        boxes = [self.boxes(t).permute(0, 2, 3, 1).reshape(n, -1, 4) for t in towers]
        return torch.cat(scores, 1), torch.cat(boxes, 1)


class Experts(nn.Module):
    """A dense mixture of experts: one weight for all of them, mixed by a gate (Jacobs et al. 1991)."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.into = nn.Linear(8, 16)
        self.up = nn.Parameter(torch.randn(experts, 16, 24) * 0.2)
        self.down = nn.Parameter(torch.randn(experts, 24, 16) * 0.2)
        self.gate, self.out = nn.Linear(16, experts), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.into(x))
        hidden = F.gelu(torch.einsum("ni,eio->neo", x, self.up))
        made = torch.matmul(hidden.transpose(0, 1), self.down).transpose(0, 1)
        return self.out((made * self.gate(x).softmax(-1)[..., None]).sum(1))
