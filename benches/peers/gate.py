"""Measures a command on a machine that is otherwise idle, and says how idle it stayed. Linux alone."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

CORES = os.cpu_count()


@dataclass(frozen=True)
class Run:
    """A finished command: its exit code, what it wrote, what it took, and the share of the machine that others took."""

    code: int
    output: str
    errors: str
    seconds: float
    peak_mib: float
    foreign: float


@dataclass(frozen=True)
class Gate:
    """What counts as idle, how often a disturbed run is made again, and how many seconds to wait before each."""

    limit: float = 0.04
    tries: int = 3
    patience: float = 120

    def measure(self, command, environment, stdin):
        """The first run within the limit, or else the least disturbed one."""
        runs = []
        while len(runs) < self.tries:
            self.wait()
            runs.append(once(command, environment, stdin))
            if runs[-1].code != 0 or runs[-1].foreign <= self.limit:
                return runs[-1]
        return min(runs, key=lambda run: run.foreign)

    def wait(self):
        began = time.monotonic()
        while time.monotonic() - began < self.patience:
            before, at = busy(), time.monotonic()
            time.sleep(1.5)
            if busy() - before <= self.limit * CORES * (time.monotonic() - at):
                return


def once(command, environment, stdin):
    file = tempfile.TemporaryFile
    with file("w+") as given, file("w+") as out, file("w+") as err:
        given.write(stdin)
        given.seek(0)
        before, began = busy(), time.monotonic()
        process = subprocess.Popen(command, env=os.environ | environment, stdin=given, stdout=out, stderr=err)
        try:
            # What the process used, and those that it waited for.
            _, status, used = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.kill()
            raise
        seconds = time.monotonic() - began
        foreign = (busy() - before - used.ru_utime - used.ru_stime) / (CORES * seconds)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Run(process.returncode, out.read(), err.read(), seconds, used.ru_maxrss / 1024, max(0.0, foreign))


def busy():
    """Seconds that all cores together have worked or were kept from it by other machines, since this one started."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
