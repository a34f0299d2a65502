"""Runs a training script as AWS's training toolkit does in the images whose entry point a job does not replace.

It brings the archive `sagemaker_submit_directory` from S3 to /opt/ml/code, installs its requirements.txt, and runs
`sagemaker_program` there with the hyperparameters as arguments. Several hosts run it each for itself, unless the job
asks for torchrun. A failure is told in /opt/ml/output/failure in the toolkit's form. Source: sagemaker-training 5.1.4,
`trainer.py`, `entry_point.py` and `process.py`. Imports boto3, when there is something to bring.
"""

import builtins
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from localaws.programs.script_environment import TORCHRUN, Script, ScriptError

OTHER_DISTRIBUTIONS = (
    *("mpi", "parameter_server", "distributed_dataparallel", "pytorch_ddp", "pytorch_xla_multi_worker"),
    "multi_worker_mirrored_strategy",
)
ERRORS = tuple(name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, Exception))


def main(arguments: Sequence[str]) -> int:
    """Run the script of the job whose /opt/ml is the config's `base`; return the exit status, 1 for any failure."""
    base = Path(json.loads(arguments[0])["base"])
    output = base / "output"
    try:
        _run(Script.read(base))
    except ScriptError as error:
        return _fail(output, str(error))
    except Exception as error:  # noqa: BLE001 as the toolkit does, whatever it is
        return _fail(output, f"Framework Error: \n{type(error).__name__}: {error}")
    (output / "success").touch()
    return 0


def _fail(output: Path, message: str) -> int:
    print(f"Reporting training FAILURE\n{message}", flush=True)
    failure = output / "failure"
    if not failure.exists():  # the script's own counts
        failure.write_text(message)
    return 1


def _run(script: Script) -> None:
    for name in OTHER_DISTRIBUTIONS:
        if script.framework.get(f"sagemaker_{name}_enabled"):
            raise ScriptError(f"localaws does not support sagemaker_{name}_enabled, only sagemaker_{TORCHRUN}_enabled")
    _bring(script.source, script.code)
    program = script.entry_point()
    _install(program, script.code)
    os.environ.update({**script.process_variables(), **script.variables()})
    command = _command(program, script)
    print(f"Invoking script with the following command:\n\n{' '.join(command)}\n", flush=True)
    _call(command, script.code, "ExecuteUserScriptError")


def _bring(source: str, code: Path) -> None:
    """Fill the folder of the code, unless something is in it, from an archive in S3 or here, or a folder here."""
    code.mkdir(exist_ok=True)
    if any(code.iterdir()) or source == str(code):
        return
    if Path(source).is_dir():
        shutil.copytree(source, code, dirs_exist_ok=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(source)
        if source.startswith("s3://"):
            import boto3

            archive = Path(folder) / "tar_file"
            bucket, _, key = source.removeprefix("s3://").partition("/")
            boto3.client("s3").download_file(bucket, key, str(archive))
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(code, filter="data")


def _install(program: str, code: Path) -> None:
    if program.endswith(".sh"):
        return
    if (code / "setup.py").exists():
        raise ScriptError("localaws does not install packages: the source directory has a setup.py.")
    if program.endswith(".py") and (code / "requirements.txt").exists():
        install = [sys.executable, "-P", "-m", "pip", "install", "-r", "requirements.txt"]
        _call(install, code, "InstallRequirementsError")


def _command(program: str, script: Script) -> list[str]:
    arguments = script.arguments()
    if not program.endswith(".py"):
        if script.uses_torchrun:
            raise ScriptError("Unsupported entry point type for torch_distributed")
        (script.code / program).chmod(0o777)
        return ["/bin/sh", "-c", f"./{shlex.quote(program)} {shlex.join(arguments)}"]
    if not script.uses_torchrun:
        return [sys.executable, "--", program, *arguments]
    hosts, gpus = script.hosts, int(script.variables()["SM_NUM_GPUS"])
    rank = hosts.index(script.resources["current_host"])
    others = ["--master_addr", hosts[0], "--master_port", "7777", "--node_rank", str(rank)] if len(hosts) > 1 else []
    return ["torchrun", "--nnodes", str(len(hosts)), "--nproc_per_node", str(gpus or 1), *others, program, *arguments]


def _call(command: Sequence[str], folder: Path, failure: str) -> None:
    """Run a command and pass its lines on.

    Raises:
        ScriptError: it failed; the message is the toolkit's, with the output from the first line that names an error.
    """
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    found: tuple[list[str], list[str]] = ([], [])
    streams = zip((process.stdout, process.stderr), found, strict=True)
    threads = [threading.Thread(target=_pass_on, args=each, daemon=True) for each in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = process.wait()
    if status:
        told = "\n".join(dict.fromkeys(line for lines in found for line in lines))
        raise ScriptError(f'{failure}:\nExitCode {status}\nErrorMessage "{told}"\nCommand "{" ".join(command)}"')


def _pass_on(stream: IO[bytes], found: list[str]) -> None:
    for raw in stream:
        line = raw.decode(errors="replace").rstrip("\n")
        print(line, flush=True)
        if found or any(name in line for name in ERRORS):
            found.append(line.strip(" :"))
