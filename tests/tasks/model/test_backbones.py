"""Tests of the backbones' names: a misspelt one is refused before anything is created."""

import pytest

from tasks.model.backbones import TORCHVISION, require_backbone
from tasks.run.errors import SettingsRefused


def test_the_list_is_torchvisions() -> None:
    from torchvision import models

    assert sorted(models.list_models(module=models)) == sorted(TORCHVISION)


def test_a_misspelt_backbone_is_refused_with_the_closest_names() -> None:
    with pytest.raises(SettingsRefused, match="resnet500") as caught:
        require_backbone("resnet500")
    assert "resnet50" in caught.value.next_command


def test_a_network_of_timm_is_refused_by_name_with_one_of_torchvision() -> None:
    with pytest.raises(SettingsRefused, match=r"timm/resnet50\.a1_in1k") as caught:
        require_backbone("timm/resnet50.a1_in1k")
    assert "timm, whose code" in caught.value.why and "--backbone resnet50" in caught.value.next_command


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2", "resnet50"])
def test_known_backbones_pass(name: str) -> None:
    require_backbone(name)
