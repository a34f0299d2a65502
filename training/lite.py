"""EfficientNet-Lite0 to 2 (Tan & Le 2019; the "lite" variant of tensorflow/tpu): ReLU6, no squeeze-and-excitation.

The attribute names equal those of the packaged checkpoints, so that their state dicts load strictly. Covered: the
networks without their ImageNet classifier, each at its own input size. Not covered: drop connect, because the backbone
is frozen or fine-tuned only briefly, and Lite3 and Lite4, whose weights no package has.
"""

from dataclasses import dataclass

import torch
from torch import nn

LITE_WIDTH = 1280
_STEM_CHANNELS = 32
_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))  # kernel, stride, expansion


@dataclass(frozen=True)
class LiteSize:
    """What differs between the sizes: the side of the input in pixels, and each stage's blocks and channels."""

    side: int
    repeats: tuple[int, ...]
    channels: tuple[int, ...]


# efficientnet_lite_builder.py: width and depth 1.0 and 1.0, 1.0 and 1.1, 1.1 and 1.2; first and last stage keep 1 block
LITE_SIZES = {
    "efficientnet_lite0": LiteSize(224, (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite1": LiteSize(240, (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite2": LiteSize(260, (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
}


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding for inputs of one side: the odd padding is right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, side: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel - 1 if stride == 1 or side % 2 else kernel - 2
        before, after = padding // 2, padding - padding // 2
        symmetric = before if before == after else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=symmetric, groups=groups, bias=False)
        self._pad = nn.Identity() if before == after else nn.ZeroPad2d((before, after, before, after))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(self._pad(images))


class _Block(nn.Module):
    """An inverted bottleneck: expand 1×1, depthwise k×k, project 1×1; with a skip connection where shapes agree."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self._is_expanding = expansion != 1
        self._has_skip = stride == 1 and inputs == outputs
        if self._is_expanding:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _SameConv(inner, inner, kernel, side, stride=stride, groups=inner)
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


def _blocks(size: LiteSize) -> list[_Block]:
    blocks, inputs, side = [], _STEM_CHANNELS, _halved(size.side)
    for (kernel, stride, expansion), repeats, outputs in zip(_STAGES, size.repeats, size.channels, strict=True):
        blocks.append(_Block(kernel, stride, expansion, inputs, outputs, side))
        side = side if stride == 1 else _halved(side)
        blocks += [_Block(kernel, 1, expansion, outputs, outputs, side) for _ in range(repeats - 1)]
        inputs = outputs
    return blocks


def _halved(side: int) -> int:
    return (side + 1) // 2


class EfficientNetLite(nn.Module):
    """The network without its classifier: (N, 3, side, side) normalised float -> pooled features (N, 1280)."""

    def __init__(self, size: LiteSize) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, _STEM_CHANNELS, 3, size.side, stride=2)
        self._bn0 = _norm(_STEM_CHANNELS)
        self._blocks = nn.ModuleList(_blocks(size))
        self._conv_head = nn.Conv2d(size.channels[-1], LITE_WIDTH, 1, bias=False)
        self._bn1 = _norm(LITE_WIDTH)
        self._activation = nn.ReLU6()
        self._pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self._activation(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        x = self._activation(self._bn1(self._conv_head(x)))
        features: torch.Tensor = self._pool(x).flatten(1)  # (N, 1280)
        return features
