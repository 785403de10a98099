"""What a debug kernel says about a piece of a test, for the scripts of this folder, in the guest.

    checks = Checks()
    ...                       whatever the case does
    checks.case("name")       ends the case: its namespaces and ip_vs must be gone, the kernel must have said nothing
    checks.end()

A case's TAP line comes after its details. kmemleak needs half a minute, so it looks at several cases together, and the time
of a lost object's allocation tells the case.
"""
import ctypes
import os
import re
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None)
DEBUG = "/sys/kernel/debug"
# What the kernel's checkers begin a report with, and how many lines of it are shown.
REPORT = re.compile(
    r"-{12}\[ cut here|WARNING:|BUG:|kernel BUG at|Oops|general protection|KASAN|KCSAN|UBSAN|INFO: possible|"
    r"possible recursive|possible circular|suspicious RCU|rcu: INFO|INFO: task .* blocked|refcount_t:|Kernel panic|"
    r"ODEBUG|leaked reference|ref_tracker:|unregister_netdevice: waiting|sysctl table check failed|sysctl duplicate|"
    r"scheduling while atomic|sleeping function called|has no CRC|Objects remaining|list_(add|del) corruption|"
    r"Voluntary context switch within RCU|INIT_WORK|held lock freed|lock held when returning|bad: scheduling")
SHOWN = 90
TOGETHER = 10  # cases for one look of kmemleak
HZ, FIRST_JIFFIES = 250, (1 << 32) - 300 * 250


def write(path, text):
    """One write: the first error is the caller's."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, str(text).encode())
    finally:
        os.close(fd)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def soon(condition, seconds=30):
    """Whether the condition holds within this time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def loaded():
    """Our modules in memory: (name, users)."""
    return [(line.split()[0], line.split()[2]) for line in read("/proc/modules").splitlines()
            if re.match(r"(ip_vs|xt_ipvs)", line)]


def unload():
    """Whether no module is left. What others use goes last."""
    while loaded():
        if not any(subprocess.run(["rmmod", name], check=False, stderr=subprocess.DEVNULL).returncode == 0
                   for name, users in loaded() if users == "0"):
            return False
    return True


def namespaces():
    """Network namespaces that still take memory: reference trackers of each have a file."""
    return sum(name.startswith("net_refcnt@") for name in os.listdir(DEBUG + "/ref_tracker"))


def left_behind():
    """What a module must not leave when it is gone, or was not loaded."""
    files = [name for name in os.listdir("/proc/net") if name.startswith("ip_vs")]
    if os.path.exists("/proc/sys/net/ipv4/vs"):
        files.append("/proc/sys/net/ipv4/vs")
    # A link is the name that a cache had while it was merged into another: the kernel leaves these.
    slab = "/sys/kernel/slab/"
    return files + [name for name in os.listdir(slab) if name.startswith("ip_vs") and not os.path.islink(slab + name)]


def lockdep_works():
    """It turns itself off after its first report, and when its tables are full."""
    return re.search(r"debug_locks:\s+1$", read("/proc/lockdep_stats"), re.M) is not None


class Places:
    """Where modules were loaded: kmemleak tells functions of those that are gone by address only."""

    def __init__(self):
        self.at = {}

    def note(self):
        for name, _ in loaded():
            self.at[int(read(f"/sys/module/{name}/sections/.text"), 0)] = name

    def name(self, line):
        hit = re.match(r" +0x([0-9a-f]{16})$", line)
        if not hit:
            return line
        address = int(hit[1], 16)
        start = max((at for at in self.at if at <= address), default=0)
        if not start:
            return line
        names = subprocess.run(["nm", "-n", "--defined-only", f"/repo/build/debug/{self.at[start]}.ko"], check=False,
                               capture_output=True, text=True).stdout.split("\n")
        before = [n.split() for n in names if re.match(r"[0-9a-f]{16} [tT]", n) and int(n[:16], 16) <= address - start]
        return f"{line} {before[-1][2]} [{self.at[start]}]" if before else line


class KernelLog:
    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)

    def lines(self):
        """What was logged since the last call."""
        lines = []
        while True:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:  # overwritten before we came to it
                lines.append("... (lines lost)")
                continue
            lines.append(record.split(";", 1)[1].split("\n")[0])

    def report(self):
        lines = self.lines()
        found = [n for n, line in enumerate(lines) if REPORT.search(line)]
        return lines[max(found[0] - 3, 0):found[0] + SHOWN] if found else []


def churn():
    """Allocates and frees much of every size on every CPU: the allocator's lists of free objects keep old pointers, which hide
    what was lost from kmemleak. System V messages are memory of just the size one asks for."""
    queues = [LIBC.msgget(0, 0o1600) for _ in range(100)]
    for cpu in os.sched_getaffinity(0):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            continue
        os.sched_setaffinity(0, [cpu])
        text = ctypes.create_string_buffer(8 + 4096)
        text[0] = 1  # the message's type
        for kind in (64, 96, 128, 192, 256, 512, 1024, 2048, 4096):
            size = max(kind - 48, 0)  # the kernel's header
            sent = [q for q in queues if not LIBC.msgsnd(q, text, size, 0o4000)]
            for q in sent:
                LIBC.msgrcv(q, text, size, 0, 0o4000)
        os._exit(0)
    for q in queues:
        LIBC.msgctl(q, 0, None)


class Checks:
    def __init__(self):
        self.failed = 0
        self.unlooked = []  # (start, name) of cases that kmemleak has not looked at
        self.start = time.monotonic()
        self.namespaces = namespaces()
        self.places = Places()
        self.leaks()  # what was lost before is not ours
        self.lockdep = lockdep_works()
        self.log = KernelLog()

    def leaks(self):
        """kmemleak's report. An object counts when it is older than 5 s, and did not change from scan to scan."""
        path = DEBUG + "/kmemleak"
        churn()
        time.sleep(5.5)
        write(path, "scan")
        write(path, "scan")
        found = read(path).splitlines()
        if found:
            write(path, "clear")
        return found

    def look_for_leaks(self):
        """A result of its own, for the cases since the last time."""
        if not self.unlooked:
            return
        problems = []
        for line in self.leaks():
            problems.append(self.places.name(line))
            if " jiffies " in line:
                when = (int(line.split(" jiffies ")[1].split()[0]) - FIRST_JIFFIES) / HZ
                problems.append("  in " + ([name for start, name in self.unlooked if start <= when] or ["?"])[-1])
        names = [name for _, name in self.unlooked]
        self.unlooked = []
        lost = sum(line.startswith("unreferenced") for line in problems)
        self.result(f"no memory lost from {names[0]} to {names[-1]}",
                    ([f"{lost} objects lost"] if lost else []) + problems[:3 * SHOWN])

    def case(self, name, problems=()):
        """Ends a case: problems are those its script found."""
        problems = list(problems)
        self.places.note()
        if not soon(unload):
            problems.append("modules cannot be unloaded: " + " ".join("=".join(m) for m in loaded()))
        elif left_behind():
            problems.append("left behind: " + " ".join(left_behind()))
        if not soon(lambda: namespaces() <= self.namespaces):
            problems.append(f"{namespaces() - self.namespaces} network namespaces are not freed")
            self.namespaces = namespaces()
        problems += self.log.report()
        if self.lockdep and not lockdep_works():
            problems.append("lockdep is off from here on")
            self.lockdep = False
        self.unlooked.append((self.start, name))
        self.result(name, problems)
        if len(self.unlooked) >= TOGETHER:
            self.look_for_leaks()

    def result(self, name, problems):
        for line in problems:
            print("  " + line)
        now = time.monotonic()
        print(f"{'not ok' if problems else 'ok'} - {name} ({now - self.start:.0f} s)", flush=True)
        self.start = now
        self.failed += bool(problems)

    @staticmethod
    def skip(name, why):
        print(f"ok - {name} # SKIP {why}", flush=True)

    def end(self):
        self.look_for_leaks()
        print("end", flush=True)
        sys.exit(1 if self.failed else 0)
