"""In the guest: ip_vs is loaded while another module has something that it wants: a file, a sysctl, the family's name, the
socket options, net->ipvs; in the first namespace, or in one that gets its state after others have theirs.

Loading must fail with a clean error and leave nothing, and succeed when the other module is gone. taken.py TAKEN.KO
The kernel itself complains about files and sysctls: `run` does not mind that the log of this machine has reports.
"""
import errno
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
from checks import Checks, left_behind, loaded, soon  # noqa: E402
from inject import module_file  # noqa: E402
from vs import Netlink, insmod, modprobe, rmmod  # noqa: E402

FILES = "ip_vs ip_vs_stats ip_vs_stats_percpu ip_vs_conn ip_vs_conn_sync ip_vs_app ip_vs_status".split()
SYSCTLS = "amemthresh conn_max est_nice run_estimation svc_lfactor".split()
# What is taken, with which name; the error, of which the kernel makes EBUSY if it is EEXIST; what the kernel says itself.
CASES = [("file", name, errno.ENOMEM, "already registered") for name in FILES] + [
    ("sysctl", name, errno.ENOMEM, "sysctl duplicate entry") for name in SYSCTLS] + [
    ("family", "", errno.EBUSY, None), ("options", "", errno.EBUSY, None), ("net", "", errno.EBUSY, None)]


class Taken:
    def __init__(self, path):
        self.path, self.checks = path, Checks()
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.unshare(os.CLONE_NEWNET)
        self.other = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.setns(self.home, os.CLONE_NEWNET)
        self.checks.namespaces += 1

    def left(self):
        """What is there in both namespaces."""
        there = left_behind()
        os.setns(self.other, os.CLONE_NEWNET)
        there += left_behind()
        os.setns(self.home, os.CLONE_NEWNET)
        return sorted(there)

    def case(self, what, name, error, words, where):
        os.setns(where, os.CLONE_NEWNET)
        subprocess.run(["insmod", self.path, f"what={what}", *[f"name={name}"] * bool(name)], check=True)
        os.setns(self.home, os.CLONE_NEWNET)
        before, problems = self.left(), []
        try:
            insmod(module_file("ip_vs"))
            problems.append("loaded")
            rmmod("ip_vs")
        except OSError as exc:
            if exc.errno != error:
                problems.append(f"error {exc.errno} instead of {error}")
        if self.left() != before:
            problems.append(f"there was {before}, now {self.left()}")
        report = self.checks.log.report()
        if report and not (words and any(words in line for line in report)):
            problems += report
        rmmod("taken")
        insmod(module_file("ip_vs"))
        Netlink()("GET_INFO")
        if not soon(lambda: self.gone()):
            problems.append("cannot be unloaded afterwards")
        if self.left():
            problems.append(f"left behind: {self.left()}")
        self.checks.case(f"taken: {what} {name} in {'the first' if where == self.home else 'another'} namespace", problems)

    @staticmethod
    def gone():
        if "ip_vs" in dict(loaded()):
            try:
                rmmod("ip_vs")
            except OSError:
                return False
        return True

    def run(self):
        modprobe("nf_conntrack", "nf_defrag_ipv6")
        for what, name, error, words in CASES:
            for where in (self.home, self.other):
                if where == self.home or what in ("file", "sysctl", "net"):
                    self.case(what, name, error, words, where)
        self.checks.end()


Taken(sys.argv[1]).run()
