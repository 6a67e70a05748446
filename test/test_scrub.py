"""What rots on a disk is found although nobody reads it, and is had again from the other nodes."""

import contextlib
import json
import os
import random
import re
import sys
import time

import pytest

from lib.cluster import Cluster, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "faults"))
from disk import files_below, flip_bytes  # noqa: E402

SIZE = 12 << 20
BAD = 2  # the node whose disk rots
ENDS = "is made anew at the next start"


@pytest.fixture(name="rotting")
def rotting_cluster(monkeypatch):
    monkeypatch.setenv("QUERN_SCRUB_MS", "2000")
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "scrub")
        yield cluster


@pytest.fixture(name="resting")
def resting_cluster():
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "scrub")
        yield cluster


def flip(cluster, folder, suffixes, count):
    paths = files_below(f"{cluster.directory}/node{BAD}/{folder}", suffixes)
    assert flip_bytes(paths, count, random.Random(7)), paths


def lines_with(cluster, words):
    with open(f"{cluster.directory}/node{BAD}/log", errors="replace") as log:
        return [line for line in log if re.search(words, line)]


def said(cluster, words):
    return bool(lines_with(cluster, words))


def has_ended(cluster):
    """It may be a zombie of `quern dev` by now."""
    try:
        with open(f"/proc/{cluster.pid(BAD)}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def is_whole(cluster):
    status = json.loads(cluster.run("status", "--json").stdout)
    return (all(group["voting"] == 3 and group["damaged"] == 0 for group in status["groups"]) and
            all(node["store"] and node["store"]["missing_chunks"] == 0 for node in status["nodes"]))


def test_a_chunk_that_nobody_reads(rotting):
    data = os.urandom(SIZE)
    rotting.run("put", "-", "scrub/x", data=data)
    wait_until(lambda: files_below(f"{rotting.directory}/node{BAD}/chunks/volumes", (".chunk",)), what="a copy")
    flip(rotting, "chunks/volumes", (".chunk",), 1)
    wait_until(lambda: said(rotting, r"scrub: chunk .* fetched from another node"), what="the rot is found")
    wait_until(lambda: holds(rotting, data), what="it is fetched")


def holds(cluster, data):
    """Byte for byte."""
    for path in files_below(f"{cluster.directory}/node{BAD}/chunks/volumes", (".chunk",)):
        with open(path, "rb") as file:
            if data in file.read():
                return True
    return False


def put_some(cluster):
    """Enough small objects that the state store has a table with them: it is flushed every five seconds."""
    contents = [os.urandom(2000) for _ in range(200)]
    client = cluster.boto()
    for i, data in enumerate(contents):
        client.put_object(Bucket="scrub", Key=str(i), Body=data)

    def is_settled():
        places = places_of(cluster, contents)
        time.sleep(1)
        return len(places) == len(contents) and places == places_of(cluster, contents)

    wait_until(is_settled, what="a table that is not being replaced")
    return contents


def places_of(cluster, contents):
    """Pairs (offset, table), in order."""
    found = []
    for table in files_below(f"{cluster.directory}/node{BAD}/meta/state", (".sst",)):
        try:
            with open(table, "rb") as file:
                data = file.read()
        except FileNotFoundError:  # replaced just now
            continue
        found += [(data.find(content), table) for content in contents if content in data]
    return sorted(found, key=lambda place: (place[1], place[0]))


def flip_objects(cluster, contents):
    """In the midst of others: what is read all the time, and what a search for it passes, lies in other blocks."""
    places = places_of(cluster, contents)
    among = [places[i] for i in range(2, len(places) - 2)
             if places[i - 2][1] == places[i + 2][1] and places[i + 2][0] - places[i - 2][0] < 4.5 * 2000]
    assert among, places
    for offset, table in among:
        with contextlib.suppress(FileNotFoundError), open(table, "r+b") as file:  # or replaced just now
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))


def assert_spared_and_made_anew(cluster, names):
    """Node 3 was away: not before it is back."""
    assert not has_ended(cluster)
    assert not said(cluster, "can do without this state store")
    assert b"on a damaged disk" in cluster.run("status").stdout
    assert b"BAD   catalogue" in cluster.run("doctor", status=1).stdout
    cluster.restart(3)
    wait_until(lambda: has_ended(cluster), seconds=90, what="it ends")
    assert said(cluster, "can do without this state store") and said(cluster, ENDS)
    cluster.restart(BAD)
    wait_until(lambda: is_whole(cluster), seconds=90, what="all replicas vote")
    assert cluster.run("ls", "scrub/").stdout.count(b"\n") == names


def test_a_state_store_waits_until_it_can_be_spared(rotting):
    contents = put_some(rotting)
    rotting.kill(3)

    def is_found():
        """A table that is being replaced is not read any more: then another one rots."""
        flip_objects(rotting, contents)
        time.sleep(4)
        return said(rotting, "the state store is damaged")

    wait_until(is_found, seconds=60, what="the rot is found")
    assert_spared_and_made_anew(rotting, len(contents))


def test_who_needs_what_has_rotted_does_without(resting):
    """Nothing looks for rot, but all objects are written anew: through the node that cannot, and one that is whole."""
    contents = put_some(resting)
    resting.kill(3)
    resting.kill(BAD)
    flip_objects(resting, contents)
    resting.restart(BAD)  # has read none of it yet
    client = resting.boto()
    for i in range(len(contents)):
        client.put_object(Bucket="scrub", Key=str(i), Body=b"anew")
    wait_until(lambda: said(resting, "the state store is damaged"), what="the rot is met")
    for i in range(len(contents)):
        assert client.get_object(Bucket="scrub", Key=str(i))["Body"].read() == b"anew"
    assert_spared_and_made_anew(resting, len(contents))


def test_a_log_goes_on_without_what_is_damaged(rotting):
    put_some(rotting)
    flip(rotting, "meta/log", (".log",), 40)
    wait_until(lambda: said(rotting, "the log is damaged"), what="the rot is found")
    rotting.run("put", "-", "scrub/after", data=b"after")
    wait_until(lambda: said(rotting, "the damaged part of the log is gone"), seconds=60, what="it is trimmed")
    lines = lines_with(rotting, "damaged")
    rotting.kill(BAD)
    rotting.restart(BAD)
    wait_until(lambda: is_whole(rotting), seconds=60, what="all replicas vote")
    assert lines_with(rotting, "damaged") == lines
