"""A disk that fills up: writes are refused in words, reads and deletions go on, and so do writes once there is room."""

import contextlib
import errno
import json
import os
import subprocess
import time

import pytest

from lib.cluster import QUERN, Cluster, wait_until

DISK_BYTES = 1 << 30
PIECE = 32 << 20


@contextlib.contextmanager
def disk(image, mount):
    mount.mkdir(parents=True)
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"a disk cannot be made here: {done.stderr}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.fixture(name="small")
def small_cluster(tmp_path, monkeypatch):
    """One node on an ext4 of its own; what was deleted stays for a minute, unless the disk is short."""
    monkeypatch.setenv("QUERN_GC_MS", "60000")
    with disk(tmp_path / "disk", tmp_path / "mount") as mount:
        with Cluster(nodes=1, directory=mount / "data") as cluster:
            yield cluster, mount


@pytest.fixture(name="one_small")
def one_small_cluster(tmp_path):
    """Three nodes; the first one's chunks and catalogue are on an ext4 of their own."""
    data = tmp_path / "data"
    with disk(tmp_path / "disk", data / "node1") as mount:
        with Cluster(nodes=3, directory=data) as cluster:
            yield cluster, mount


def take_all(path):
    """Others fill the disk: no block is free any more."""
    with open(path, "ab") as file:
        step = 64 << 20
        while step >= 4096:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError as failure:
                assert failure.errno == errno.ENOSPC
                step //= 2


def put(cluster, key, size, status=0):
    return cluster.run("put", "-", f"full/{key}", data=os.urandom(size), status=status)


def is_full(cluster):
    store = json.loads(cluster.run("status", "--json").stdout)["nodes"][0]["store"]
    return store is not None and store["full"]


def has(cluster, *keys):
    return all(len(cluster.run("cat", f"full/{key}").stdout) > 0 for key in keys)


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
    take_all(mount / "foreign")
    wait_until(lambda: is_full(cluster), what="the node to see it")
    assert "FULL" in cluster.run("status").stdout.decode()
    wait_until(lambda: put(cluster, "tiny", 10, status=None).returncode != 0, what="small writes to be refused")
    assert len(cluster.run("cat", "full/kept").stdout) == PIECE
    assert len(cluster.run("cat", "full/small").stdout) == 100
    assert b"filler/0" in cluster.run("ls", "full/filler/").stdout
    cluster.run("rm", "-r", "full/filler/")  # in what the ballast leaves
    wait_until(lambda: not is_full(cluster), what="the room")
    wait_until(lambda: put(cluster, "after", PIECE, status=None).returncode == 0, what="writes to go on")
    assert len(cluster.run("cat", "full/kept").stdout) == PIECE


def serve(cluster):
    """Node 1, by hand: what it says does not go to the disk that is full."""
    return subprocess.Popen([QUERN, "serve", "--data", f"{cluster.directory}/node1"], text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill(cluster, node=None):
    if node is None:
        cluster.kill(1)
        time.sleep(0.5)
        return
    node.kill()
    node.communicate()


def votes_everywhere(cluster):
    groups = json.loads(cluster.run("status", "--json").stdout)["groups"]
    return all(group["voting"] == 3 for group in groups)


def test_one_full_node_holds_up_nobody(one_small):
    cluster, mount = one_small
    cluster.run("mb", "full")
    put(cluster, "before", PIECE)
    wait_until(lambda: os.path.exists(mount / "meta/ballast"), what="the ballast")
    kill(cluster)
    take_all(mount / "foreign")
    node = serve(cluster)  # into the room of its ballast
    try:
        assert node.stdout.readline().startswith("ready")
        assert not os.path.exists(mount / "meta/ballast")
        wait_until(lambda: is_full(cluster), what="the node to see it")
        take_all(mount / "foreign")
        for number in range(4):
            put(cluster, f"chunk/{number}", PIECE // 8)
            put(cluster, f"small/{number}", 100)
        cluster.run("rm", "full/small/0")
        kill(cluster, node)
        take_all(mount / "foreign")
        node = serve(cluster)
        said = node.communicate(timeout=30)[1]
        assert node.returncode == 1 and said.count("\n") == 1
        assert "this node can be started again once there is room" in said and "No space left" in said
        put(cluster, "late", 100)
        os.unlink(mount / "foreign")
        node = serve(cluster)
        assert node.stdout.readline().startswith("ready")
        wait_until(lambda: votes_everywhere(cluster) and not is_full(cluster), what="the node to catch up")
        assert has(cluster, "before", "late", *(f"chunk/{number}" for number in range(4)))
    finally:
        kill(cluster, node)
