"""The line filter, with real lines of a training and of Locust."""

import pytest

from tasks.run.line_filter import LineFilter
from tasks.run.progress import Step

EPOCHS = [
    f"algo-1 | epoch={number} train_loss=0.1 validation_loss=0.2 validation_accuracy={accuracy} validation_images=255"
    for number, accuracy in enumerate(("0.8863", "0.9294", "0.9176"), 1)
]


@pytest.mark.parametrize(
    "line",
    [
        "algo-1 | [W1128 05:04:37.503145153 socket.cpp:207] [c10d] The hostname of the client cannot be retrieved",
        "algo-1 | ++ echo 'Training Container Execution Completed'",
        "algo-1 | Training Container Execution Completed",
        "algo-2 | (94 lines of set-up are in `kennel logs`)",
        "algo-1 | Executing command: torchrun --nnodes=2 training/train.py",
        "algo-1 | host=algo-1 rank=0 split=train shards=4 images=645 names=shard-00000.tar,shard-00002.tar",
        "algo-2 | host=algo-2 rank=1 engine=openvino-cpu-bf16 error=0.0763 tolerance=0.15 images=4",
        'algo-1 | host=algo-1 rank=0 done in 14.3 s: {"prepare": 1.024}',
        "instance-1 | instance: 26 inputs are here, and their sha256 is correct",
    ],
)
def test_noise_is_not_told(line: str) -> None:
    assert LineFilter().shown(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "deploy: done",
        "algo-2 | host=algo-2 rank=1 WARNING: the checkpoint c could not be written; training continues without it: x",
        "algo-2 | FAILED: the loss is not a number",
        "algo-1 | Traceback (most recent call last):",
        "instance-1 | instance: INTERRUPTED: EC2 takes this instance back",
    ],
)
def test_alarms_and_what_is_unknown_are_told_as_they_are(line: str) -> None:
    assert LineFilter().shown(line) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "epoch=1 x validation_accuracy=1.2.3 validation_images=3",
        f"epoch={'9' * 5000} x validation_accuracy=0.5 validation_images=3",
        f"epoch=1 x validation_accuracy={'9' * 5000} validation_images=3",
        "epoch=1 x validation_accuracy=0.5 validation_images=\u0663",
        "epoch=\u0661 x validation_accuracy=0.5 validation_images=3",
        f"host=algo-1 rank=0 split=train embedded={'9' * 5000}/2 views, 9 a second",
        "test_accuracy=.. test_loss=1 test_images=3",
    ],
)
def test_a_line_whose_number_is_none_is_an_ordinary_line(line: str) -> None:
    assert LineFilter().shown(f"algo-1 | {line}") == [f"algo-1 | {line}"]
    load = line.replace("epoch=", "load test x: ")
    assert LineFilter().shown(load) == [load]


def test_of_the_epochs_the_first_and_the_best_are_told_and_the_others_are_steps() -> None:
    lines = LineFilter()
    assert lines.shown(EPOCHS[0]) == ["algo-1: epoch 1, accuracy 0.886 on 255 validation images"]
    steps = [step for line in EPOCHS[1:] for step in lines.shown(line)]
    assert all(isinstance(step, Step) for step in steps)
    assert lines.shown("algo-1 | test_accuracy=0.9683 test_loss=0.117565 test_images=252") == [
        "algo-1: epoch 3 was the last; best accuracy 0.929, epoch 2",
        "algo-1: test accuracy 0.9683 on 252 images",
    ]


def test_a_load_test_s_lines_are_one_step_that_moves_on() -> None:
    line = "load test kennel-dogs-classify:live: 12 of about 39 s, 484 answered, 0 failed, median of the answered 44 ms"
    (step,) = LineFilter().shown(line)
    assert isinstance(step, Step)
    assert (step.label, step.amount) == ("load test", "12 of 39 s")
    assert step.note == "484 answered, 0 failed, median of the answered 44 ms"


def test_how_far_the_first_rank_has_embedded_is_a_step() -> None:
    line = "algo-1 | host=algo-1 rank=0 split=train embedded=902/1935 views, 179 a second"
    (step,) = LineFilter().shown(line)
    assert isinstance(step, Step)
    assert step.text == "algo-1 embeds the train images: 902 of 1,935 views, 179 a second"
