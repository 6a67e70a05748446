"""`quern lock`: one holder at a time, whoever dies or is cut off; fences that grow; the command is told when the lock is lost."""

import json
import signal
import subprocess
import time

import pytest

from lib.cluster import QUERN, Cluster, wait_until


@pytest.fixture(scope="module", name="cluster")
def a_cluster():
    with Cluster(nodes=3) as cluster:
        yield cluster


def start(cluster, name, *words, options=(), env=None):
    return subprocess.Popen([QUERN, "lock", name, *options, "--", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(cluster.environment(), **(env or {})))


def wait_running(holder):
    """Until the command runs: then the lock is held, and its holder knows."""
    wait_until(lambda: subprocess.run(["pgrep", "-P", str(holder.pid)], capture_output=True, check=False).stdout,
               what="the command under the lock")


def locks(cluster):
    return json.loads(api(cluster, "GET", "/-/api/v1/locks"))["locks"]


def api(cluster, method, path, body=None, status=200):
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    import http.client
    from lib.cluster import ACCESS_KEY, SECRET_KEY
    request = botocore.awsrequest.AWSRequest(method, cluster.url(1) + path, data=body)
    credentials = botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY)
    botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port(1), timeout=60)
    connection.request(method, path, body, dict(request.headers))
    reply = connection.getresponse()
    text = reply.read()
    assert reply.status == status, text
    return text


def test_the_command_runs_and_the_lock_is_free_again(cluster):
    done = cluster.run("lock", "simple", "--", "sh", "-c", "echo $QUERN_LOCK $QUERN_FENCE")
    name, fence = done.stdout.split()
    assert name == b"simple" and int(fence) > 0
    assert int(cluster.run("lock", "other", "--", "sh", "-c", "echo $QUERN_FENCE").stdout) > int(fence)
    assert not locks(cluster)
    cluster.run("lock", "simple", "--", "sh", "-c", "exit 7", status=7)
    cluster.run("lock", "simple", "--", "sh", "-c", "kill -9 $$", status=137)
    cluster.run("lock", "simple", "--", "/no/such/command", status=127)
    assert not locks(cluster)


def test_many_take_turns(cluster, tmp_path):
    """Each adds its fence to a file, and would see another in the midst."""
    log, busy = tmp_path / "log", tmp_path / "busy"
    script = f"mkdir {busy} && echo $QUERN_FENCE >>{log} && sleep 0.05 && rmdir {busy}"
    crowd = [start(cluster, "turns", "sh", "-c", script, options=("--wait", "2m")) for _ in range(20)]
    for process in crowd:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    fences = [int(line) for line in log.read_text().split()]
    assert len(fences) == 20 and fences == sorted(set(fences))


def test_it_is_not_waited_for_longer_than_said(cluster):
    holder = start(cluster, "held", "sleep", "60")
    wait_running(holder)
    begun = time.monotonic()
    done = cluster.run("lock", "held", "--wait", "1s", "--", "true", status=1)
    assert b"held" in done.stderr and done.stderr.count(b"\n") == 1
    assert time.monotonic() - begun >= 1
    holder.send_signal(signal.SIGTERM)  # handed on (SIGINT is ignored below a shell's &)
    holder.communicate(timeout=30)
    assert holder.returncode == 128 + signal.SIGTERM
    assert not locks(cluster)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_dead_holder_loses_its_lock(cluster):
    holder = start(cluster, "dead", "sleep", "60", options=("--ttl", "2s"))
    wait_running(holder)
    fence = locks(cluster)[0]["fence"]
    time.sleep(4)  # it is renewed
    assert locks(cluster)[0]["fence"] == fence
    child = int(subprocess.check_output(["pgrep", "-P", str(holder.pid)]))
    holder.kill()
    holder.communicate(timeout=30)  # its end of the pipe is closed: the command died with it
    wait_until(lambda: is_gone(child), what="the end of the command")
    done = cluster.run("lock", "dead", "--wait", "20s", "--", "sh", "-c", "echo $QUERN_FENCE")
    assert int(done.stdout) > fence


def test_a_holder_that_slept_kills_its_command(cluster, tmp_path):
    told = tmp_path / "told"
    holder = start(cluster, "slept", "sh", "-c", f"trap 'touch {told}; exit 0' TERM; while :; do sleep 0.1; done",
                   options=("--ttl", "2s"))
    wait_running(holder)
    holder.send_signal(signal.SIGSTOP)
    done = cluster.run("lock", "slept", "--wait", "20s", "--", "true")
    assert done.returncode == 0
    holder.send_signal(signal.SIGCONT)
    _, errors = holder.communicate(timeout=30)
    assert holder.returncode == 1 and b"was lost" in errors
    assert not told.exists()  # too late to be polite


def test_the_command_is_told_while_the_lock_is_still_held(cluster, tmp_path):
    """All nodes are stopped: the lease cannot be renewed."""
    told = tmp_path / "told"
    holder = start(cluster, "cut", "sh", "-c", f"trap 'touch {told}; exit 0' TERM; while :; do sleep 0.1; done",
                   options=("--ttl", "5s"))
    wait_running(holder)
    for node in (1, 2, 3):
        cluster.kill(node, signal.SIGSTOP)
    try:
        _, errors = holder.communicate(timeout=30)
    finally:
        for node in (1, 2, 3):
            cluster.kill(node, signal.SIGCONT)
    assert holder.returncode == 1 and b"was lost" in errors and told.exists()
    wait_until(lambda: not locks(cluster), what="the end of the lease")


def test_the_death_of_the_leader_does_not_lose_a_lock(cluster):
    holder = start(cluster, "kept", "sleep", "8", options=("--ttl", "3s"))
    wait_running(holder)
    fence = locks(cluster)[0]["fence"]
    victim = cluster.leader()
    cluster.kill(victim)
    cluster.run("lock", "kept", "--wait", "1s", "--", "true", status=1)
    cluster.restart(victim)
    assert locks(cluster)[0]["fence"] == fence
    _, errors = holder.communicate(timeout=60)
    assert holder.returncode == 0, errors


def test_an_administrator_breaks_a_lock(cluster):
    holder = start(cluster, "broken", "sleep", "60", options=("--ttl", "2s"))
    wait_running(holder)
    api(cluster, "POST", "/-/api/v1/locks/broken/break", b"{}")
    _, errors = holder.communicate(timeout=30)
    assert holder.returncode == 1 and b"was lost" in errors
    assert b"LockLost" in api(cluster, "POST", "/-/api/v1/locks/broken/break", b"{}", status=409)


@pytest.mark.parametrize("words, status, text", [
    (("lock", "x"), 2, "behind --"),
    (("lock", "--", "true"), 2, "NAME"),
    (("lock", "a/b", "--", "true"), 1, "has no"),
    (("lock", "a b", "--", "true"), 1, "printable"),
    (("lock", "x" * 201, "--", "true"), 1, "200"),
    (("lock", "x", "--ttl", "10ms", "--", "true"), 1, "from 1 second"),
    (("lock", "x", "--ttl", "soon", "--", "true"), 2, "--ttl"),
])
def test_what_makes_no_sense_is_refused(cluster, words, status, text):
    done = cluster.run(*words, status=status)
    assert text in done.stderr.decode() and done.stderr.count(b"\n") == 1, done.stderr
