"""rclone as Debian ships it, unchanged."""

import os
import subprocess

import pytest

from lib.cluster import ACCESS_KEY, SECRET_KEY


@pytest.fixture(scope="module")
def rclone(cluster, bucket, tmp_path_factory):
    config = tmp_path_factory.mktemp("rclone") / "rclone.conf"
    config.write_text(f"[q]\ntype = s3\nprovider = Other\naccess_key_id = {ACCESS_KEY}\n"
                      f"secret_access_key = {SECRET_KEY}\nendpoint = {cluster.url()}\n"
                      "force_path_style = true\n")

    def run(*words, data=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        done = subprocess.run(["rclone", "--config", str(config), *words], capture_output=True,
                              input=data, timeout=300, env=clean)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
    return run


@pytest.fixture(scope="module")
def tree(tmp_path_factory, big):
    root = tmp_path_factory.mktemp("tree")
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/big").write_bytes(big)
    for i in range(20):
        (root / f"deep/{i} ü.txt").write_text(f"number {i}")
    return root


def test_buckets(rclone):
    rclone("mkdir", "q:rclone-new")
    assert b"rclone-new" in rclone("lsd", "q:")
    rclone("rmdir", "q:rclone-new")
    assert b"rclone-new" not in rclone("lsd", "q:")


def test_sync_and_check(rclone, bucket, tree, tmp_path):
    rclone("sync", str(tree), f"q:{bucket}/tree")
    rclone("check", "--download", str(tree), f"q:{bucket}/tree")
    rclone("sync", f"q:{bucket}/tree", str(tmp_path / "back"))
    assert subprocess.run(["diff", "-r", tree, tmp_path / "back"]).returncode == 0
    rclone("purge", f"q:{bucket}/tree")
    assert rclone("lsf", f"q:{bucket}") == b""


def test_pipes_and_moves(rclone, bucket):
    rclone("rcat", f"q:{bucket}/one", data=b"through a pipe")
    rclone("moveto", f"q:{bucket}/one", f"q:{bucket}/two")
    assert rclone("cat", f"q:{bucket}/two") == b"through a pipe"
    rclone("deletefile", f"q:{bucket}/two")
