"""EfficientNet-Lite0 (Tan & Le 2019; the "lite" variant of tensorflow/tpu): ReLU6, no squeeze-and-excitation.

The attribute names equal those of the packaged checkpoint, so that its state dict loads strictly. Covered: the network
without its ImageNet classifier, at input sizes divisible by 32. Not covered: drop connect, because the backbone is
frozen or fine-tuned only briefly.
"""

import torch
from torch import nn

LITE0_WIDTH = 1280
# (repeats, kernel, stride, expansion, input channels, output channels): efficientnet_lite_builder.py
_LITE0_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding for even inputs: at stride 2 the odd padding is right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        symmetric = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=symmetric, groups=groups, bias=False)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self._pad = nn.ZeroPad2d((before, after, before, after)) if stride == 2 else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(self._pad(images))


class _Block(nn.Module):
    """An inverted bottleneck: expand 1×1, depthwise k×k, project 1×1; with a skip connection where shapes agree."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self._is_expanding = expansion != 1
        self._has_skip = stride == 1 and inputs == outputs
        if self._is_expanding:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self._activation = nn.ReLU6()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs
        if self._is_expanding:
            x = self._activation(self._bn0(self._expand_conv(x)))
        x = self._activation(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        result: torch.Tensor = x + inputs if self._has_skip else x
        return result


def _blocks() -> list[_Block]:
    blocks = []
    for repeats, kernel, stride, expansion, inputs, outputs in _LITE0_STAGES:
        blocks.append(_Block(kernel, stride, expansion, inputs, outputs))
        blocks += [_Block(kernel, 1, expansion, outputs, outputs) for _ in range(repeats - 1)]
    return blocks


class EfficientNetLite0(nn.Module):
    """The network without its classifier: (N, 3, 224, 224) normalised float -> pooled features (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(_blocks())
        self._conv_head = nn.Conv2d(320, LITE0_WIDTH, 1, bias=False)
        self._bn1 = _norm(LITE0_WIDTH)
        self._activation = nn.ReLU6()
        self._pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self._activation(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        x = self._activation(self._bn1(self._conv_head(x)))
        features: torch.Tensor = self._pool(x).flatten(1)  # (N, 1280)
        return features
