"""In the guest: everything at once. Packets from both sides and of this host while services, servers, schedulers, settings,
namespaces and modules come and go; then the same with allocations failing now and then.

races.py [SECONDS] [SEED]: each worker is a process. What they get back does not matter, what the kernel says does.
"""
import errno
import itertools
import mmap
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
import ipvsopt  # noqa: E402
import packet  # noqa: E402
from checks import DEBUG, Checks, read, soon, unload, write  # noqa: E402
from inject import FAILSLAB, scope_of  # noqa: E402
from vs import DEST, NEW, SERVICE, VIP, VS, Netlink, ip, modprobe, rmmod  # noqa: E402

GO = 100  # this word tells all workers to start
SERVERS = range(1, 6)
SCHEDULERS = ["rr", "wlc"]
# Ignored: what a change meets when another has been there before it, or a module is on its way.
EXPECTED = {errno.EEXIST, errno.ESRCH, errno.ENOENT, errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOMEM,
            errno.ENOBUFS, errno.EPERM, errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED,
            errno.ENODEV, errno.EOPNOTSUPP, errno.EADDRINUSE, errno.EDOM, errno.EACCES, errno.ENETDOWN, errno.EINTR,
            errno.EINPROGRESS, errno.ENXIO}


class Worker:
    """One thing done over and over. `step` is one time."""

    def __init__(self, races):
        self.races = races

    def begin(self):
        pass

    def send(self, raw, mac, words):
        for data in packet.build(words.split()):
            raw.send(mac + data)


class Wire(Worker):
    """Packets on a link; prepared before, since building one takes longer than sending it."""
    place = "outside"
    link, target = "", ""

    def begin(self):
        self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.raw.bind((self.link, 0x0800))
        mac = bytes.fromhex(self.target + "0200000000aa0800")
        self.frames = [mac + data for _ in range(80) for data in packet.build(self.words().split())]

    def step(self):
        for _ in range(20):
            self.raw.send(random.choice(self.frames))
        time.sleep(0.01)  # others want to run too

    @staticmethod
    def words():
        raise NotImplementedError


class Client(Wire):
    link, target = "c1", "0200000000c0"

    @staticmethod
    def words():
        peer = f"10.9.0.{random.randint(2, 5)}:{random.randint(2000, 2200)}"
        return random.choice([
            f"udp {peer} {VIP}:53 size=20", f"udp {peer} {VIP}:55 size=20", f"udp {peer} {VIP}:53 size=900 frag=400", f"udp {peer} {VIP}:53 ulen=4",
            *(f"tcp {peer} {VIP}:80 {flags} size={size}" for flags, size in (("S", 0), ("A", 0), ("PA", 50), ("FA", 0),
                                                                         ("R", 0))),
            f"icmp {peer.split(':')[0]} {VIP} 3 1 -- udp {VIP}:53 {peer} size=20",
            f"icmp {peer.split(':')[0]} {VIP} 8 0 size=40", f"ip {peer.split(':')[0]} {VIP} 47 size=30"])


class Server(Wire):
    link, target = "s1", "0200000000d0"

    @staticmethod
    def words():
        peer = f"10.9.0.{random.randint(2, 5)}:{random.randint(2000, 2200)}"
        own = f"10.8.0.{random.choice(SERVERS)}"
        return random.choice([
            f"udp {own}:53 {peer} size=50", f"udp {own}:53 {peer} size=900 frag=400",
            *(f"tcp {own}:80 {peer} {flags} size={size}" for flags, size in (("SA", 0), ("PA", 50), ("FA", 0), ("RA", 0))),
            f"icmp {own} {peer.split(':')[0]} 3 3 -- udp {peer} {own}:53 size=20",
            f"icmp {own} {peer.split(':')[0]} 11 0 -- tcp {peer} {own}:80 A"])


class Local(Worker):
    """Clients on the director itself."""

    def step(self):
        with socket.socket(socket.AF_INET, random.choice([socket.SOCK_DGRAM, socket.SOCK_STREAM])) as sock:
            sock.setblocking(False)
            sock.connect((VIP, random.choice([53, 80])))
            sock.send(b"x")


class Netlinked(Worker):
    def begin(self):
        self.nl = Netlink()

    def again(self):
        try:
            self.nl.lookup()
        except (OSError, TimeoutError):
            time.sleep(0.1)

    def any_service(self):
        proto, port = random.choice([(17, 53), (17, 54), (6, 80)])
        return proto, port, SERVICE.replace("protocol=17", f"protocol={proto}").replace("port=53", f"port={port}")


class Control(Netlinked):
    """Prepared messages: putting one together takes longer than sending it."""

    def begin(self):
        super().begin()
        self.messages = [self.nl.prepared(self.message()) for _ in range(60)]

    def message(self):
        proto, port, service = self.any_service()
        new = (NEW % (VIP, port, random.choice(SCHEDULERS), random.choice("0001"), 5)).replace("=17", f"={proto}")
        dest = (DEST % (random.choice(SERVERS), random.randint(0, 3))).replace("port=53", f"port={port}")
        return random.choice([f"NEW_SERVICE {new}"] * 16 + [f"NEW_DEST {service} {dest}"] * 24 +
                             [f"SET_DEST {service} {dest}"] * 8 + [f"DEL_DEST {service} {dest}"] * 12 +
                             [f"DEL_SERVICE {service}"] * 4 + ["ZERO", "FLUSH"])

    def step(self):
        random.choice(self.messages)()


class Switch(Netlinked):
    """Another scheduler for a service with traffic, as fast as it goes."""

    def begin(self):
        super().begin()
        self.edits = [self.nl.prepared("SET_SERVICE " + NEW % (VIP, 55, sched, "0", 0)) for sched in SCHEDULERS]
        self.n = 0
        os.nice(-15)

    def step(self):
        self.n += 1
        try:
            self.edits[self.n % 2]()
        except OSError as exc:
            if exc.errno != errno.ESRCH:  # flushed
                raise
            self.nl("NEW_SERVICE " + NEW % (VIP, 55, "rr", "0", 0))
            for n in SERVERS:
                self.nl(f"NEW_DEST {SERVICE} {DEST % (n, n)}".replace("port=53", "port=55", 1))


class Timeouts(Netlinked):
    """Short ones, so that timers end connections all the time."""

    def step(self):
        self.nl(f"SET_CONFIG timeout_tcp={random.randint(1, 3)} timeout_tcp_fin=1 timeout_udp={random.randint(1, 2)}")
        time.sleep(0.3)


class Dump(Netlinked):
    def step(self):
        time.sleep(0.02)
        self.nl(random.choice(["GET_SERVICE dump", "GET_DEST dump " + self.any_service()[2]]))


class Options(Worker):
    """Configuration through socket options, which others do through netlink meanwhile."""

    def begin(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lines = [self.line() for _ in range(60)]

    @staticmethod
    def line():
        proto, port = random.choice([(17, 53), (17, 54), (6, 80)])
        key = f"proto={proto} addr={VIP} port={port}"
        dest = f"daddr=10.8.0.{random.choice(SERVERS)} dport={port} dweight={random.randint(0, 3)}"
        return random.choice([f"ADD {key} sched={random.choice(SCHEDULERS)}"] * 4 + [f"ADDDEST {key} {dest}"] * 8 + [
            f"EDITDEST {key} {dest}", f"DELDEST {key} {dest}", f"EDIT {key} sched={random.choice(SCHEDULERS)}",
            f"DEL {key}", "ZERO", "GET_INFO", "GET_VERSION", "GET_DAEMON", "GET_TIMEOUT", f"GET_SERVICE {key}"] + [
            "GET_SERVICES n=4", f"GET_DESTS {key} n=5"] * 4)

    def step(self):
        name = ipvsopt.run(self.sock, random.choice(self.lines))[-1].split()[0]
        if name == "ENOPROTOOPT":  # no module just now
            time.sleep(0.1)
        elif name != "OK":
            raise OSError(getattr(errno, name), name)


class Proc(Worker):
    def step(self):
        time.sleep(0.02)
        read("/proc/net/" + random.choice(["ip_vs_conn", "ip_vs_conn", "ip_vs", "ip_vs_stats", "ip_vs_stats_percpu"]))


class Settings(Worker):
    def begin(self):
        self.names = [name for name in os.listdir(VS) if name.endswith("lfactor")] * 3 + ["expire_nodest_conn",
                                                                                         "conn_reuse_mode"]

    def step(self):
        name = random.choice(self.names)
        write(VS + name, random.randint(-8, 8) if name.endswith("lfactor") else random.randint(0, 1))
        time.sleep(0.02)


class Namespace(Worker):
    """One with a service and a connection, from beginning to end."""
    place = "init"

    def step(self):
        os.unshare(os.CLONE_NEWNET)
        ip("link set lo up", f"addr add {VIP}/32 dev lo")
        nl = Netlink()
        nl("NEW_SERVICE " + NEW % (VIP, 53, random.choice(SCHEDULERS), "0", 0))
        nl(f"NEW_DEST {SERVICE} " + (DEST % (1, 1)).replace("10.8.0.1", "127.0.0.1"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((VIP, 53))
            sock.send(b"x")


class Modules(Worker):
    """Mostly they are in use."""

    def step(self):
        gone = False
        for name in ("ip_vs_rr", "ip_vs_wlc", "ip_vs"):
            try:
                rmmod(name)
                gone = True
            except OSError:
                pass
        time.sleep(0.1)
        if gone:
            modprobe(*(f"ip_vs_{s}" for s in SCHEDULERS))


class Races:
    WORKERS = [Client, Client, Server, Local, Control, Control, Switch, Timeouts, Dump, Options, Proc,
               Settings, Namespace, Modules]

    GOAL = 0  # enough of what the first worker does: they stop then

    def __init__(self, seconds, seed):
        self.checks = Checks()
        self.seconds, self.seed = seconds, seed
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def network(self, schedulers=()):
        """client c1 -- c0 director d0 -- s1 servers; nobody answers, workers send what would come."""
        modprobe("ip_vs", *(f"ip_vs_{s}" for s in schedulers or SCHEDULERS))
        self.outside, self.inside = self.namespace(), self.namespace()
        os.setns(self.inside, os.CLONE_NEWNET)
        ip("link set lo up", f"addr add {VIP}/32 dev lo")
        for end, target, net in (("c", "c0", "10.9.0"), ("s", "d0", "10.8.0")):
            ip(f"link add {target} address 02:00:00:00:00:{target} type veth peer name {end}1",
               f"link set {end}1 netns /proc/{os.getpid()}/fd/{self.outside}", f"link set {target} up",
               f"addr add {net}.254/24 dev {target}",
               *(f"neigh add {net}.{n} lladdr 02:00:00:00:00:aa dev {target}" for n in range(1, 9)))
        write("/proc/sys/net/ipv4/ip_forward", "1")
        os.setns(self.outside, os.CLONE_NEWNET)
        ip("link set c1 up", "link set s1 up")
        os.setns(self.home, os.CLONE_NEWNET)

    def namespace(self):
        os.unshare(os.CLONE_NEWNET)
        fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.setns(self.home, os.CLONE_NEWNET)
        return fd

    def work(self, kind, number):
        """A worker's process."""
        random.seed(self.seed + number)
        place = getattr(kind, "place", "inside")
        if place != "init":
            os.setns(getattr(self, place), os.CLONE_NEWNET)
        if place == "outside":
            os.close(self.inside)
        worker = kind(self)
        worker.begin()
        self.ready[number] = 1
        while not self.ready[GO]:
            time.sleep(0.05)
        # Packets come while the director's namespace ends.
        until = time.monotonic() + self.seconds + 3 * (place == "outside")
        while time.monotonic() < until and not 0 < self.GOAL <= self.done[0]:
            try:
                worker.step()
                self.done[number] += 1
            except OSError as exc:
                if exc.errno not in EXPECTED and not isinstance(exc, TimeoutError):
                    raise
                if isinstance(worker, Netlinked) and exc.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                    worker.again()  # the family may have another number since the module came back
            except subprocess.CalledProcessError:
                pass

    def fork(self, kind, number):
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            self.work(kind, number)
            status = 0
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def phase(self, name):
        write("/dev/kmsg", name)
        self.done, self.ready = (memoryview(mmap.mmap(-1, 4096)).cast("I") for _ in range(2))
        pids = {self.fork(kind, number): kind for number, kind in enumerate(self.WORKERS)}
        problems = []
        if not soon(lambda: sum(self.ready[:GO]) == len(pids), 120):
            problems.append("not all workers came up")
        self.ready[GO] = 1
        for pid, kind in sorted(pids.items(), key=lambda item: issubclass(item[1], Wire)):
            if issubclass(kind, Wire) and self.inside is not None:
                os.close(self.inside)
                self.inside = None
            status = os.waitpid(pid, 0)[1]
            if status:
                problems.append(f"{kind.__name__} ended with {status}")
        print("  " + ", ".join(f"{kind.__name__} {done}" for kind, done in zip(self.WORKERS, self.done)))
        os.close(self.outside)
        return problems

    def plain(self):
        self.network()
        problems = self.phase("races")
        # A worker that never succeeds tests nothing.
        problems += [f"{kind.__name__} did nothing" for kind, done in zip(self.WORKERS, self.done) if not done]
        self.checks.case("races", problems)

    def endings(self):
        """The namespaces of client, director and server end in every order, packets from all sides coming."""
        problems = []
        for order in itertools.permutations(("client", "director", "server")):
            problems += self.ending(order)
        self.checks.case("namespaces ending in every order", problems)

    def ending(self, order):
        write("/dev/kmsg", "ending " + " ".join(order))
        self.network()
        server = self.namespace()
        os.setns(self.outside, os.CLONE_NEWNET)
        ip(f"link set s1 netns /proc/{os.getpid()}/fd/{server}")
        os.setns(server, os.CLONE_NEWNET)
        ip("link set s1 up")
        os.setns(self.home, os.CLONE_NEWNET)
        places = {"client": (self.outside, [Client, Client]), "server": (server, [Server]),
                  "director": (self.inside, [Local, Control, Settings, Dump])}
        fds = [fd for fd, _ in places.values()]
        pids = {name: [self.traffic(kind, fd, fds) for kind in kinds] for name, (fd, kinds) in places.items()}
        time.sleep(2)
        problems = []
        for name in order:
            for pid in pids[name]:
                os.kill(pid, signal.SIGKILL)
                if os.waitpid(pid, 0)[1] != signal.SIGKILL:
                    problems.append(f"{' '.join(order)}: a worker of the {name} ended")
            os.close(places[name][0])
            time.sleep(0.2)
        self.inside = self.outside = None
        return problems

    def traffic(self, kind, fd, fds):
        """A process that does one thing in a namespace until it is killed."""
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setns(fd, os.CLONE_NEWNET)
            for each in fds:
                os.close(each)
            worker = kind(self)
            worker.begin()
            while True:
                try:
                    worker.step()
                except OSError as exc:
                    if exc.errno not in EXPECTED and not isinstance(exc, TimeoutError):
                        raise
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)

    def without_memory(self):
        """The module stays: where it is decides which allocations fail."""
        self.network()
        start, end = scope_of("ip_vs")
        for key, value in (("require-start", start), ("require-end", end), ("stacktrace-depth", 32), ("verbose", 0),
                           ("ignore-gfp-wait", "N"), ("interval", 1), ("times", -1), ("probability", 4)):
            write(f"{FAILSLAB}/{key}", value)
        self.WORKERS = [kind for kind in self.WORKERS if kind is not Modules]
        problems = self.phase("races without memory")
        write(FAILSLAB + "/probability", 0)
        self.checks.case("races with failing allocations", problems)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"  seed {seed}, {seconds:.0f} s each")
    # Whoever may move a packet's data, moves it: pointers into it from before are wrong.
    write(DEBUG + "/fail_skb_realloc/probability", 20)
    write(DEBUG + "/fail_skb_realloc/times", -1)
    write(DEBUG + "/fail_skb_realloc/verbose", 0)
    races = Races(seconds, seed)
    races.plain()
    unload()
    races.endings()
    unload()
    races.without_memory()
    races.checks.end()


if __name__ == "__main__":
    main()
