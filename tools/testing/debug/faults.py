"""In the guest: every operation of ip_vs with its first, second, third ... allocation failing.

faults.py all|CASE...: each must end with a clean error or none, and leave the state from before or the one asked for;
after each case the modules go, and nothing may be lost (checks.py).
"""
import errno
import os
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
import ipvsopt  # noqa: E402
import packet  # noqa: E402
from checks import Checks, left_behind, loaded, namespaces, read, soon, unload, write  # noqa: E402
from inject import EVERYTHING, Injector, module_file, scope_of, scope_of_init  # noqa: E402
from vs import DEST, NEW, SERVICE, VIP, VS, Netlink, insmod, ip, modprobe, rmmod  # noqa: E402

BUFFER = bytearray(4096)


class Faults:
    """Each method `do_x` is a case: it gives the problems it found."""

    def __init__(self):
        self.checks = Checks()
        self.injector = Injector(self.checks.log)
        self.hunt = self.injector.hunt
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.net = None
        self.others = []  # namespaces beside it

    def cases(self):
        return [name[3:] for name in dir(self) if name.startswith("do_")]

    def run(self, name):
        print(f"  {name}")
        write("/dev/kmsg", f"fault injection: {name}")
        try:
            problems = getattr(self, "do_" + name)()
        except (OSError, subprocess.SubprocessError) as exc:
            problems = [f"the case itself: {exc!r}"]
            if getattr(exc, "errno", 0) in (errno.EOPNOTSUPP, errno.ENOPROTOOPT):
                self.checks.skip(f"faults: {name}", "not there")
                problems = None
        self.leave()
        if problems is not None:
            self.checks.case(f"faults: {name}", problems)

    # ---- surroundings ---------------------------------------------------------------------------------
    def leave(self):
        """Out of the namespace of the case, which goes with its sockets."""
        self.nl = None
        os.setns(self.home, os.CLONE_NEWNET)
        if self.net is not None:
            os.close(self.net)
            self.net = None
        while self.others:
            os.close(self.others.pop())

    def enter(self, *modules):
        """A namespace with addresses, the modules loaded."""
        modprobe("ip_vs", *modules)
        self.injector.scope(*scope_of("ip_vs"))
        os.unshare(os.CLONE_NEWNET)
        self.net = os.open("/proc/self/ns/net", os.O_RDONLY)
        ip("link set lo up", f"addr add {VIP}/32 dev lo", "link add v0 address 02:00:00:00:00:fe type veth peer name v1", "link set v0 up",
           "link set v1 up", "addr add 10.8.0.254/24 dev v0",
           *(f"neigh add 10.8.0.{n} lladdr 02:00:00:00:00:0{n} dev v0" for n in range(1, 4)))
        self.nl = Netlink()

    def service(self, *dests, sched="rr", flags="0", timeout=0):
        self.nl("NEW_SERVICE " + NEW % (VIP, 53, sched, flags, timeout))
        for n in dests:
            self.nl(f"NEW_DEST {SERVICE} " + DEST % (n, 1))

    def flush(self):
        self.nl("FLUSH")

    def change(self, line, prepare, done, undone, count):
        """A message that changes something: count() is `done` after success, `undone` after an error."""
        def after(error):
            number, want = count(), undone if error else done
            self.flush()
            return [] if number == want else [f"{number} there, {want} expected after {os.strerror(error)}"]
        return self.hunt(self.nl.prepared(line), prepare, after)

    # ---- modules --------------------------------------------------------------------------------------
    def load(self, module, others=()):
        modprobe(*others or ["nf_conntrack", "nf_defrag_ipv6"])
        path = module_file(module)
        self.injector.scope(*scope_of_init())

        def after(error):
            there = module in dict(loaded())
            if not error:
                rmmod(module)
                return [] if there else ["not loaded, and no error"]
            return (["loaded in spite of the error"] if there else []) + ([] if others else left_behind())
        return self.hunt(lambda: insmod(path), after=after)

    def do_load(self):
        return self.load("ip_vs")

    def do_load_with_namespaces(self):
        """Several namespaces get their state: what the first ones have is undone when a later one fails."""
        for _ in range(2):
            os.unshare(os.CLONE_NEWNET)
            self.others.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        os.setns(self.home, os.CLONE_NEWNET)
        return self.load("ip_vs")

    def do_load_scheduler(self):
        return self.load("ip_vs_rr", ["ip_vs"])

    def do_unload(self):
        path = module_file("ip_vs")
        modprobe("ip_vs")

        def before():
            if not loaded():
                insmod(path)
            # Everything counts here: our exit function allocates nothing that may fail.
            self.injector.scope(*EVERYTHING)

        def after(error):
            return ["loaded, and no error"] if loaded() and not error else []
        return self.hunt(lambda: rmmod("ip_vs"), before, after, clean=[errno.EFAULT])

    # ---- control --------------------------------------------------------------------------------------
    def do_service_add(self):
        self.enter("ip_vs_rr")
        return self.change("NEW_SERVICE " + NEW % (VIP, 53, "rr", "0", 0), None, 1, 0, self.nl.services)

    def do_service_add_loads_scheduler(self):
        self.enter()

        def before():
            soon(lambda: unloaded("ip_vs_wlc"))

        def after(error):
            number = self.nl.services()
            self.flush()
            return [] if number == (not error) else [f"{number} services after {os.strerror(error)}"]
        # That no scheduler could be loaded is what stock says, too.
        return self.hunt(self.nl.prepared("NEW_SERVICE " + NEW % (VIP, 53, "wlc", "0", 0)), before, after,
                         [errno.ENOENT])

    def do_service_edit(self, persistent="0"):
        self.enter("ip_vs_rr", "ip_vs_wlc")
        self.service(1, 2)
        edit = "SET_SERVICE " + NEW % (VIP, 53, "wlc", persistent, 300)
        self.nl(edit)
        self.nl("SET_SERVICE " + NEW % (VIP, 53, "rr", "0", 0))

        def after(error):
            text = read("/proc/net/ip_vs")
            want, back = ("rr", "wlc") if error else ("wlc", "rr")
            self.nl("SET_SERVICE " + NEW % (VIP, 53, "rr", "0", 0))
            return [f"scheduler {back} after {os.strerror(error)}"] if f" {want} " not in text else []
        return self.hunt(self.nl.prepared(edit), after=after)

    def do_service_edit_persistent(self):
        return self.do_service_edit("1")

    def do_service_delete(self):
        self.enter("ip_vs_rr")
        return self.change("DEL_SERVICE " + SERVICE, lambda: self.service(1, 2), 0, 1, self.nl.services)

    def do_flush(self):
        self.enter("ip_vs_rr")
        return self.change("FLUSH", lambda: self.service(1, 2), 0, 1, self.nl.services)

    def do_dest_add(self):
        self.enter("ip_vs_rr")
        return self.change(f"NEW_DEST {SERVICE} {DEST % (1, 1)}", self.service, 1, 0, self.nl.dests)

    def do_dest_edit(self):
        self.enter("ip_vs_wlc")
        return self.change(f"SET_DEST {SERVICE} {DEST % (1, 5)}", lambda: self.service(1, 2, sched="wlc"), 2, 2,
                           self.nl.dests)

    def do_dest_delete(self):
        self.enter("ip_vs_rr")
        return self.change(f"DEL_DEST {SERVICE} {DEST % (1, 1)}", lambda: self.service(1, 2), 1, 2, self.nl.dests)

    def do_dest_from_trash(self):
        """A removed server that still has connections comes back."""
        self.enter("ip_vs_rr")

        def before():
            self.service(1)
            self.client().sendto(b"x", (VIP, 53))
            self.nl(f"DEL_DEST {SERVICE} {DEST % (1, 1)}")
        return self.change(f"NEW_DEST {SERVICE} {DEST % (1, 1)}", before, 1, 0, self.nl.dests)

    @staticmethod
    def option(line):
        """A socket option that raises its error."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def call():
            name = ipvsopt.run(sock, line)[-1].split()[0]
            if name != "OK":
                raise OSError(getattr(errno, name), name)
        return call

    def do_options_get(self):
        self.enter("ip_vs_rr")
        self.service(1, 2)
        key, problems = f"proto=17 addr={VIP} port=53", []
        for line in ("GET_VERSION", "GET_INFO", "GET_SERVICES n=1", f"GET_SERVICE {key}", f"GET_DESTS {key} n=2",
                     "GET_TIMEOUT", "GET_DAEMON"):
            print(f"  {line}")
            # Copies to and from the caller fail, too.
            problems += self.hunt(self.option(line), clean=[errno.EFAULT])
        return problems

    def do_options_set(self):
        self.enter("ip_vs_rr")

        def after(error):
            number = self.nl.services()
            self.flush()
            return [] if number == (not error) else [f"{number} services after {os.strerror(error)}"]
        add = self.option(f"ADD proto=17 addr={VIP} port=53 sched=rr")
        problems = self.hunt(add, after=after, clean=[errno.EFAULT])

        def dest_after(error):
            number = self.nl.dests()
            self.flush()
            return [] if number == (not error) else [f"{number} servers after {os.strerror(error)}"]
        dest = self.option(f"ADDDEST proto=17 addr={VIP} port=53 daddr=10.8.0.1 dport=53 dweight=1")
        return problems + self.hunt(dest, self.service, dest_after, [errno.EFAULT])

    def do_read(self):
        """What ipvsadm -Ln and others ask for."""
        self.enter("ip_vs_rr")
        self.service(1, 2)
        problems = []
        for line in ("GET_SERVICE dump", "GET_SERVICE " + SERVICE, "GET_DEST dump " + SERVICE, "GET_INFO", "GET_CONFIG",
                     "GET_DAEMON dump", "ZERO", "SET_CONFIG timeout_tcp=900 timeout_tcp_fin=120 timeout_udp=300"):
            print(f"  {line}")
            try:
                self.nl(line)
            except OSError as exc:
                print(f"  not there: {exc}")
                continue
            problems += self.hunt(self.nl.prepared(line))
        return problems

    def do_proc(self):
        self.enter("ip_vs_rr")
        self.service(1, 2)
        self.client().sendto(b"x", (VIP, 53))
        problems = []
        for name in left_behind():
            if name.startswith("ip_vs") and os.path.exists("/proc/net/" + name):
                print(f"  {name}")
                # All of seq_file counts: its buffers are not allocated below a function of ours.
                self.injector.scope(*EVERYTHING)
                problems += self.hunt(lambda path="/proc/net/" + name: slurp(path), clean=[errno.EFAULT])
        return problems

    def do_sysctl(self):
        self.enter("ip_vs_rr")
        self.service(1)
        problems = []
        self.injector.scope(*EVERYTHING)
        for name in sorted(os.listdir(VS)):
            try:
                value = read(VS + name).strip()
                write(VS + name, value)
            except OSError:
                continue
            problems += self.hunt(lambda path=VS + name, value=value: write(path, value), clean=[errno.EFAULT])
        return problems

    def do_sockopt(self):
        """The old interface."""
        self.enter("ip_vs_rr")
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        base = 64 + 1024 + 64
        service = struct.pack("=H2x4s2sxxI16sII4s", 17, socket.inet_aton(VIP), struct.pack("!H", 53), 0, b"rr", 0, 0,
                              b"\xff" * 4)
        dest = struct.pack("=4s2s2xIiII", socket.inet_aton("10.8.0.1"), struct.pack("!H", 53), 0, 1, 0, 0)
        # struct ip_vs_service_user and ip_vs_dest_user; the numbers are those of include/uapi/linux/ip_vs.h
        raw.getsockopt(socket.IPPROTO_IP, base, 64)
        problems = []
        for number, data in ((base + 2, service), (base + 7, service + dest), (base + 9, service + dest),
                             (base + 8, service + dest), (base + 5, b"")):
            def before(number=number):
                self.flush()
                if number != base + 2:
                    self.service(*[1] if number in (base + 8, base + 9) else [])
            problems += self.hunt(lambda number=number, data=data: raw.setsockopt(socket.IPPROTO_IP, number, data),
                                  before, clean=[errno.EFAULT])
        return problems

    # ---- namespaces -----------------------------------------------------------------------------------
    def do_namespace_new(self):
        modprobe("ip_vs")
        self.injector.scope(*scope_of("ip_vs"))

        def after(error):
            os.setns(self.home, os.CLONE_NEWNET)
            return [] if os.path.exists("/proc/net/ip_vs") else ["the first namespace lost its files"]
        return self.hunt(lambda: os.unshare(os.CLONE_NEWNET), after=after)

    def do_namespace_exit(self):
        def before():
            self.enter("ip_vs_rr")
            self.service(1, 2)
            self.client().sendto(b"x", (VIP, 53))

        def leave():
            self.leave()
            if not soon(lambda: namespaces() <= self.checks.namespaces):
                raise OSError(errno.EBUSY, "the namespace stays")
        return self.hunt(leave, before, elsewhere=True)

    # ---- traffic --------------------------------------------------------------------------------------
    def client(self, kind=socket.SOCK_DGRAM):
        """A socket of this host, on a port of its own: a new connection."""
        sock = socket.socket(socket.AF_INET, kind)
        sock.setblocking(False)
        return sock

    def first_packet(self, kind, **service):
        self.enter("ip_vs_rr")
        self.service(1, 2, **service)
        if kind == socket.SOCK_STREAM:
            self.nl("NEW_SERVICE " + (NEW % (VIP, 53, "rr", "0", 0)).replace("protocol=17", "protocol=6"))
            self.nl(f"NEW_DEST {SERVICE} {DEST % (1, 1)}".replace("protocol=17", "protocol=6"))
        conn = None

        def before():
            nonlocal conn
            conn = self.client(kind)
            conn.bind((VIP, 0))

        def send():
            try:
                conn.connect((VIP, 53))
                if kind == socket.SOCK_DGRAM:
                    conn.send(b"x")
            except BlockingIOError:
                pass

        def after(_error):
            conn.close()
        # A dropped packet is EPERM for its sender.
        return self.hunt(send, before, after, [errno.EPERM])

    def do_packet_udp(self):
        return self.first_packet(socket.SOCK_DGRAM)

    def do_packet_persistent(self):
        return self.first_packet(socket.SOCK_DGRAM, flags="1", timeout=100)

    def do_packet_tcp(self):
        return self.first_packet(socket.SOCK_STREAM)

    def do_packet_received(self):
        """From the wire: in softirq. With it what an ICMP error to a connection and a reply need."""
        self.enter("ip_vs_rr")
        write("/proc/sys/net/ipv4/ip_forward", "1")
        ip("addr add 10.9.0.1/24 dev v0", "neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev v0")
        write("/proc/sys/net/ipv4/conf/all/rp_filter", "0")
        self.service(1)
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind(("v1", 0x0800))
        header = bytes.fromhex("0200000000fe 020000000009 0800")
        port = 1000

        def received():
            nonlocal port
            port += 1
            first = f"udp 10.9.0.2:{port} {VIP}:53 data=question"
            there = f"udp 10.9.0.2:{port} 10.8.0.1:53 data=question"
            for words in (first, f"udp 10.8.0.1:53 10.9.0.2:{port} data=answer", f"icmp 10.8.0.1 10.9.0.2 3 1 -- {there}",
                          f"icmp 10.9.0.2 {VIP} 3 1 -- udp {VIP}:53 10.9.0.2:{port}"):
                for data in packet.build(words.split()):
                    raw.send(header + data)
            time.sleep(0.2)
        return self.hunt(received, elsewhere=True)

    def do_resize(self):
        """Tables grow and shrink in a work."""
        self.enter("ip_vs_rr")
        self.service(1)
        self.client().sendto(b"x", (VIP, 53))
        problems = []
        for name in ("conn_lfactor", "svc_lfactor"):
            if not os.path.exists(VS + name):
                continue
            normal = read(VS + name).strip()

            def resize(path=VS + name, normal=normal):
                write(path, "-8")
                time.sleep(0.5)
                write(path, normal)
                time.sleep(0.5)
            problems += self.hunt(resize, elsewhere=True)
        return problems


def unloaded(name):
    """Takes a module away, unless a service that goes still has it."""
    if name in dict(loaded()):
        try:
            rmmod(name)
        except BlockingIOError:
            return False
    return True


def slurp(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        while os.readv(fd, [BUFFER]):
            pass
    finally:
        os.close(fd)


def main():
    faults = Faults()
    wanted = sys.argv[1:]
    for name in faults.cases() if wanted == ["all"] else wanted:
        faults.run(name)
        unload()
    faults.checks.end()


main()
