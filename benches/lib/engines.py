"""How each engine is asked for the same thing, and what it does and does not do for it."""

import json
import shutil
from pathlib import Path

import bundle
from ground import must, output, works
from measure import Stopwatch


class Engine:
    """What the measurement needs to know of an engine; the defaults are those of one that only runs bundles."""

    name = note = version = ""
    runs = True
    pulls = False
    measures_memory = False

    def __init__(self, ground, opts, hello):
        self.ground, self.opts, self.hello = ground, opts, hello
        self.watch = ground.watch

    def ready(self):
        """Prepares it; False if it is not here or cannot work here, said on stderr."""
        raise NotImplementedError

    def ref(self, image):
        return f"{self.ground.registry}/{image}"

    def takes(self, image):
        return self.pulls

    def forget_before_cold(self, image):
        self.forget(image)

    def cold(self, image):
        return self.run(image)


class Trace(Engine):
    name = "trace"
    pulls = measures_memory = True
    note = (
        "image look-up, container directory, overlay root, cgroups (version 2's and, on a hybrid host, every one of version 1), 6 namespaces, "
        "14 capabilities, masked and read-only paths, output through pipes; docker's seccomp filter; then the trace file and the report."
    )

    def ready(self):
        self.version = output([self.opts.trace, "--version"])
        return bool(self.version)

    def run(self, image):
        return [self.opts.trace, "run", "--network", "none", self.ref(image)]

    def cold(self, image):
        return [self.opts.trace, "run", "--cold", "--network", "none", self.ref(image)]

    def pull(self, image):
        return [self.opts.trace, "pull", self.ref(image)]

    def forget_before_cold(self, image):
        pass

    def forget(self, image):
        if works([self.opts.trace, "image", "rm", self.ref(image)]):
            must([self.opts.trace, "prune", "-f"])


class Bundle(Engine):
    """A runtime that is given an extracted root and a config.json."""

    # Each is tried until one works: what it says, flags, arguments of `bundle.config`.
    ways = [("", [], {})]

    def ready(self):
        if not shutil.which(self.name):
            return False
        self.version = output([self.name, "--version"])
        root = self.ground.disk / f"{self.name}-bundle"
        args = bundle.extract(self.ground, self.ref(self.hello), root)
        for said, flags, without in self.ways:
            (root / "config.json").write_text(json.dumps(bundle.config(args, **without), indent=1))
            command = [self.name, "--root", f"{self.ground.disk}/{self.name}", *flags, "run", "--bundle", str(root), "side"]
            if self.watch.works(command):
                self.command = command
                self.note = (
                    "a bundle made beforehand, the same namespaces, capabilities, seccomp profile, masked and read-only paths" + said +
                    ". No image look-up, no overlay (its root is the extracted directory itself), no pipes for the "
                    "output, no /etc/hosts, hostname and resolv.conf, no report."
                )
                return True
        return False

    def run(self, image):
        return self.command


class Crun(Bundle):
    name = "crun"
    ways = [("", [], {}), (", cgroup by cgroupfs", ["--cgroup-manager=cgroupfs"], {})]

    def ready(self):
        if super().ready():
            return True
        # It refuses hybrid hosts by looking at this directory, whatever it is told about cgroups.
        unified = "/sys/fs/cgroup/unified"
        if not (shutil.which("crun") and Path(unified).exists()):
            return False
        said = f", but **no cgroup, cgroup namespace and cgroup mount** (it refuses hybrid hosts; {unified} is hidden from it)"
        self.ways = [(said, ["--cgroup-manager=disabled"], {"cgroup": False})]
        self.watch = Stopwatch(hidden=unified)
        self.ground.watches.append(self.watch)
        shutil.rmtree(self.ground.disk / "crun-bundle")
        return super().ready()


class Runc(Bundle):
    name = "runc"


class Podman(Engine):
    name = "podman"
    pulls = measures_memory = True

    def ready(self):
        if not shutil.which("podman"):
            return False
        disk = self.ground.disk
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        self.version = output(["podman", "--version"])
        for runtime in ["crun", "runc"]:
            self.base = ["podman", "--root", f"{disk}/podman", "--runroot", f"{disk}/podman-run", "--storage-driver", "overlay"]
            self.base += ["--cgroup-manager", "cgroupfs", "--runtime", runtime]
            for self.more in [[], limits]:
                if shutil.which(runtime) and works(self.run(self.hello)):
                    self.version += f", {output([runtime, '--version'])}"
                    self.note = (
                        f"with {runtime}; image look-up, overlay root, cgroups, conmon, its own seccomp profile; no log, to be "
                        "nearer to the others."
                    )
                    return True
        return False

    def run(self, image):
        flags = ["--rm", "--network", "none", "--log-driver", "none"]
        return [*self.base, "run", *flags, *self.more, "--tls-verify=false", self.ref(image)]

    def pull(self, image):
        return [*self.base, "pull", "-q", "--tls-verify=false", self.ref(image)]

    def forget(self, image):
        works([*self.base, "rmi", "-f", self.ref(image)])


class Docker(Engine):
    name = "docker"
    pulls = True
    note = (
        "client, and a daemon that is running already; image look-up, overlay2 root, cgroups, containerd and its shim, its "
        "seccomp profile; no log, to be nearer to the others. What the daemon does after the client has gone is not in the time."
    )

    def ready(self):
        if not (shutil.which(self.opts.docker) and shutil.which("dockerd")):
            return False
        work, disk = self.ground.work, self.ground.disk
        self.base = [self.opts.docker, "-H", f"unix://{work}/d.sock"]
        daemon = ["dockerd", "--data-root", f"{disk}/docker", "--exec-root", f"{work}/dx", "--pidfile", f"{work}/d.pid"]
        daemon += ["-H", f"unix://{work}/d.sock", "--bridge", "none", "--iptables=false", "--ip-forward=false"]
        try:
            self.ground.serve(daemon, ready=lambda: works([*self.base, "version"]))
        except SystemExit as why:
            print(why)
            return False
        versions = [output([*self.base, "version", "--format", "{{.%s.Version}}" % side]) for side in ("Client", "Server")]
        self.version = f"client {versions[0]}, server {versions[1]}"
        return works(self.run(self.hello))

    def run(self, image):
        flags = ["--rm", "--network", "none", "--log-driver", "none"]
        return [*self.base, "run", *flags, self.ref(image)]

    def pull(self, image):
        return [*self.base, "pull", "-q", self.ref(image)]

    def takes(self, image):
        return not image.endswith("-zstd")

    def forget(self, image):
        works([*self.base, "rmi", "-f", self.ref(image)])


class Skopeo(Engine):
    name = "skopeo"
    runs = False
    pulls = True
    note = "downloads and verifies blobs into an OCI layout; decompresses and extracts nothing. A floor, not a rival."

    def ready(self):
        self.version = output(["skopeo", "--version"])
        return bool(self.version)

    def pull(self, image):
        layout = f"{self.ground.disk}/skopeo"
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
        return [*copy, f"docker://{self.ref(image)}", f"oci:{layout}:image"]

    def forget(self, image):
        shutil.rmtree(self.ground.disk / "skopeo", ignore_errors=True)


def all_of(ground, opts, hello):
    return [kind(ground, opts, hello) for kind in (Trace, Crun, Runc, Podman, Docker, Skopeo)]
