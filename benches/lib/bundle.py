"""An OCI bundle for runtimes that take no images, set up as near to what trace does as config.json can say."""

import functools
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ground import must

CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
    "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
]  # fmt: skip
MASKED = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
    "/sys/devices/virtual/powercap",
]  # fmt: skip
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def extract(ground, image, root):
    """Extracts an image of one layer to `root`/rootfs and gives its command."""
    layout = ground.work / "bundle-image"
    if not layout.exists():
        must(["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"dir:{layout}"])
    manifest = json.loads((layout / "manifest.json").read_text())
    (layer,) = manifest["layers"]
    (root / "rootfs").mkdir(parents=True)
    with tarfile.open(layout / layer["digest"].split(":")[1]) as tar:
        tar.extractall(root / "rootfs")
    config = json.loads((layout / manifest["config"]["digest"].split(":")[1]).read_text())["config"]
    return (config.get("Entrypoint") or []) + (config.get("Cmd") or [])


PROFILE = "github.com/moby/profiles/seccomp@v0.3.0"


@functools.cache
def seccomp():
    """docker's default profile for these capabilities, as docker hands it to its runtime. Go fetches the module."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    with tempfile.TemporaryDirectory() as here:
        told = subprocess.run([go, "mod", "download", "-json", PROFILE], cwd=here, capture_output=True, check=True).stdout
    profile = json.loads((Path(json.loads(told)["Dir"]) / "default.json").read_text())
    machine = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
    arch, scmp = machine[platform.machine()]
    caps = {f"CAP_{name}" for name in CAPABILITIES}
    rules = []
    for rule in profile["syscalls"]:
        with_, without = rule.get("includes") or {}, rule.get("excludes") or {}
        there = set(with_.get("caps", [])) <= caps and arch in with_.get("arches", [arch])
        if there and not caps & set(without.get("caps", [])) and arch not in without.get("arches", []):
            rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if key in rule})
    (arches,) = (entry for entry in profile["archMap"] if entry["architecture"] == scmp)
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [scmp, *arches["subArchitectures"]],
        "syscalls": rules,
    }


def config(args, cgroup=True):
    caps = [f"CAP_{name}" for name in CAPABILITIES]
    safe = ["nosuid", "noexec", "nodev"]

    def mount(destination, kind, options):
        return {"destination": destination, "type": kind, "source": kind, "options": options}

    mounts = [
        mount("/proc", "proc", safe),
        mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", [*safe, "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", safe),
        mount("/sys", "sysfs", [*safe, "ro"]),
    ]
    namespaces = ["pid", "network", "ipc", "uts", "mount"]
    if cgroup:
        mounts.append(mount("/sys/fs/cgroup", "cgroup", [*safe, "relatime", "ro"]))
        namespaces.append("cgroup")
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": False,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "side-by-side",
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "seccomp": seccomp(),
        },
    }
