"""Tests the optimizer against torch's own, and that using it does not import torch.compile."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from training.adamw import AdamW

RATE, DECAY, STEPS = 0.01, 0.05, 20


def trained(model: nn.Linear, zero: Callable[[], None], step: Callable[[], None], steps: int = STEPS) -> nn.Linear:
    rows = torch.arange(12.0).reshape(4, 3).to(model.weight.dtype)
    for _ in range(steps):
        zero()
        model(rows).square().sum().backward()
        step()
    return model


def layer(dtype: torch.dtype = torch.float64) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weights_are_those_of_torchs_adamw(dtype: torch.dtype) -> None:
    ours, theirs = layer(dtype), layer(dtype)
    own = AdamW(ours.parameters(), learning_rate=RATE, weight_decay=DECAY)
    reference = torch.optim.AdamW(theirs.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    trained(ours, own.zero_grad, own.step)
    trained(theirs, reference.zero_grad, lambda: reference.step())
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    assert not torch.equal(ours.weight, layer(dtype).weight)


def test_a_restored_state_goes_on_to_the_same_weights() -> None:
    whole, half = layer(), layer()
    optimizer = AdamW(whole.parameters(), learning_rate=RATE, weight_decay=DECAY)
    trained(whole, optimizer.zero_grad, optimizer.step)
    first = AdamW(half.parameters(), learning_rate=RATE, weight_decay=DECAY)
    trained(half, first.zero_grad, first.step, STEPS // 2)
    second = AdamW(half.parameters(), learning_rate=RATE, weight_decay=DECAY)
    second.restore(first.state)
    trained(half, second.zero_grad, second.step, STEPS - STEPS // 2)
    assert torch.equal(whole.weight, half.weight)


def test_a_parameter_without_a_gradient_stays_as_it_is() -> None:
    model, unused = layer(), nn.Parameter(torch.ones(2))
    optimizer = AdamW([unused, *model.parameters()], learning_rate=RATE, weight_decay=DECAY)
    trained(model, optimizer.zero_grad, optimizer.step)
    assert torch.equal(unused, torch.ones(2)) and not torch.equal(model.weight, layer().weight)


PROGRAM = """
import sys, torch
from training.adamw import AdamW
weight = torch.nn.Parameter(torch.ones(3))
optimizer = AdamW([weight], learning_rate=0.1, weight_decay=0.0)
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.restore(optimizer.state)
assert float(weight[0]) < 1
print("torch._dynamo" in sys.modules)
"""


def test_a_step_does_not_import_torch_compile() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr
