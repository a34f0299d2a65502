"""Define the network: a backbone chosen by name, the reference head, and the classifier that joins them.

The network takes images as (N, H, W, 3) uint8. Normalisation is part of it, so every engine and the served graph
normalise in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from training.failures import TrainingFailure
from training.lite import LITE_SIZES, LITE_WIDTH, EfficientNetLite
from training.preprocess import Preprocessing

HEAD_WIDTH = 128
_LITE_MEAN, _LITE_DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3  # tensorflow/tpu efficientnet_lite: (x - 127) / 128
_LITE_MARGIN = 32  # of its CROP_PADDING: a crop of 224 is cut from 256


@dataclass(frozen=True)
class Backbone:
    """A feature extractor without its classifier: (N, 3, H, W) normalised float -> (N, width)."""

    name: str
    width: int
    preprocessing: Preprocessing
    network: nn.Module
    classifier_prefix: str  # of the keys that a published state dict has for the removed classifier


def build_backbone(name: str, preprocessing: Preprocessing | None = None) -> Backbone:
    """Build a backbone with random weights: an EfficientNet-Lite or any classification network of torchvision.

    `preprocessing` is that of the weights which will be loaded; None is the usual one of the network.

    Raises:
        TrainingFailure: there is no network of this name.
    """
    if name in LITE_SIZES:
        return _lite(name)
    from torchvision import models  # imported here because the import takes 4 s

    if name not in models.list_models(module=models):
        raise TrainingFailure(
            f"--backbone {name!r} is neither {' nor '.join(LITE_SIZES)} nor a classification model of torchvision"
        )
    used = preprocessing or Preprocessing()
    network: nn.Module = models.get_model(name, weights=None, **fixed_side(name, used.crop))
    prefix, width = _remove_classifier(network)
    return Backbone(name, width, used, network, prefix)


def fixed_side(name: str, side: int) -> dict[str, int]:
    """Return the argument of torchvision's vision transformers, which are built for pictures of one side in pixels."""
    return {"image_size": side} if name.startswith("vit_") else {}


def _lite(name: str) -> Backbone:
    size = LITE_SIZES[name]
    preprocessing = Preprocessing(size.side + _LITE_MARGIN, size.side, "bicubic", _LITE_MEAN, _LITE_DEVIATION)
    return Backbone(name, LITE_WIDTH, preprocessing, EfficientNetLite(size), "_fc.")


def _remove_classifier(network: nn.Module) -> tuple[str, int]:
    """Replace the last linear layer by the identity; return the prefix of its keys and its input width.

    A SqueezeNet has none: its classifier is a convolution, whose outputs are averaged.
    """
    modules = dict(network.named_modules())
    linear = [path for path, module in modules.items() if isinstance(module, nn.Linear)]
    path = (linear or [path for path, module in modules.items() if isinstance(module, nn.Conv2d)])[-1]
    last = modules[path]
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return f"{path}.", last.weight.shape[1]


@dataclass(frozen=True)
class Standardisation:
    """The mean that is subtracted from each feature and the scale that divides it, each (width,) float64.

    The scale is the square root of the feature's own variance plus the average variance, so that a feature that hardly
    varies in a few training pictures is not amplified. On 23 validation photos (5 seeds) the loss was 0.142; with the
    plain standard deviation it was 0.182.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def of(features: torch.Tensor) -> "Standardisation":
        """Compute mean and scale from features, (N, width)."""
        variance, mean = torch.var_mean(features.double(), 0, correction=0)
        return Standardisation(mean, (variance + variance.mean()).clamp_min(1e-12).sqrt())

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise features: (N, width) -> (N, width) float64 of mean 0 and standard deviation below 1."""
        return (features.double() - self.mean) / self.scale


class Head(nn.Module):
    """The reference head on standardised features: width -> 128 -> ReLU -> classes, or of another hidden width."""

    def __init__(self, width: int, classes: int, hidden: int = HEAD_WIDTH) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (N, classes); `mask` (N, hidden) multiplies the hidden layer and is the dropout of heads.py."""
        hidden = torch.relu(self.hidden(features))  # (N, hidden)
        logits: torch.Tensor = self.output(hidden if mask is None else hidden * mask)
        return logits

    def folded(self, standardisation: Standardisation) -> nn.Sequential:
        """Fold the standardisation into the weights; return Linear -> ReLU -> Linear in float32, on raw features."""
        hidden = nn.Linear(self.hidden.in_features, self.hidden.out_features)
        output = nn.Linear(self.output.in_features, self.output.out_features)
        with torch.no_grad():
            weight = self.hidden.weight.double() / standardisation.scale
            hidden.weight.copy_(weight)
            hidden.bias.copy_(self.hidden.bias - weight @ standardisation.mean)
            output.weight.copy_(self.output.weight)
            output.bias.copy_(self.output.bias)
        return nn.Sequential(hidden, nn.ReLU(), output)


class Normalise(nn.Module):
    """Normalises by the backbone's mean and deviation: (N, H, W, 3) uint8 -> (N, 3, H, W) float, channels_last."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, deviation = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.deviation)
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift


class Embedder(nn.Module):
    """The normalisation and the backbone: (N, H, W, 3) uint8 -> features (N, width)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.normalise = Normalise(backbone.preprocessing)
        self.backbone = backbone.network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.backbone(self.normalise(images))
        return features


class Classifier(nn.Module):
    """The embedder and a head: (N, H, W, 3) uint8 -> logits (N, classes).

    Batch-norm statistics stay frozen, also while the weights are fine-tuned.
    """

    def __init__(self, embedder: Embedder, head: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder
        self.head = head

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        self.embedder.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embedder(images))
        return logits


class Served(nn.Module):
    """The network that is exported for serving: (N, H, W, 3) uint8 -> probabilities (N, classes)."""

    def __init__(self, classifier: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.classifier(images), dim=1)
