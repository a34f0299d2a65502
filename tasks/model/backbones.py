"""List the backbones that training/ can build, so that a misspelt name is refused before any upload or job."""

from __future__ import annotations

import difflib

from tasks.run.errors import SettingsRefused

PACKAGED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""The backbones whose ImageNet weights are part of an installed package."""

_NAMES = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b
swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
TORCHVISION = tuple(_NAMES.split())
"""Importing torchvision takes 4 s, so this is a copy of its list; a test compares the two."""


def require_backbone(name: str) -> None:
    """Refuse a backbone that training/ cannot build.

    Raises:
        SettingsRefused: the name is not known; the message suggests the closest names.
    """
    known = (*PACKAGED, *TORCHVISION)
    if name.startswith("timm/"):
        raise _refused_timm(name, known)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or [PACKAGED[0], "resnet50"]
        why = f"it is neither {', '.join(PACKAGED)} nor a classification network of torchvision"
        raise SettingsRefused("backbone", f"--backbone {name}", why, _named(close))


def _refused_timm(name: str, known: tuple[str, ...]) -> SettingsRefused:
    close = difflib.get_close_matches(name.removeprefix("timm/").partition(".")[0], known, n=3) or ["resnet50"]
    why = "kennel has no network of timm, whose code its training jobs would need"
    return SettingsRefused("backbone", f"--backbone {name}", why, _named(close))


def _named(names: list[str]) -> str:
    return f"--backbone {' or '.join(names)}"
