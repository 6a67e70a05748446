"""Jobs at their edges: lines that lie over cuts, names with wildcards, limits, and words that are refused."""

import json
import re

import pytest


@pytest.fixture(scope="module")
def place(cluster, bucket):
    """Three chunks of numbered lines."""
    text = "".join(f"{i} {'x' * (i % 97)} {i * 7919 % 1000}\n" for i in range(2600000))
    cluster.run("put", "-", f"{bucket}/lines", data=text.encode())
    return f"{bucket}/lines"


def newest(cluster):
    return json.loads(cluster.run("jobs", "--json").stdout.splitlines()[-1])



def test_lines_over_cuts_come_once(cluster, bucket):
    """Chunks that do not end with a line: records of up to 300 KiB."""
    data = b"".join(bytes([97 + i % 26]) * (i * 7919 % 300000) + b"\n" for i in range(900))
    cluster.run("put", "-", f"{bucket}/long", data=data)
    assert cluster.run("run", f"{bucket}/long", "--map", "tee /dev/null").stdout == data
    assert newest(cluster)["map"]["tasks"] > 1



def test_record_that_is_too_long_is_named(cluster, bucket):
    data = b"short\n" + b"x" * (140 << 20) + b"\n"
    cluster.run("put", "-", f"{bucket}/endless", data=data)
    failed = cluster.run("run", f"{bucket}/endless", "--", "wc", status=1)
    assert b"record at byte 6 is longer than 1048576" in failed.stderr
    whole = cluster.run("run", f"{bucket}/endless", "--records", "whole", "--", "wc", "-c")
    assert whole.stdout == b"%d\n" % len(data)



def test_many_objects_in_order_of_their_keys(cluster, bucket):
    for name in ("m/b", "m/a", "m/c/d", "m/e.txt"):
        cluster.run("put", "-", f"{bucket}/{name}", data=f"{name}\n".encode())
    assert cluster.run("run", f"{bucket}/m/", "--", "cat").stdout == b"m/a\nm/b\nm/c/d\nm/e.txt\n"
    assert cluster.run("run", f"{bucket}/m/*.txt", "--", "cat").stdout == b"m/e.txt\n"
    named = cluster.run("run", f"{bucket}/m/[ab]", "--each", "object", "--map", "echo $QUERN_KEY $QUERN_PHASE")
    assert named.stdout == b"m/a map\nm/b map\n"
    missing = cluster.run("run", f"{bucket}/m/zzz", "--", "cat", status=1)
    assert b"NoSuchKey" in missing.stderr
    assert b"NoSuchKey" in cluster.run("run", f"{bucket}/q*", "--", "cat", status=1).stderr



def test_failures_are_explained(cluster, place):
    failed = cluster.run("run", place, "--map", "echo cause $QUERN_TASK >&2; exit 4", status=1)
    assert b"exit 4" in failed.stderr and re.search(rb"cause [012]", failed.stderr)  # whichever was first
    name = newest(cluster)["name"]
    assert newest(cluster)["state"] == "failed"
    assert b"exit 4" in cluster.run("job", "errors", name).stdout
    assert cluster.run("job", "wait", name, status=1).stdout == b"failed\n"
    assert b"no-such-program" in cluster.run("run", place, "--", "no-such-program", status=1).stderr
    slow = cluster.run("run", place, "--time", "200ms", "--", "sleep", "60", status=1)
    assert b"over its time limit" in slow.stderr
    big = cluster.run("run", place, "--mem", "32M", "--map",
                      "head -c 400000000 /dev/zero | tail -c 300000000 | wc -c", status=1)
    assert b"out of memory" in big.stderr



def test_the_grammar_is_single(cluster, place):
    for words in (["--map", "x", "--", "y"], ["--reduce", "x", "--", "y"], [], ["--"],
                  ["--records", "csv", "--", "y"], ["--each", "line", "--", "y"]):
        refused = cluster.run("run", place, *words, status=2)
        assert len(refused.stderr.splitlines()) == 1



def test_dry_run_runs_nothing(cluster, place):
    before = cluster.run("jobs").stdout
    plan = cluster.run("run", place, "--dry-run", "--", "cat").stdout
    assert b"3 map" in plan and cluster.run("jobs").stdout == before



def test_no_match_is_no_failure(cluster, place):
    assert cluster.run("run", place, "--", "grep", "nothing like it").stdout == b""
    assert cluster.run("run", place, "--map", "grep nothing | wc -l").stdout.split() == [b"0"] * 3
    assert cluster.run("run", place, "--map", "yes | head -1").stdout == b"y\n" * 3
