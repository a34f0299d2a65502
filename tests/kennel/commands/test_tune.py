"""`kennel tune` for real: one job searches, nothing is deployed, commands go on with the winner; and a kill -9."""

import inspect
import shlex
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kennel.cli import app
from kennel.commands.pipeline_options import PipelineOptions
from kennel.commands.run_line import run_line
from tasks.model.search import with_trials, without_search
from tasks.run import naming
from tasks.run.ledger_contents import read_ledger
from tasks.run.options import DataOptions, Network, TrainingOptions
from tests.command_lines import command_line
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls
from tests.kennel.interface import differences
from tests.kennel.shell import Finished, Terminal
from tests.kennel.signalled import started
from tests.polling import wait_until
from training.config import LIMITS, parse_config
from training.failures import TrainingFailure
from training.search_space import HEAD_SPACE, parse_space

RUN = "tuned"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1", "--trials", "12")
ADOPTED = "adopted the job of an earlier command; it is InProgress"
TRIAL = "head_trial"


def parsed(line: str) -> dict[str, Any]:
    """Return what the real command line hands to `kennel run`."""
    _, *words = shlex.split(line)
    function, bound, *_ = app.parse_args(words, print_error=False, exit_on_error=False)
    assert function.__name__ == "run"
    return {name: each.default for name, each in inspect.signature(function).parameters.items()} | bound.arguments


def training_of(line: str) -> TrainingOptions:
    given = parsed(line)
    return TrainingOptions.of(given["model"], given["machines"])


def test_the_command_that_is_printed_has_every_option_that_is_not_the_default() -> None:
    winner = {"learning_rate": 1.2345678901234567e-05, "batch_size": 256.0, "dropout": 0.0, "label_smoothing": 0.1}
    given = TrainingOptions(backbone="resnet50", weights="/a b/w.safetensors", spot=True, instances=2, trials=5, seed=7)
    training = without_search(given, winner)
    assert training is not None
    network = Network(subnets=("subnet-0123abcd", "subnet-4567cdef"), security_groups=("sg-0123abcd",))
    data = DataOptions(split="60/20/20", split_seed=4, keep_duplicates=True)
    chosen = PipelineOptions(training, network=network, kms_key="alias/k", run_id="mine", data_options=data)
    line = run_line(chosen, "a b/photos.zip")
    read = parsed(line)
    assert (training_of(line), read["data_options"]) == (training, data)
    assert (training.trials, training.learning_rate, training.batch_size) == (None, 1.2345678901234567e-05, 256)
    assert (read["network"], read["kms_key"], read["run_id"], read["data"]) == (
        network,
        "alias/k",
        "mine",
        "a b/photos.zip",
    )


def test_a_search_alone_has_the_run_of_the_whole_way_with_as_many_trials() -> None:
    training = with_trials(TrainingOptions(backbone="resnet50"))
    assert training == training_of("kennel run --backbone resnet50 --trials 20")
    assert with_trials(TrainingOptions(trials=3)).trials == 3


def test_a_url_with_a_secret_is_read_from_standard_input_instead_of_shown() -> None:
    line = run_line(PipelineOptions(TrainingOptions()), "https://me:s3cret@example.org/a.zip")
    assert "s3cret" not in line and parsed(line)["data"] == "-"


def test_a_value_that_no_option_takes_gives_no_command() -> None:
    assert without_search(TrainingOptions(), {"learning_rate": 50.0}) is None


def test_every_hyperparameter_that_a_search_may_vary_is_an_option_of_kennel_run() -> None:
    searched = [name for name, limits in LIMITS.items() if is_searchable(name, limits.high)]
    assert set(HEAD_SPACE) < set(searched)
    for name in searched:
        training = without_search(TrainingOptions(trials=3), {name: 1.0 if LIMITS[name].kind is int else 0.5})
        assert training is not None
        folders = [f"--{folder}=x" for folder in ("train", "validation", "manifest", "model-dir")]
        given = [f"--{flag}={value}" for flag, value in training.hyperparameters.arguments.items()]
        trained = parse_config([*given, *folders]).hyperparameters
        assert getattr(trained, name) == getattr(training, name) and trained.trials == 0
        assert naming.training_run_id("a", training) != naming.training_run_id("a", TrainingOptions())


def is_searchable(name: str, high: float) -> bool:
    try:
        parse_space(f'{{"{name}": {{"choices": [{int(high)}]}}}}')
    except TrainingFailure as error:
        return "cannot be searched" not in str(error)
    return True


@pytest.fixture(scope="module")
def tuned(terminal: Terminal, photos: Path) -> Finished:
    return terminal.kennel("tune", "--data", str(photos), "--run-id", RUN, *QUICK, "--json")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_job_searches_and_nothing_is_deployed(tuned: Finished, terminal: Terminal) -> None:
    assert tuned.code == 0, tuned.err
    assert differences("tune", tuned.answer) == []
    search = tuned.answer["search"]
    assert (search["trials"], search["cost"]["jobs"]) == (12, 12)
    assert search["cost"]["jobs_usd"] > search["cost"]["usd"] > 0
    assert Path(search["picture"]).stat().st_size > 20_000
    rows = read_ledger(terminal.runs / RUN)[1]
    kinds = {row.kind for row in rows}
    assert kinds.isdisjoint({"endpoint", "endpoint-config", "model", "function", "instance"})
    assert [row.kind for row in rows].count("training-job") == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_commands_that_it_ends_with_adopt_the_job_and_train_the_winner(tuned: Finished) -> None:
    commands, search = tuned.answer["commands"], tuned.answer["search"]
    adopt, retrain = training_of(commands["adopt"]), training_of(commands["retrain"])
    assert (parsed(commands["adopt"])["run_id"], adopt.trials, retrain.trials) == (RUN, 12, None)
    assert {name: getattr(retrain, name) for name in search["parameters"]} == search["parameters"]
    assert (retrain.epochs, retrain.views, retrain.seed) == (3, 1, 0)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_same_command_again_changes_nothing_and_shows_the_trials(
    tuned: Finished, terminal: Terminal, calls: Calls, photos: Path
) -> None:
    calls.seen.clear()
    again = terminal.kennel("tune", "--data", str(photos), "--run-id", RUN, *QUICK)
    assert again.code == 0, again.err
    assert calls.mutating() == [] and calls.seen
    assert "trial 0" in again.out and "winner" in again.out and "search cost" in again.out
    assert tuned.answer["commands"]["retrain"].partition(" run ")[2] in again.out


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_search_whose_command_is_killed_goes_on_and_the_same_command_adopts_it(
    terminal: Terminal, photos: Path, own_localaws: RunningLocalAws
) -> None:
    run_id, sagemaker = "killed", own_localaws.client("sagemaker")
    command = ("tune", "--data", str(photos), "--run-id", run_id, *QUICK[:-1], "150")
    log = terminal.runs / run_id / "kennel.log"
    with started(terminal, "-m", "kennel", *command) as process:
        wait_until(lambda: process.poll() is not None or "trial=0 " in text_of(log), "the search", seconds=200)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.wait(60)
    again = run_again(terminal, command, own_localaws, "training/train.py")
    (job,) = jobs_of(sagemaker, run_id)
    assert again.code == 0, again.err
    assert f"{job['TrainingJobName']}: adopted the job of an earlier command; it is InProgress" in again.err
    assert again.answer["training_job"] == job["TrainingJobName"]
    assert again.answer["search"]["trials"] == 150
    assert [row.state for row in read_ledger(terminal.runs / run_id)[1]].count("intended") == 0


def run_again(terminal: Terminal, command: tuple[str, ...], localaws: RunningLocalAws, script: str) -> Finished:
    """Run a command whose job is held until the command has adopted it, so that the job cannot end before."""
    log = terminal.runs / command[command.index("--run-id") + 1] / "kennel.log"
    held = programs_of(localaws, script)
    assert held, "the job had ended: the test would prove nothing"
    for program in held:
        with suppress(psutil.NoSuchProcess):
            program.suspend()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(terminal.kennel, *command, "--json")
        try:
            wait_until(lambda: again.done() or ADOPTED in text_of(log), "the adoption", seconds=200)
        finally:
            for program in held:
                with suppress(psutil.NoSuchProcess):
                    program.resume()
        return again.result()


def programs_of(localaws: RunningLocalAws, script: str) -> list[psutil.Process]:
    """Return the programs that localaws started and that have a script in their command line."""
    children = psutil.Process(localaws.pid).children(recursive=True)
    return [child for child in children if script in command_line(child)]


def text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def jobs_of(sagemaker: Any, run_id: str) -> list[dict[str, Any]]:
    found = sagemaker.list_training_jobs(NameContains=f"kennel-{run_id}-")["TrainingJobSummaries"]
    return [dict(each) for each in found]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_search_by_sagemakers_tuner_is_adopted_after_a_kill_and_removed_with_its_trials(
    terminal: Terminal, photos: Path, own_localaws: RunningLocalAws
) -> None:
    run_id, sagemaker = "tuner", own_localaws.client("sagemaker")
    options = (*QUICK[:-1], "4", "--search", "sagemaker", "--parallel-trials", "1")
    command = ("tune", "--data", str(photos), "--run-id", run_id, *options)
    with started(terminal, "-m", "kennel", *command) as process:
        wait_until(lambda: process.poll() is not None or programs_of(own_localaws, TRIAL), "a trial", seconds=200)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.wait(60)
    again = run_again(terminal, command, own_localaws, TRIAL)
    (name,) = tuning_jobs_of(sagemaker)
    assert again.code == 0, again.err
    assert f"tuning job {name}: adopted the job of an earlier command; it is InProgress" in again.err
    assert differences("tune", again.answer) == []
    search = again.answer["search"]
    assert (search["trials"], search["cost"]["by_tuner"], search["cost"]["jobs"]) == (4, True, 5)
    assert "search" not in again.answer["commands"]["retrain"]
    assert tuning_jobs_of(sagemaker) == [name]
    assert len(trials_of(sagemaker, name)) == 4
    planned = terminal.kennel("plan", *command[1:], "--no-loadtest", "--json").answer["resources"]
    actions = {each["kind"]: each["action"] for each in planned if "train" in each["stage"]}
    kinds = ("s3-prefix", "role", "training-job", "tuning-job", "model-package-group", "model-package")
    assert actions == dict.fromkeys(kinds, "adopt")
    removed = terminal.kennel("down", run_id, "--yes")
    assert removed.code == 0, removed.err
    assert tuning_jobs_of(sagemaker) == []


def tuning_jobs_of(sagemaker: Any) -> list[str]:
    found = sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    return [each["HyperParameterTuningJobName"] for each in found]


def trials_of(sagemaker: Any, name: str) -> list[str]:
    found = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return [each["TrainingJobName"] for each in found["TrainingJobSummaries"]]
