"""In the guest: the scheduler of services is changed 10,000 times, to each of the fourteen in random order, while packets come
from both sides and of this host, and servers are added, edited and removed.

switch.py [CHANGES] [SEED]
"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from races import Client, Control, Dump, Local, Netlinked, Races, Server, Timeouts  # noqa: E402
from vs import DEST, NEW, SERVICE, VIP  # noqa: E402

SCHEDULERS = "rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos".split()
SERVICES = [(17, 53), (17, 55), (6, 80)]
SECONDS = 600  # at most
# mh-port and sh-port, mh-fallback and sh-fallback are these flags
FLAGS = ["0", "8", "16", "24"]


def service(proto, port):
    return SERVICE.replace("protocol=17", f"protocol={proto}").replace("port=53", f"port={port}")


def setting(proto, port, scheduler, flags="0"):
    return (NEW % (VIP, port, scheduler, flags, 0)).replace("protocol=17", f"protocol={proto}")


class Change(Netlinked):
    """Counted: each step that succeeds is a service with another scheduler."""

    def begin(self):
        super().begin()
        self.edits = [[[self.nl.prepared("SET_SERVICE " + setting(*which, scheduler, flags)) for flags in FLAGS]
                       for scheduler in SCHEDULERS] for which in SERVICES]
        for which in SERVICES:
            self.nl("NEW_SERVICE " + setting(*which, SCHEDULERS[0]))
        self.has = [0] * len(SERVICES)
        os.nice(-5)

    def step(self):
        which = random.randrange(len(SERVICES))
        other = (self.has[which] + random.randrange(1, len(SCHEDULERS))) % len(SCHEDULERS)
        random.choice(self.edits[which][other])()
        self.has[which] = other


class Rosters(Control):
    """The services stay."""

    def message(self):
        proto, port = random.choice(SERVICES)
        dest = (DEST % (random.randrange(1, 6), random.randrange(4))).replace("port=53", f"port={port}").replace(
            "u_thresh=0", f"u_thresh={random.choice([0, 0, 3, 30])}")
        what = random.choice(["NEW_DEST"] * 5 + ["SET_DEST"] * 3 + ["DEL_DEST"] * 2)
        return f"{what} {service(proto, port)} {dest}"


class Switches(Races):
    WORKERS = [Change, Rosters, Client, Client, Server, Local, Timeouts, Dump]

    def run(self):
        self.network(SCHEDULERS)
        problems = self.phase("scheduler changes")
        problems += [f"{kind.__name__} did nothing" for kind, done in zip(self.WORKERS, self.done) if not done]
        if self.done[0] < self.GOAL:
            problems.append(f"{self.done[0]} of {self.GOAL} changes in {SECONDS} s")
        self.checks.case(f"{self.done[0]} scheduler changes", problems)
        self.checks.end()


def main():
    Switches.GOAL = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"  seed {seed}")
    Switches(SECONDS, seed).run()


main()
