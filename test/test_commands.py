"""The command line is a contract: words, exit statuses, one line for what went wrong."""

import json
import os
import signal
import subprocess
import time

import pytest

from lib.cluster import ACCESS_KEY, QUERN, SECRET_KEY, free_ports, wait_until


def quern(*words, env=None, **options):
    return subprocess.run([QUERN, *words], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **(env or {})), **options)


def commands():
    listing = quern("help").stdout
    return [line.split()[0] for line in listing.splitlines() if line.startswith("  ")]


def one_line(text):
    return len(text.splitlines()) == 1


def test_help_lists_what_was_promised():
    promised = {"serve", "dev", "mb", "rb", "ls", "stat", "put", "get", "cat", "rm", "run", "jobs",
                "job", "status", "ring", "doctor", "help"}
    assert promised <= set(commands())


def test_every_command_has_help_with_an_example():
    for command in commands():
        for words in ([command, "--help"], ["help", command]):
            shown = quern(*words)
            assert shown.returncode == 0 and shown.stderr == "", command
            assert shown.stdout.startswith("usage: quern " + command), command
            assert f"quern {command}" in shown.stdout.split("\nExample")[1], command


def test_what_is_not_understood_is_refused():
    for words in [["nonsense"], ["ls", "--nonsense"], ["put", "x"], ["mb"], ["help", "nonsense"],
                  ["serve", "extra"], ["dev", "--nodes", "many"], ["serve", "--join", "host:1"],
                  ["dev", "--"]] + [[c, "--nonsense"] for c in commands()]:
        refused = quern(*words)
        assert refused.returncode == 2 and one_line(refused.stderr), words
        assert refused.stdout == "", words
    assert quern().returncode == 2


def test_wrong_endpoint_wrong_key_missing_file(cluster, bucket, tmp_path):
    nobody = {"QUERN_ENDPOINT": f"http://127.0.0.1:{free_ports(1)}"}
    for env, words in [
            (nobody, ["ls"]),
            ({"QUERN_ENDPOINT": "ftp://x"}, ["ls"]),
            ({"QUERN_ENDPOINT": "http://no-such-host.invalid"}, ["ls"]),
            ({"QUERN_ACCESS_KEY": "wrongaccess"}, ["ls"]),
            ({"QUERN_SECRET_KEY": "wrongsecret"}, ["ls"]),
            ({}, ["put", str(tmp_path / "absent"), f"{bucket}/x"]),
            ({}, ["put", str(tmp_path), f"{bucket}/x"]),
            ({}, ["get", f"{bucket}/absent", str(tmp_path / "out")]),
            ({}, ["cat", f"{bucket}/absent"]),
            ({}, ["stat", f"{bucket}/absent"]),
            ({}, ["rm", f"{bucket}/absent"]),
            ({}, ["ls", "no-such-bucket"])]:
        failed = quern(*words, env=dict(cluster.environment(), **env))
        assert failed.returncode == 1, (words, failed.stderr)
        assert one_line(failed.stderr) and failed.stdout == "", (words, failed.stderr)
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == []


def test_no_keys_at_all(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QUERN_", "AWS_"))}
    failed = subprocess.run([QUERN, "ls"], capture_output=True, text=True,
                            env=dict(env, HOME=str(tmp_path)))
    assert failed.returncode == 1 and "no keys" in failed.stderr


def test_configuration_file_and_aws_names(cluster, tmp_path):
    base = {k: v for k, v in os.environ.items() if not k.startswith(("QUERN_", "AWS_"))}
    aws = dict(base, HOME=str(tmp_path), AWS_ENDPOINT_URL=cluster.url(),
               AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    assert subprocess.run([QUERN, "ls"], env=aws).returncode == 0
    (tmp_path / ".config/quern").mkdir(parents=True)
    (tmp_path / ".config/quern/config").write_text(
        f"endpoint = {cluster.url()}\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\n")
    assert subprocess.run([QUERN, "ls"], env=dict(base, HOME=str(tmp_path))).returncode == 0


def test_json_of_listings(cluster, bucket):
    cluster.run("put", "-", f"{bucket}/dir/one", data=b"1")
    rows = [json.loads(line) for line in
            cluster.run("ls", "-r", "--json", bucket).stdout.splitlines()]
    assert any(row["key"] == "dir/one" and row["size"] == 1 for row in rows)
    stat = json.loads(cluster.run("stat", "--json", f"{bucket}/dir/one").stdout)
    assert stat["content-length"] == "1" and stat["place"] == f"{bucket}/dir/one"
    status = json.loads(cluster.run("status", "--json").stdout)
    assert len(status["nodes"]) == 3
    assert {group["group"] for group in status["groups"]} == set(range(9))
    ring = json.loads(cluster.run("ring", "--json").stdout)
    assert ring


def test_status_ring_doctor_for_people(cluster, bucket, big):
    cluster.run("put", "-", f"{bucket}/placed", data=big)
    status = cluster.run("status").stdout.decode()
    assert all(f"node{i}" in status for i in (1, 2, 3))
    assert max(len(line) for line in status.splitlines()) <= 80
    placed = cluster.run("ring", f"s3://{bucket}/placed").stdout.decode()
    assert all(f"node{i}" in placed for i in (1, 2, 3))
    shares = cluster.run("ring").stdout.decode()
    assert all(f"node{i}" in shares for i in (1, 2, 3))
    doctor = cluster.run("doctor").stdout.decode()
    assert "sandbox" in doctor


def test_folder_places(cluster, bucket, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    cluster.run("put", str(tmp_path / "a"), str(tmp_path / "b"), f"{bucket}/folder")
    assert cluster.run("cat", f"{bucket}/folder/a", f"{bucket}/folder/b").stdout == b"ab"
    cluster.run("put", str(tmp_path / "a"), bucket)
    assert cluster.run("cat", f"{bucket}/a").stdout == b"a"
    cluster.run("get", f"{bucket}/folder/b", str(tmp_path))
    assert (tmp_path / "b").read_text() == "b"


def test_a_closed_stdout_is_no_success(cluster, bucket):
    cluster.run("put", "-", f"{bucket}/full", data=b"x" * 100000)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QUERN, "cat", f"{bucket}/full"], stdout=full,
                              stderr=subprocess.PIPE, env=cluster.environment())
    assert done.returncode == 1


# ---- serve ----

def start_serve(directory, *options, env=None):
    port = free_ports(1)
    process = subprocess.Popen(
        [QUERN, "serve", "--data", str(directory), "--listen", f"127.0.0.1:{port}",
         "--peer", f"127.0.0.1:{port + 100}", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, **(env or {})))
    return process, port


def test_serve_says_one_line_and_stops_cleanly(tmp_path):
    process, port = start_serve(tmp_path / "data")
    assert process.stdout.readline() == f"ready http://127.0.0.1:{port}\n"
    credentials = tmp_path / "data/credentials"
    assert credentials.stat().st_mode & 0o777 == 0o600
    env = dict(os.environ, QUERN_ENDPOINT=f"http://127.0.0.1:{port}",
               **dict(line.split("=") for line in credentials.read_text().split()))
    assert subprocess.run([QUERN, "mb", "hello"], env=env).returncode == 0
    process.send_signal(signal.SIGTERM)
    rest, log = process.communicate(timeout=30)
    assert process.returncode == 0 and rest == ""
    assert str(credentials) in log


def test_serve_refuses_a_directory_in_use_and_a_port_in_use(tmp_path):
    process, port = start_serve(tmp_path / "data")
    try:
        process.stdout.readline()
        second, _ = start_serve(tmp_path / "data")
        assert "in use" in second.communicate(timeout=30)[1].splitlines()[-1]
        assert second.returncode == 1
        other = quern("serve", "--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{port}",
                      "--peer", f"127.0.0.1:{free_ports(1)}")
        assert other.returncode == 1 and one_line(other.stderr)
        assert f"{port}" in other.stderr and "in use" in other.stderr
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_serve_refuses_newer_formats_and_foreign_catalogues(tmp_path):
    directories = []
    for name in ("one", "two"):
        process, _ = start_serve(tmp_path / name)
        process.stdout.readline()
        process.terminate()
        process.communicate(timeout=30)
        directories.append(tmp_path / name)
    one, two = directories
    (one / "meta").rename(one / "meta.own")
    (two / "meta").rename(one / "meta")
    process, _ = start_serve(one)
    out, log = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "" and "another cluster" in log.splitlines()[-1]
    identity = two / "identity.json"
    whole = identity.read_text()
    assert '"format": 2' in whole
    for number, text in ((3, "newer quern"), (1, "older quern")):
        identity.write_text(whole.replace('"format": 2', f'"format": {number}'))
        process, _ = start_serve(two)
        out, log = process.communicate(timeout=60)
        assert process.returncode == 1 and one_line(log) and text in log


def test_serve_says_that_a_directory_cannot_be_written():
    process, _ = start_serve("/proc/quern-data")
    out, log = process.communicate(timeout=30)
    assert process.returncode == 1 and one_line(log) and "/proc" in log


def test_serve_tells_systemd(tmp_path):
    import socket
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        process, _ = start_serve(tmp_path / "data", env={"NOTIFY_SOCKET": path})
        assert listener.recv(100) == b"READY=1"
        process.terminate()
        process.communicate(timeout=30)


# ---- dev ----

def processes_in(directory):
    """Processes that have the folder in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if str(directory).encode() in file.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_dev_runs_a_command_and_gives_its_status(tmp_path):
    port = free_ports(2)
    done = quern("dev", "--nodes", "2", "--dir", str(tmp_path / "d"), "--port", str(port), "--",
                 "sh", "-c", f"echo $QUERN_ENDPOINT $AWS_ENDPOINT_URL; {QUERN} mb made && exit 7")
    assert done.returncode == 7
    urls = f"http://127.0.0.1:{port},http://127.0.0.1:{port + 1}"
    assert done.stdout == f"{urls} http://127.0.0.1:{port}\n"
    assert processes_in(tmp_path / "d") == []
    again = quern("dev", "--dir", str(tmp_path / "d"), "--port", str(port), "--", QUERN, "ls")
    assert again.returncode == 0 and "made" in again.stdout.split()
    wrong = quern("dev", "--nodes", "3", "--dir", str(tmp_path / "d"), "--port", str(port))
    assert wrong.returncode == 1 and one_line(wrong.stderr)


def test_dev_without_dir_leaves_nothing(tmp_path):
    done = quern("dev", "--nodes", "1", "--port", str(free_ports(1)), "--", "true",
                 env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0 and os.listdir(tmp_path) == []


def test_dev_says_that_a_port_is_in_use(cluster, tmp_path):
    done = quern("dev", "--nodes", "1", "--dir", str(tmp_path / "d"), "--port",
                 str(cluster.first_port), "--", "true")
    assert done.returncode == 1 and one_line(done.stderr) and "in use" in done.stderr


def test_dev_killed_leaves_no_orphans(tmp_path):
    directory = tmp_path / "d"
    process = subprocess.Popen([QUERN, "dev", "--nodes", "2", "--dir", str(directory), "--port",
                                str(free_ports(2))], stdout=subprocess.PIPE, text=True)
    assert "are ready" in process.stdout.readline()
    os.kill(int((directory / "node2/quern.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: quern("dev", "start", "2", "--dir", str(directory)).returncode == 0)
    assert len(processes_in(directory / "node")) >= 2
    process.kill()
    process.communicate()
    wait_until(lambda: processes_in(directory) == [], what="the end of all nodes")


def test_dev_start_brings_a_killed_node_back(tmp_path):
    directory = tmp_path / "d"
    process = subprocess.Popen([QUERN, "dev", "--nodes", "3", "--dir", str(directory), "--port",
                                str(free_ports(3))], stdout=subprocess.PIPE, text=True)
    assert "are ready" in process.stdout.readline()
    running = quern("dev", "start", "1", "--dir", str(directory))
    assert running.returncode == 1 and "runs already" in running.stderr
    old = int((directory / "node1/quern.pid").read_text())
    starting = subprocess.Popen([QUERN, "dev", "start", "1", "--dir", str(directory)])
    time.sleep(0.3)  # it finds the node there still, as after a kill that takes its time
    os.kill(old, signal.SIGKILL)
    assert starting.wait(60) == 0
    assert int((directory / "node1/quern.pid").read_text()) != old
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0 and processes_in(directory) == []


@pytest.mark.parametrize("words", [["start"], ["start", "9", "--dir", "/tmp"], ["stop", "1"]])
def test_dev_start_misused(words):
    refused = quern("dev", *words)
    assert refused.returncode == 2 and one_line(refused.stderr)
