"""Jobs: `quern run` against grep, xargs and GNU parallel on the same machine."""
import contextlib
import glob
import os
import time

from api import Api
from measure import check, cpu_s, measurement, process_tree, wall_s

INPUT_BYTES = 1 << 30
PIECE_BYTES = 64 << 20
PATTERN = "share/man"
TASKS = 300
JOBS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def make_input(bench):
    """A file of 1 GiB from the package file lists that the machine has, and its pieces."""
    lines = []
    for path in sorted(glob.glob("/var/lib/dpkg/info/*.list")):
        package = os.path.basename(path)[:-5]
        with open(path, encoding="utf-8", errors="replace") as file:
            lines += [f"{package} {line}" for line in file]
    block = "".join(lines).encode()
    pieces = bench.folder / "pieces"
    pieces.mkdir()
    whole = bench.folder / "input"
    with open(whole, "wb") as file:
        written = 0
        while written < INPUT_BYTES:
            written += file.write(block)
    check(["split", "-C", PIECE_BYTES, whole, pieces / "piece-"])
    return whole, pieces


def grep_job(bench, whole):
    """Puts the input; the job counts, and its sum must be right."""
    bench.run("mb", "bench")
    bench.run("put", whole, "bench/input")
    wanted = int(check(["grep", "-c", PATTERN, whole]))

    def run():
        counts = [int(word) for word in bench.run("run", "bench/input", "--", "grep", "-c", PATTERN).split()]
        if sum(counts) != wanted:
            raise RuntimeError(f"the job counted {sum(counts)} of {wanted} lines")
    return run


def timed(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@measurement(name="run-grep-xargs", unit="s", reference_name="xargs -P2 over 64 MiB pieces", bar=1.5, better="lower")
def grep_xargs(bench):
    whole, pieces = make_input(bench)
    with bench.cluster():
        job = grep_job(bench, whole)
        command = f"ls {pieces}/* | xargs -P2 -I{{}} sh -c 'grep -c {PATTERN} < {{}}' | cat"
        yield lambda: timed(job), lambda: wall_s(["sh", "-c", command])


@measurement(name="run-grep-parallel", unit="s", reference_name="parallel -j2 --pipepart", bar=0.7, better="lower")
def grep_parallel(bench):
    whole, _ = make_input(bench)
    with bench.cluster():
        job = grep_job(bench, whole)
        command = f"parallel -j2 --pipepart --block 64M -a {whole} grep -c {PATTERN} | cat"
        yield lambda: timed(job), lambda: wall_s(["sh", "-c", command])


def tree_cpu_s(pid):
    """What the processes and their ended children have used so far."""
    total = 0
    for process in process_tree(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{process}/stat", encoding="utf-8") as file:
                total += sum(int(field) for field in file.read().rpartition(")")[2].split()[11:15])
    return total / TICKS


@contextlib.contextmanager
def grep_job_cpu(bench):
    """The input, its pieces, and a function that runs the job and returns the CPU of servers, tasks and client."""
    whole, pieces = make_input(bench)
    with bench.cluster() as cluster:
        job = grep_job(bench, whole)

        def run():
            servers = tree_cpu_s(cluster.pid)
            client = os.times()
            job()
            after = os.times()
            return (tree_cpu_s(cluster.pid) - servers + after.children_user - client.children_user
                    + after.children_system - client.children_system)
        yield whole, pieces, run


@measurement(name="run-grep-cpu", unit="CPU s", reference_name="one grep", bar=1.3, better="lower")
def grep_cpu(bench):
    with grep_job_cpu(bench) as (whole, _, run):
        yield run, lambda: cpu_s(["sh", "-c", f"grep -c {PATTERN} < {whole} | cat"])


@measurement(name="run-grep-cpu-xargs", unit="CPU s", reference_name="xargs -P2 over 64 MiB pieces", bar=1.3, better="lower")
def grep_cpu_xargs(bench):
    """Two greps at once use more CPU than one after the other where cores share what they work with."""
    with grep_job_cpu(bench) as (_, pieces, run):
        command = f"ls {pieces}/* | xargs -P2 -I{{}} sh -c 'grep -c {PATTERN} < {{}}' | cat"
        yield run, lambda: cpu_s(["sh", "-c", command])


def xargs_true_s():
    """Seconds for each /bin/true under xargs -P2."""
    return wall_s(["sh", "-c", f"seq {TASKS} | xargs -P2 -n1 /bin/true"]) / TASKS


@measurement(name="job-one-chunk", unit="ms", reference_name="xargs -P2, each /bin/true", bar=10, better="lower")
def job_one_chunk(bench):
    """From submit to answer, one job after the other; the start of a client process is not in it."""
    with bench.server():
        small = bench.folder / "small"
        small.write_text("one line\n")
        bench.run("mb", "bench")
        bench.run("put", small, "bench/small")
        api = Api(bench.environment)

        def run_jobs():
            for _ in range(JOBS):
                if api.run("bench/small", "wc", "-l") != b"1\n":
                    raise RuntimeError("a job gave the wrong answer")
        yield lambda: 1000 * timed(run_jobs) / JOBS, lambda: 1000 * xargs_true_s()


@contextlib.contextmanager
def true_tasks(bench):
    """A function that runs TASKS tasks and returns how many a second."""
    with bench.server():
        bench.run("mb", "bench")
        bench.load("put", "bench/true/", "--size", "16", "--keys", TASKS, "--count", TASKS)
        command = [bench.quern, "run", "bench/true/", "--each", "object", "--", "/bin/true"]
        yield lambda: TASKS / wall_s(command, env=bench.environment)


@measurement(name="tasks-xargs", unit="tasks/s", reference_name="xargs -P2", bar=0.6, better="higher")
def tasks_xargs(bench):
    with true_tasks(bench) as run:
        yield run, lambda: 1 / xargs_true_s()


@measurement(name="tasks-parallel", unit="tasks/s", reference_name="parallel -j2", bar=5, better="higher")
def tasks_parallel(bench):
    with true_tasks(bench) as run:
        yield run, lambda: TASKS / wall_s(["sh", "-c", f"seq {TASKS} | parallel -j2 -n1 /bin/true"])
