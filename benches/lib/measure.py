"""A small process that starts commands one by one and takes their time. Asked on stdin, answers on stdout, in JSON lines.

It is a process of its own so that one can live in a mount namespace where something is hidden from an engine (see
`Stopwatch`), and so that all engines are started from an equally small parent.
"""

import gc
import json
import os
import subprocess
import sys
import time


def measure(command):
    """Wall nanoseconds of a whole process, and what the kernel says it and its children used."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
    ]
    begin = time.perf_counter_ns()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter_ns() - begin
    used = {"user_ns": round(usage.ru_utime * 1e9), "system_ns": round(usage.ru_stime * 1e9)}
    return {"wall_ns": wall, **used, "code": os.waitstatus_to_exitcode(status)}


class Stopwatch:
    """The parent's end. With `hidden`, an empty directory lies over that path for everything it starts."""

    def __init__(self, hidden=None):
        command = [sys.executable, "-I", __file__]
        if hidden:
            script = 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"'
            command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", hidden, *command]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise SystemExit("the process that takes the time has gone")
        return json.loads(answer)

    def measure(self, command):
        """Must succeed."""
        taken = self.take(command)
        code = taken.pop("code")
        if code != 0:
            said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
            raise SystemExit(f"`{' '.join(command)}` ended with {code} while it was measured; once more it says:\n{said}")
        return taken

    def works(self, command):
        return self.take(command)["code"] == 0

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


if __name__ == "__main__":
    gc.disable()
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
