"""File systems on sparse files behind loop devices; power cuts and flipped bytes."""

import errno
import os
import subprocess
import time

from network import run

MAKE = {"xfs": ["mkfs.xfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1"]}


class Disk:
    """One file system of its own. The loop device goes when it is unmounted, also by the end of the
    mount namespace."""

    def __init__(self, kind, image, mount, size):
        self.kind, self.image, self.mount = kind, image, mount
        with open(image, "wb") as file:
            file.truncate(size)
        run(*MAKE[kind], image)
        os.makedirs(mount, exist_ok=True)
        self.attach()

    def attach(self):
        run("mount", "-t", self.kind, "-o", "loop", self.image, self.mount)

    def cut(self):
        """The power fails: what is not on the disk, and not in the journal on the disk, is gone."""
        run("xfs_io", "-x", "-c", "shutdown", self.mount)

    def fill(self):
        """No block is free any more."""
        with open(f"{self.mount}/foreign", "ab") as file:
            step = 64 << 20
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError as failure:
                    if failure.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def make_room(self):
        os.unlink(f"{self.mount}/foreign")

    def detach(self, seconds=60):
        """Until nobody has it, not in another mount namespace either: only then a mount is a new one."""
        deadline = time.monotonic() + seconds
        is_mounted = True
        while True:
            if is_mounted:
                done = subprocess.run(["umount", self.mount], capture_output=True, text=True, check=False)
                is_mounted = done.returncode != 0
            if not is_mounted and not run("losetup", "-j", self.image).strip():
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.mount} cannot be unmounted: {done.stderr.strip()}")
            time.sleep(0.02)


def files_below(folder, suffixes):
    found = []
    for path, _, names in os.walk(folder):
        found += [os.path.join(path, name) for name in names if name.endswith(suffixes)]
    return sorted(found)


def flip_bytes(paths, count, rng):
    """One bit in each of `count` places that hold something; says where."""
    places = []
    paths = [path for path in paths if os.path.getsize(path) > 0]
    for _ in range(count if paths else 0):
        path = rng.choice(paths)
        with open(path, "r+b") as file:
            offset = find_data(file, rng)
            if offset is None:
                continue
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
            places.append(f"{os.path.basename(path)}:{offset}")
    return places


def find_data(file, rng, tries=50):
    """An offset with something other than zeros around it; None when there seems to be none."""
    size = os.fstat(file.fileno()).st_size
    for _ in range(tries):
        offset = rng.randrange(size)
        file.seek(offset - offset % 512)
        if any(file.read(512)):
            return offset
    return None

