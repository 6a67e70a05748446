"""Jobs: whatever is killed, their output is that of the same pipeline run here, byte for byte."""

import json
import signal
import subprocess
import time

import pytest

from lib.cluster import QUERN, Cluster, wait_until

COUNT_MAP = "LC_ALL=C sort | cut -d' ' -f1 | uniq -c"
COUNT_REDUCE = "awk '{ n[$2] += $1 } END { for (w in n) print n[w], w }' | LC_ALL=C sort"


@pytest.fixture(scope="module")
def lines():
    """Some 150 MiB of lines of uneven length: three chunks, cut in the middle of lines."""
    block = "".join(f"word{i % 997} {'x' * (i * 7919 % 180)} {i}\n" for i in range(200000))
    return (block * ((150 << 20) // len(block) + 1)).encode()[:150 << 20]


@pytest.fixture(scope="module")
def stored(cluster, lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("jobs") / "lines"
    path.write_bytes(lines)
    cluster.run("mb", "jobs")
    cluster.run("put", str(path), "jobs/lines")
    return path


def here(command, path, status=0):
    with open(path, "rb") as file:
        done = subprocess.run(["sh", "-c", command], stdin=file, stdout=subprocess.PIPE)
    assert done.returncode == status
    return done.stdout


def test_grep_in_input_order(cluster, stored):
    got = cluster.run("run", "jobs/lines", "--", "grep", "-F", "word77 ").stdout
    assert got == here("grep -F 'word77 '", stored)


def test_every_byte_comes_through(cluster, stored, lines):
    assert cluster.run("run", "jobs/lines", "--", "cat").stdout == lines


def test_map_and_reduce(cluster, stored):
    got = cluster.run("run", "jobs/lines", "--map", COUNT_MAP, "--reduce", COUNT_REDUCE).stdout
    assert got == here(f"{COUNT_MAP} | {COUNT_REDUCE}", stored)


def test_no_match_is_good(cluster, stored):
    assert cluster.run("run", "jobs/lines", "--", "grep", "nowhere").stdout == b""


def test_output_as_objects(cluster, stored):
    cluster.run("run", "jobs/lines", "-o", "jobs/out/", "--", "grep", "-F", "word5 ")
    names = [json.loads(line)["key"] for line in
             cluster.run("ls", "-r", "--json", "jobs/out/").stdout.splitlines()]
    assert names
    got = cluster.run("cat", *(f"jobs/{name}" for name in names)).stdout
    assert got == here("grep -F 'word5 '", stored)


def test_whole_records_and_each_object(cluster):
    for i in range(5):
        cluster.run("put", "-", f"jobs/each/{i}", data=b"a\nb\n" * i)
    got = cluster.run("run", "jobs/each/*", "--each", "object", "--records", "whole", "--",
                      "wc", "-l").stdout
    assert [int(line) for line in got.split()] == [0, 2, 4, 6, 8]


def test_a_failing_task_shows_its_stderr(cluster, stored):
    failed = cluster.run("run", "jobs/lines", "--map", "echo bad thing >&2; exit 3", status=1)
    assert b"exit 3" in failed.stderr and b"bad thing" in failed.stderr
    name = cluster.run("jobs").stdout.decode().splitlines()[-1].split()[0]
    errors = cluster.run("job", "errors", name).stdout
    assert b"exit 3" in errors and b"bad thing" in errors
    assert b"failed" in cluster.run("job", "show", name).stdout
    assert cluster.run("job", "wait", name, status=1).stdout == b"failed\n"


def test_a_failed_job_leaves_no_output(cluster, stored):
    cluster.run("run", "jobs/lines", "-o", "jobs/none/", "--map", "cat; exit 9", status=1)
    assert cluster.run("ls", "-r", "jobs/none/").stdout == b""


def test_detach_wait_and_cancel(cluster, stored):
    name = cluster.run("run", "jobs/lines", "-d", "--", "wc", "-l").stdout.decode().strip()
    assert cluster.run("job", "wait", name).stdout == b"committed\n"
    name = cluster.run("run", "jobs/lines", "-d", "--map", "sleep 60").stdout.decode().strip()
    cluster.run("job", "cancel", name)
    assert cluster.run("job", "wait", name, status=1).stdout == b"cancelled\n"


def test_what_is_not_there(cluster, stored):
    for words in (["run", "jobs/absent", "--", "cat"], ["run", "no-such-bucket/x", "--", "cat"],
                  ["job", "show", "no-such-job"]):
        failed = cluster.run(*words, status=1)
        assert len(failed.stderr.splitlines()) == 1, words


def test_tasks_are_fenced_in(cluster, stored):
    inside = cluster.run("run", "jobs/each/1", "--map",
                         "id -u; cat /proc/*/environ 2>/dev/null | grep -ac QUERN_SECRET || true").stdout
    user, leaks = inside.split()
    assert user != b"0" and leaks == b"0"
    cluster.run("run", "jobs/each/1", "--map",
                f"! cat {cluster.directory}/node1/credentials", status=0)


# ---- under kill -9 ----

def start_count(cluster):
    return subprocess.Popen([QUERN, "run", "jobs/lines", "--map", COUNT_MAP, "--reduce",
                             COUNT_REDUCE], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=cluster.environment())


def running(cluster):
    rows = cluster.run("jobs", "--json").stdout.splitlines()
    return bool(rows) and json.loads(rows[-1])["state"] == "running"


@pytest.mark.parametrize("choose", ["leader", "follower"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_is_lost_in_mid_job(lines, tmp_path, choose, number):
    (tmp_path / "lines").write_bytes(lines)
    expected = here(f"{COUNT_MAP} | {COUNT_REDUCE}", tmp_path / "lines")
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "jobs")
        cluster.run("put", str(tmp_path / "lines"), "jobs/lines")
        leader = cluster.leader()
        victim = leader if choose == "leader" else leader % 3 + 1
        job = start_count(cluster)
        wait_until(lambda: running(cluster), what="the job's start")
        time.sleep(0.2)
        cluster.kill(victim, number)
        got, errors = job.communicate(timeout=120)
        assert job.returncode == 0, errors.decode()
        assert got == expected
        if number == signal.SIGSTOP:
            cluster.kill(victim, signal.SIGCONT)
        else:
            cluster.restart(victim)


def test_the_client_is_killed_and_the_job_goes_on(cluster, stored):
    job = start_count(cluster)
    wait_until(lambda: running(cluster), what="the job's start")
    job.kill()
    job.communicate()
    name = cluster.run("jobs").stdout.decode().splitlines()[-1].split()[0]
    assert cluster.run("job", "wait", name).stdout in (b"committed\n",)


def test_interrupt_cancels_the_job(cluster, stored):
    job = subprocess.Popen([QUERN, "run", "jobs/lines", "--map", "sleep 60"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=cluster.environment())
    wait_until(lambda: running(cluster), what="the job's start")
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130, errors
    name = cluster.run("jobs").stdout.decode().splitlines()[-1].split()[0]
    assert cluster.run("job", "wait", name, status=1).stdout == b"cancelled\n"
