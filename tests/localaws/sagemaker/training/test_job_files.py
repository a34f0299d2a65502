"""What a job leaves in /opt/ml never leads the server to files elsewhere, nor holds it up."""

from pathlib import Path, PurePath

import pytest

from localaws.sagemaker.jobs.job_files import JobFolder
from tests.localaws.sagemaker.training.training_rooms import Room, names_in


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of the user's, with a file."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "key").write_text("the user's secret")
    return folder


@pytest.mark.parametrize("target", ["key", "/dev/zero", "pipe"])
def test_a_failure_file_that_is_none_is_not_read(room: Room, secret: Path, target: str) -> None:
    made = "os.mkfifo(path)" if target == "pipe" else f"os.symlink({str(secret / target)!r}, path)"
    described = room.run(
        f"import os, sys; os.makedirs('/opt/ml/output', exist_ok=True); path = '/opt/ml/output/failure'; {made}; "
        "sys.exit('it went wrong')"
    )
    assert described["FailureReason"].startswith("AlgorithmError: ")
    assert described["FailureReason"].endswith("it went wrong, exit code: 1"), "the end of the log"


@pytest.mark.parametrize("folder", ["model", "output"])
def test_a_link_in_place_of_a_folder_is_not_uploaded(room: Room, secret: Path, folder: str) -> None:
    script = f"import os, shutil; path = '/opt/ml/{folder}'; shutil.rmtree(path); os.symlink({str(secret)!r}, path)"
    described = room.run(script)
    assert described["FailureReason"].startswith("ClientError: Data upload failed: ")
    keys = room.client("s3").list_objects_v2(Bucket=room.bucket, Prefix=f"out/{described['TrainingJobName']}/")
    assert keys["KeyCount"] == 0


def test_links_are_archived_as_links_and_uploaded_as_files_of_the_job_only(room: Room, secret: Path) -> None:
    script = f"""
        import os, pathlib
        pathlib.Path("/opt/ml/model/weights").write_text("mine")
        os.symlink("weights", "/opt/ml/model/best")
        os.symlink({str(secret / "key")!r}, "/opt/ml/model/key")
        os.symlink({str(secret)!r}, "/opt/ml/model/folder")
        os.mkfifo("/opt/ml/model/pipe")
    """
    request = room.request(script)
    name = request["TrainingJobName"]
    request["OutputDataConfig"]["CompressionType"] = "NONE"
    room.client("sagemaker").create_training_job(**request)
    assert room.end_of(name)["TrainingJobStatus"] == "Completed"
    listed = room.client("s3").list_objects_v2(Bucket=room.bucket, Prefix=f"out/{name}/")["Contents"]
    assert [each["Key"].rpartition("/")[2] for each in listed] == ["best", "weights"]

    archived = room.run(script)["TrainingJobName"]
    assert names_in(room.get(f"out/{archived}/output/model.tar.gz"))["weights"] == b"mine"


def test_checkpoints_behind_links_are_not_uploaded(room: Room, secret: Path) -> None:
    script = f"""
        import os, pathlib
        os.symlink({str(secret / "key")!r}, "/opt/ml/checkpoints/key")
        pathlib.Path("/opt/ml/checkpoints/epoch-1").write_text("mine")
        os.symlink({str(secret)!r}, "/opt/ml/checkpoints/folder")
    """
    config = {"S3Uri": f"s3://{room.bucket}/checkpoints/links", "LocalPath": "/opt/ml/checkpoints"}
    assert room.run(script, CheckpointConfig=config)["TrainingJobStatus"] == "Completed"
    whole = f"import os; os.rmdir('/opt/ml/checkpoints'); os.symlink({str(secret)!r}, '/opt/ml/checkpoints')"
    config = {**config, "S3Uri": f"s3://{room.bucket}/checkpoints/whole"}
    name = room.run(whole, CheckpointConfig=config)["TrainingJobName"]
    listed = room.client("s3").list_objects_v2(Bucket=room.bucket, Prefix="checkpoints/")["Contents"]
    assert [each["Key"] for each in listed] == ["checkpoints/links/epoch-1"]
    assert "checkpoints were not uploaded" in room.log(name)[-1]


def test_a_folder_that_becomes_a_link_between_listing_and_reading_is_not_followed(secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ml" / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "key").write_text("mine")
    opened = JobFolder(tmp_path / "ml", PurePath("data"))
    (name,) = opened.names()
    with opened.open(name) as file:
        assert file.read() == b"mine"
    (folder / "sub" / "key").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(secret)
    with pytest.raises(OSError, match="no folder"):
        opened.open(name)
    assert opened.names() == [PurePath("sub")]
