"""Makes the n-th allocation of an operation fail, for n = 1, 2, 3 ... until one needs fewer than n.

Only allocations with a function of ours (or of the module loader's call of our init) among their callers count: the
rest of a system call is the kernel's business.

What runs in the calling task is hit through /proc/thread-self/fail-nth. Timers, works and received packets run elsewhere:
for these failslab itself counts. Its counter cannot be read or reset, but it is known: it stands still when no failure
is allowed, and with interval = counter + n the n-th allocation from now is the first that fails.
"""
import errno
import functools
import os
import re
import subprocess
import time

from checks import DEBUG, read, write

FAILSLAB, PAGES, USERCOPY = (f"{DEBUG}/{name}" for name in ("failslab", "fail_page_alloc", "fail_usercopy"))
CLEAN = {errno.ENOMEM, errno.ENOBUFS}
SECONDS = 200  # for one operation


EVERYTHING = 0, (1 << 64) - 1


def module_file(name):
    return subprocess.run(["modinfo", "-n", name], check=True, capture_output=True, text=True).stdout.strip()


@functools.cache
def text_size(module):
    out = subprocess.run(["size", "-A", "-d", module_file(module)], check=True, capture_output=True, text=True).stdout
    return int(re.search(r"^\.text +(\d+)", out, re.M)[1])


def scope_of(module):
    """Where a loaded module's functions are."""
    start = int(read(f"/sys/module/{module}/sections/.text"), 0)
    return start, start + text_size(module)


@functools.cache
def scope_of_init():
    """The module loader's function that calls a module's init."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        every = sorted(int(line.split()[0], 16) for line in file if line.split()[1] in "tT")
    with open("/proc/kallsyms", encoding="ascii") as file:
        start = next(int(line.split()[0], 16) for line in file if line.split()[2] == "do_init_module")
    return start, next(address for address in every if address > start)


def name_of(number):
    return errno.errorcode.get(number, str(number)) if number else "success"


class Injector:
    def __init__(self, log):
        self.log = log  # of the kernel
        self.nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
        self.count = 0  # failslab's
        for where in (FAILSLAB, PAGES):
            write(where + "/ignore-gfp-wait", "N")
            write(where + "/stacktrace-depth", 32)
            write(where + "/verbose", 0)
        write(PAGES + "/ignore-gfp-highmem", "N")
        write(PAGES + "/min-order", 0)
        write(USERCOPY + "/verbose", 0)
        write(FAILSLAB + "/times", 0)

    def scope(self, start, end):
        for where in (FAILSLAB, PAGES, USERCOPY):
            write(where + "/require-start", start)
            write(where + "/require-end", end)

    def in_task(self, n, operation):
        """(whether a failure was injected, error number)"""
        os.write(self.nth, b"%d" % n)
        try:
            operation()
            error = 0
        except OSError as exc:
            error = exc.errno or errno.ETIMEDOUT
        finally:
            left = self.disarm()
        return left == 0, error

    def disarm(self):
        """What was left of the count. Reading and writing it copy to and from here: that may be what fails, at last."""
        try:
            left = int(os.pread(self.nth, 16, 0))
        except OSError:
            left = 1
        try:
            os.write(self.nth, b"0")
        except OSError:
            os.write(self.nth, b"0")
        return left

    def elsewhere(self, n, operation):
        write(FAILSLAB + "/interval", self.count + n)
        write(FAILSLAB + "/probability", 100)
        write(FAILSLAB + "/times", 1)
        try:
            operation()
            error = 0
        except OSError as exc:
            error = exc.errno or errno.ETIMEDOUT
        finally:
            hit = int(read(FAILSLAB + "/times")) == 0
            write(FAILSLAB + "/times", 0)
            write(FAILSLAB + "/probability", 0)
        self.count += n if hit else n - 1
        return hit, error

    def hunt(self, operation, before=None, after=None, clean=(), elsewhere=False):
        """The problems found. before() prepares each attempt; after(error) checks it, undoes it and gives problems."""
        problems, seen, n = [], {}, 0
        until = time.monotonic() + SECONDS
        attempt = self.elsewhere if elsewhere else self.in_task
        while True:
            n += 1
            if before:
                before()
            hit, error = attempt(n, operation)
            seen[error] = seen.get(error, 0) + hit
            found = list(after(error) or ()) if after else []
            if error and not hit:
                found.append(f"{name_of(error)} without a failure")
            elif error and error not in CLEAN | set(clean):
                found.append(f"{name_of(error)} for lack of memory")
            found += self.log.report()
            if found:
                problems += [f"allocation {n}:"] + found
            if len(problems) > 200 or (error and not hit):
                break
            if not hit:
                break
            if time.monotonic() > until:
                print(f"  not all: {SECONDS} s are over")
                break
        outcome = ", ".join(f"{number} {name_of(error)}" for error, number in sorted(seen.items()) if number)
        print(f"  {n - (not hit)} allocations failed: {outcome or 'none'}")
        return problems
