"""s3cmd as Debian ships it, unchanged."""

import subprocess

import pytest

from lib.cluster import ACCESS_KEY, SECRET_KEY


@pytest.fixture(scope="module")
def s3cmd(cluster, bucket, tmp_path_factory):
    config = tmp_path_factory.mktemp("s3cmd") / "s3cfg"
    host = f"127.0.0.1:{cluster.port()}"
    config.write_text(f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\n"
                      f"host_base = {host}\nhost_bucket = {host}\nuse_https = False\n")

    def run(*words):
        done = subprocess.run(["s3cmd", "-c", str(config), "--no-progress", *words],
                              capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()
    return run


def test_buckets(s3cmd):
    s3cmd("mb", "s3://s3cmd-new")
    assert "s3://s3cmd-new" in s3cmd("ls")
    s3cmd("rb", "s3://s3cmd-new")
    assert "s3://s3cmd-new" not in s3cmd("ls")


def test_put_and_get(s3cmd, bucket, big, tmp_path):
    (tmp_path / "in").write_bytes(big)
    s3cmd("put", str(tmp_path / "in"), f"s3://{bucket}/big")
    s3cmd("get", f"s3://{bucket}/big", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == big
    assert str(len(big)) in s3cmd("ls", f"s3://{bucket}/big")
    assert str(len(big)) in s3cmd("info", f"s3://{bucket}/big")


def test_copy_move_and_delete(s3cmd, bucket, tmp_path):
    (tmp_path / "x").write_text("x")
    s3cmd("put", str(tmp_path / "x"), f"s3://{bucket}/a")
    s3cmd("cp", f"s3://{bucket}/a", f"s3://{bucket}/b")
    s3cmd("mv", f"s3://{bucket}/b", f"s3://{bucket}/c")
    listing = s3cmd("ls", f"s3://{bucket}/")
    assert f"{bucket}/a" in listing and f"{bucket}/c" in listing and f"{bucket}/b\n" not in listing
    s3cmd("del", f"s3://{bucket}/a", f"s3://{bucket}/c")
    assert f"{bucket}/a\n" not in s3cmd("ls", f"s3://{bucket}/")


def test_sync(s3cmd, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    for i in range(5):
        (source / f"f{i}").write_text(f"number {i}")
    s3cmd("sync", f"{source}/", f"s3://{bucket}/sync/")
    s3cmd("sync", f"s3://{bucket}/sync/", f"{target}/")
    assert subprocess.run(["diff", "-r", source, target]).returncode == 0
