"""A disk that fills up: writes are refused in words, reads and deletions go on, and so do writes once there is room."""

import json
import os
import subprocess

import pytest

from lib.cluster import Cluster, wait_until

DISK_BYTES = 1 << 30
PIECE = 32 << 20


@pytest.fixture(name="small")
def small_cluster(tmp_path, monkeypatch):
    """One node on an ext4 of its own; what was deleted goes at once."""
    monkeypatch.setenv("QUERN_GC_MS", "500")
    image, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"a disk cannot be made here: {done.stderr}")
    try:
        with Cluster(nodes=1, directory=mount / "data") as cluster:
            yield cluster, mount
    finally:
        subprocess.run(["umount", mount], check=True)


def put(cluster, key, size, status=0):
    return cluster.run("put", "-", f"full/{key}", data=os.urandom(size), status=status)


def is_full(cluster):
    return json.loads(cluster.run("status", "--json").stdout)["nodes"][0]["store"]["full"]


def test_a_full_disk_is_told_and_survived(small):
    cluster, mount = small
    cluster.run("mb", "full")
    put(cluster, "small", 100)
    put(cluster, "kept", PIECE)
    refused = None
    for number in range(DISK_BYTES // PIECE):
        refused = put(cluster, f"filler/{number}", PIECE, status=None)
        if refused.returncode != 0:
            break
    assert refused.returncode == 1 and refused.stderr.count(b"\n") == 1
    assert b"MiB are left on the disk" in refused.stderr or b"InsufficientStorage" in refused.stderr
    with open(mount / "foreign", "wb") as file:  # others take the rest
        room = os.statvfs(mount)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (16 << 20))
    wait_until(lambda: is_full(cluster), what="the node to see it")
    assert "FULL" in cluster.run("status").stdout.decode()
    wait_until(lambda: put(cluster, "tiny", 10, status=None).returncode != 0, what="small writes to be refused")
    assert len(cluster.run("cat", "full/kept").stdout) == PIECE
    assert len(cluster.run("cat", "full/small").stdout) == 100
    os.unlink(mount / "foreign")
    cluster.run("rm", "-r", "full/filler/")
    wait_until(lambda: not is_full(cluster), what="the room")
    wait_until(lambda: put(cluster, "after", PIECE, status=None).returncode == 0, what="writes to go on")
    assert len(cluster.run("cat", "full/kept").stdout) == PIECE
