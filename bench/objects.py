"""Objects: GET and PUT, large and small, against nginx, dd, openssl and a bare log."""
import re
import subprocess

from measure import check, measurement

LARGE = ("--size", "64M", "--keys", "4")
SMALL = ("--size", "4K", "--keys", "1000")
BUSY = ("--connections", "64")


def prepare(bench, url, sizes):
    """The objects on both sides."""
    count = sizes[-1]
    bench.run("mb", "bench")
    bench.load("put", "bench/x-", *sizes, "--count", count, "--connections", "4")
    if url:
        bench.load("put", "bench/x-", *sizes, "--count", count, "--connections", "4", url=url)


def compare_get(bench, sizes, connections, seconds, figure):
    with bench.server(), bench.nginx() as url:
        prepare(bench, url, sizes)
        words = (*sizes, "--connections", connections, "--duration", seconds)
        yield (lambda: bench.load("get", "bench/x-", *words)[figure],
               lambda: bench.load("get", "bench/x-", *words, url=url)[figure])


@measurement(name="get-64m-1", unit="MB/s", reference_name="nginx static", bar=0.7, better="higher")
def get_large_alone(bench):
    yield from compare_get(bench, LARGE, "1", "2s", "megabytes_per_second")


@measurement(name="get-64m-4", unit="MB/s", reference_name="nginx static", bar=0.7, better="higher")
def get_large(bench):
    yield from compare_get(bench, LARGE, "4", "2s", "megabytes_per_second")


@measurement(name="get-4k-64", unit="requests/s", reference_name="nginx static, unsigned", bar=0.3, better="higher")
def get_small(bench):
    yield from compare_get(bench, SMALL, "64", "3s", "requests_per_second")


def md5_speed():
    """openssl's, in MB/s."""
    said = check(["openssl", "speed", "-seconds", "1", "-bytes", "65536", "-evp", "md5"])
    return float(re.findall(r"([\d.]+)k\s*$", said)[-1]) / 1000


def dd_speed(path):
    """64 MiB, durable, in MB/s."""
    said = subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=64", "conv=fdatasync"],
                          stderr=subprocess.PIPE, text=True, check=True, env={"LC_ALL": "C"}).stderr
    path.unlink()
    return 64 * 1.048576 / float(re.search(r"copied, ([\d.e-]+) s", said)[1])


@measurement(name="put-64m-1", unit="MB/s", reference_name="slower of openssl md5 and dd fdatasync", bar=0.5,
             better="higher")
def put_large(bench):
    with bench.server():
        bench.run("mb", "bench")
        yield (lambda: bench.load("put", "bench/x-", *LARGE, "--connections", "1", "--count",
                                  "4")["megabytes_per_second"],
               lambda: min(md5_speed(), dd_speed(bench.folder / "dd")))


def put_rate(bench, url=None):
    return bench.load("put", "bench/x-", *SMALL, *BUSY, "--duration", "3s", url=url)["requests_per_second"]


@measurement(name="put-4k-64-log", unit="requests/s", reference_name="bare log, group fdatasync", bar=0.15,
             better="higher")
def put_small(bench):
    with bench.server():
        bench.run("mb", "bench")
        yield (lambda: put_rate(bench),
               lambda: float(check([bench.build / "bench_log_writers", bench.folder / "log", "64", "4096", "3"])))


@measurement(name="put-4k-64-nginx", unit="requests/s", reference_name="nginx WebDAV PUT, not synced", bar=1.5,
             better="higher")
def put_small_nginx(bench):
    with bench.server(), bench.nginx() as url:
        prepare(bench, url, SMALL)
        yield (lambda: put_rate(bench), lambda: put_rate(bench, url))
