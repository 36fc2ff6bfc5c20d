"""The networks of the papers' tables, as plain torch modules with their layer names. All give 10 logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LeNet300100(nn.Module):
    """784-300-100-10, fully connected (LeCun et al. 1998): 266,610 parameters."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 28, 28) or (n, 784) -> (n, 10)."""
        hidden = self.dropout(F.relu(self.fc1(images.flatten(1))))
        hidden = self.dropout(F.relu(self.fc2(hidden)))
        return self.fc3(hidden)  # type: ignore[no-any-return]


class LeNet5(nn.Module):
    """Caffe's LeNet-5, the one of Deep Compression: 5x5 filters, 20-50-500-10: 431,080 parameters."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 28, 28) -> (n, 10). As in Caffe, pooling alone follows the convolutions."""
        features = F.max_pool2d(self.conv1(images), 2)
        features = F.max_pool2d(self.conv2(features), 2)
        hidden = F.relu(self.fc1(self.dropout(features.flatten(1))))
        return self.fc2(self.dropout(hidden))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut, 1x1 where shapes change (He et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride), rounded up."""
        inner = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(features))


class ResidualCNN(nn.Module):
    """A stem, then ``stages`` times ``blocks`` blocks; each stage doubles width and halves size."""

    def __init__(self, width: int = 16, stages: int = 3, blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        channels = width
        for stage in range(stages):
            for block in range(blocks):
                outputs = width * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(channels, outputs, stride))
                channels = outputs
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 28, 28) -> (n, 10)."""
        features = self.blocks(F.relu(self.bn(self.stem(images))))
        pooled = F.adaptive_avg_pool2d(features, 1)
        return self.fc(pooled.flatten(1))  # type: ignore[no-any-return]


def lenet_300_100(dropout: float = 0.0) -> LeNet300100:
    """LeNet-300-100 with fresh weights from torch's global generator."""
    return LeNet300100(dropout)


def lenet_5(dropout: float = 0.0) -> LeNet5:
    """Caffe's LeNet-5 with fresh weights from torch's global generator."""
    return LeNet5(dropout)


def residual_cnn(width: int = 16, stages: int = 3, blocks: int = 1) -> ResidualCNN:
    """A small residual network with batch norm, with fresh weights from torch's global generator."""
    return ResidualCNN(width, stages, blocks)
