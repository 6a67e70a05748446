"""awscli as Debian ships it, unchanged."""

import json
import subprocess


def aws(cluster, *words, data=None):
    # awscli 2.9 does not read AWS_ENDPOINT_URL.
    done = subprocess.run(["aws", "--endpoint-url", cluster.url(), *words], input=data,
                          capture_output=True, env=cluster.environment(), timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_buckets(cluster):
    aws(cluster, "s3", "mb", "s3://aws-new")
    assert b"aws-new" in aws(cluster, "s3", "ls")
    aws(cluster, "s3", "rb", "s3://aws-new")
    assert b"aws-new" not in aws(cluster, "s3", "ls")


def test_copy_there_and_back(cluster, bucket, big, tmp_path):
    (tmp_path / "in").write_bytes(big)
    aws(cluster, "s3", "cp", str(tmp_path / "in"), f"s3://{bucket}/big")
    aws(cluster, "s3", "cp", f"s3://{bucket}/big", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == big


def test_pipes(cluster, bucket):
    aws(cluster, "s3", "cp", "-", f"s3://{bucket}/pipe", data=b"through a pipe")
    assert aws(cluster, "s3", "cp", f"s3://{bucket}/pipe", "-") == b"through a pipe"


def test_sync(cluster, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for i in range(10):
        (source / str(i % 3)).mkdir(parents=True, exist_ok=True)
        (source / str(i % 3) / f"file {i}").write_text(f"number {i}")
    aws(cluster, "s3", "sync", str(source), f"s3://{bucket}/sync")
    aws(cluster, "s3", "sync", f"s3://{bucket}/sync", str(target))
    assert subprocess.run(["diff", "-r", source, target]).returncode == 0
    aws(cluster, "s3", "rm", "--recursive", f"s3://{bucket}/sync")
    assert b"sync" not in aws(cluster, "s3", "ls", f"s3://{bucket}/")


def test_api_calls(cluster, bucket):
    aws(cluster, "s3api", "put-object", "--bucket", bucket, "--key", "api", "--metadata", "a=b")
    head = json.loads(aws(cluster, "s3api", "head-object", "--bucket", bucket, "--key", "api"))
    assert head["Metadata"] == {"a": "b"} and head["ContentLength"] == 0
    listing = json.loads(aws(cluster, "s3api", "list-objects-v2", "--bucket", bucket,
                             "--prefix", "api"))
    assert [entry["Key"] for entry in listing["Contents"]] == ["api"]
