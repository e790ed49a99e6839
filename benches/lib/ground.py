"""What the engines are measured on: a fresh filesystem, a registry that has the images, and nothing left afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from measure import Stopwatch


def output(command):
    """First line of what a command prints, or nothing if it cannot be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    except OSError:
        return ""
    return (done.stdout.decode(errors="replace").strip().splitlines() or [""])[0]


def works(command):
    """Whether it can be run and says 0."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def must(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(map(str, command))}` failed: {done.stdout.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Ground:
    """Made on entering, taken away on leaving."""

    def __init__(self, opts):
        self.opts = opts
        self.started = []

    def __enter__(self):
        # Short, because a unix socket's path (dockerd makes some below it) has room for 108 bytes.
        self.work = Path(tempfile.mkdtemp(prefix="side-", dir=self.opts.dir))
        self.disk = self.work / "disk"
        os.environ["TRACE_ROOT"] = f"{self.disk}/trace"
        self.watch = Stopwatch()
        self.watches = [self.watch]
        try:
            self.make()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        self.leave()

    def make(self):
        image = self.work / "disk.img"
        with open(image, "wb") as f:
            f.truncate(self.opts.disk << 30)
        # Everything the filesystem would do later by itself, in the middle of a measurement, is done now.
        must(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)])
        self.disk.mkdir()
        must(["mount", "-o", "loop", str(image), str(self.disk)])
        self.filesystem = f"fresh ext4 with a journal on a loop device, its file on {self.kind_of(self.work)}"
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        hybrid = Path("/sys/fs/cgroup/unified/cgroup.controllers").exists()
        self.cgroups = "v2" if v2 else "hybrid" if hybrid else "v1"
        self.registry = f"127.0.0.1:{free_port()}"
        config = self.work / "registry.yml"
        config.write_text(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n"
            f"    rootdirectory: {self.work}/registry\nhttp:\n  addr: {self.registry}\n"
        )
        self.serve(["docker-registry", "serve", str(config)], self.registry)

    @staticmethod
    def kind_of(path):
        return output(["stat", "-f", "-c", "%T", str(path)])

    def serve(self, command, address=None, ready=None):
        """Starts a server that lasts until the end, and waits until it answers."""
        log = open(self.work / f"{Path(command[0]).name}.log", "ab")
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(child)
        until = time.monotonic() + 30
        while time.monotonic() < until and child.poll() is None:
            try:
                if ready is not None:
                    if ready():
                        return child
                else:
                    host, port = address.split(":")
                    socket.create_connection((host, int(port)), 1).close()
                    return child
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"`{' '.join(command)}` does not answer; see its log:\n{Path(log.name).read_text()[-2000:]}")

    def fill(self, images):
        """Copies images from the built-in hub to the registry."""
        hub = f"127.0.0.1:{free_port()}"
        server = self.serve([self.opts.trace, "hub", "serve", "--listen", hub, "-q"], hub)
        for image in dict.fromkeys(images):
            copy = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
            must([*copy, f"docker://{hub}/{image}", f"docker://{self.registry}/{image}"])
        self.stop(server)

    def settle(self):
        """Writes out what earlier measurements left dirty, so that it does not burden the next one."""
        subprocess.run(["sync", "-f", str(self.disk)], check=True)

    def masked(self, command):
        """A command line without the paths of this one measurement."""
        return " ".join(command).replace(str(self.work), "$WORK").replace(self.registry, "$REGISTRY").replace(
            self.opts.trace, "trace"
        )

    def stop(self, child):
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child in self.started:
            self.started.remove(child)

    def leave(self):
        for watch in self.watches:
            watch.stop()
        for child in reversed(self.started[:]):
            self.stop(child)
        # What engines mounted below the measured filesystem goes first, the deepest first of all.
        mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.work}/")), key=len, reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.work, ignore_errors=True)
