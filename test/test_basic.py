"""Put, get, list, remove: what everything else rests on. The simplest first."""

import os
import subprocess

import pytest

from lib.cluster import QUERN, Cluster


def test_empty_store_lists_nothing(cluster):
    assert cluster.run("ls").stdout == b""


def test_one_small_object(cluster):
    cluster.run("mb", "small")
    cluster.run("put", "-", "small/hello.txt", data=b"hello, mill\n")
    assert cluster.run("cat", "small/hello.txt").stdout == b"hello, mill\n"
    assert b"hello.txt" in cluster.run("ls", "small").stdout


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, (1 << 20) + 1])
def test_sizes(cluster, bucket, size, tmp_path):
    data = os.urandom(size)
    source = tmp_path / "in"
    source.write_bytes(data)
    cluster.run("put", str(source), f"{bucket}/size-{size}")
    cluster.run("get", f"{bucket}/size-{size}", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data


def test_every_node_answers(cluster, bucket):
    cluster.run("put", "-", f"{bucket}/everywhere", data=b"the same")
    for node in range(1, cluster.nodes + 1):
        got = cluster.run("cat", f"{bucket}/everywhere", env={"QUERN_ENDPOINT": cluster.url(node)})
        assert got.stdout == b"the same"


def test_several_chunks(cluster, bucket, big, tmp_path):
    source = tmp_path / "in"
    source.write_bytes(big)
    cluster.run("put", str(source), f"{bucket}/big")
    cluster.run("get", f"{bucket}/big", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == big


def test_stream_of_unknown_length(cluster, bucket, big):
    cluster.run("put", "-", f"{bucket}/stream", data=big)
    assert cluster.run("cat", f"{bucket}/stream").stdout == big


def test_listing_is_in_order_and_cut_at_slashes(cluster):
    cluster.run("mb", "listing")
    for key in ["b", "a/2", "a/1", "c", "a0"]:
        cluster.run("put", "-", f"listing/{key}", data=key.encode())
    names = [line.split()[-1] for line in cluster.run("ls", "listing").stdout.decode().splitlines()]
    assert names == ["a/", "a0", "b", "c"]
    names = [line.split()[-1] for line in
             cluster.run("ls", "-r", "listing").stdout.decode().splitlines()]
    assert names == ["a/1", "a/2", "a0", "b", "c"]


def test_more_keys_than_a_page(cluster):
    cluster.run("mb", "pages")
    s3 = cluster.boto()
    keys = [f"k{i:04}" for i in range(1100)]
    for key in keys:
        s3.put_object(Bucket="pages", Key=key, Body=b"x")
    names = [line.split()[-1] for line in cluster.run("ls", "pages").stdout.decode().splitlines()]
    assert names == keys
    cluster.run("rm", "-r", "pages/")
    cluster.run("rb", "pages")


def test_overwrite_and_remove(cluster, bucket):
    for text in [b"one", b"two"]:
        cluster.run("put", "-", f"{bucket}/over", data=text)
        assert cluster.run("cat", f"{bucket}/over").stdout == text
    cluster.run("rm", f"{bucket}/over")
    failed = cluster.run("cat", f"{bucket}/over", status=1)
    assert b"NoSuchKey" in failed.stderr


def test_bucket_must_be_empty(cluster):
    cluster.run("mb", "full")
    cluster.run("put", "-", "full/x", data=b"x")
    assert b"BucketNotEmpty" in cluster.run("rb", "full", status=1).stderr
    cluster.run("rm", "full/x")
    cluster.run("rb", "full")
    assert b"NoSuchBucket" in cluster.run("ls", "full", status=1).stderr


def test_all_is_there_after_a_restart(tmp_path):
    data = os.urandom(3 << 20)
    cluster = Cluster(nodes=1, directory=str(tmp_path / "data"))
    with cluster:
        cluster.run("mb", "kept")
        cluster.run("put", "-", "kept/a", data=data)
        cluster.run("put", "-", "kept/b", data=b"small")
        cluster.stop()
        cluster.start()
        assert cluster.run("cat", "kept/a").stdout == data
        assert cluster.run("cat", "kept/b").stdout == b"small"


def test_version_is_said():
    assert subprocess.run([QUERN, "--version"], capture_output=True).stdout.startswith(b"quern ")


def test_five_nodes_of_which_three_keep_the_catalogue():
    lines = {node: b"line\n" * 10000 * node for node in range(1, 6)}
    with Cluster(nodes=5) as cluster:
        cluster.run("mb", "five")
        for node, data in lines.items():
            cluster.run("put", "-", f"five/{node}", data=data, env=cluster.environment(nodes=[node]))
        for node in lines:
            there = cluster.environment(nodes=[node])
            assert cluster.run("cat", f"five/{node % 5 + 1}", env=there).stdout == lines[node % 5 + 1]
        counts = cluster.run("run", "five/", "--", "wc", "-l", env=there).stdout.split()
        assert counts == [b"%d" % (10000 * node) for node in lines]
