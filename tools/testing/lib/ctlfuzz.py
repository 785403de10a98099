#!/usr/bin/python3
"""Configures IPVS by chance, through generic netlink and socket options, and prints every answer and what is there.

    ctlfuzz.py SEED COUNT       the same numbers give the same calls, so what two kernels print can be compared

Most calls are right and about a few services and servers, so that they meet; some have a value at a limit, some are
broken: attributes gone, twice, too short or long, nested wrongly, lengths that lie. A line "NUMBER nl ..." or "NUMBER opt
..." can be given to ipvsnl.py or ipvsopt.py as it is. ctlfuzz-left-out names what is not to be tried, with the reason.
"""
import os
import random
import re
import socket
import struct
import sys

import ipvsnl
import ipvsopt

HERE = os.path.dirname(os.path.abspath(__file__))
FEATURES = {"sctp", "daemon", "fwmark", "persistent", "onepacket", "ipv6", "fwd", "pe", "schedulers"}
# Attributes whose bytes may only be anything if all of these are tried.
NEEDS = {"flags": {"persistent", "onepacket"}, "fwd": {"fwd"}, "fwmark": {"fwmark"}, "af": {"ipv6"},
         "dflags": {"fwd"}, "state": {"daemon"}, "service": {"fwmark"}, "daemon": {"daemon"}}
ADDRESSES = ["10.0.0.1"] * 6 + ["10.1.0.1"] * 3 + ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"]
OFTEN = [(6, "10.0.0.1", 80), (17, "10.0.0.1", 80), (6, "10.1.0.1", 80), (6, "10.0.0.1", 0)]
ADDRESSES6 = ["fd00::1"] * 4 + ["fd00::2", "::1", "::", "fe80::1", "ff02::1", "2001:db8::1"]
NUMBERS = [0, 1, 2, 5, 100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 8589934, 8589935]


def features():
    with open(HERE + "/ctlfuzz-left-out", encoding="utf-8") as file:
        out = {line.split()[0] for line in file if line.strip() and line[0] != "#"}
    assert out <= FEATURES, out - FEATURES
    return FEATURES - out


class Maker:
    """Makes calls as lists of words."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.on = features()

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def pick(self, *values):
        return self.random.choice(values)

    def number(self):
        return self.pick(*NUMBERS) if self.chance(70) else self.random.getrandbits(32)

    def bytes(self, most):
        return self.random.randbytes(self.random.randint(0, most)).hex()

    # ---- values

    def addr6(self):
        return "hex:" + socket.inet_pton(socket.AF_INET6, self.pick(*ADDRESSES6)).hex()

    def addr4(self):
        text = self.pick(*ADDRESSES)
        return text if self.chance(90) else "hex:" + socket.inet_aton(text).hex()

    def port(self):
        return self.pick(80, 80, 80, 81, 0, 21, 65535)

    def proto(self):
        return self.pick(*[6] * 8, *[17] * 4, *[132] * 2 * ("sctp" in self.on), 1, 262)

    def mark(self):
        return self.pick(1, 1, 7, 0xFFFFFFFF, 0)

    def flags(self):
        value = self.pick(0, 0, 0, 1, 1, 2, 4, 8, 0x18, self.random.getrandbits(32))
        for name, bit in (("persistent", 1), ("onepacket", 4)):
            if name not in self.on:
                value &= ~bit
        return value

    def fwd(self):
        return self.pick(0, 0, 1, 2, 2, 3, 4, 5, 8, 0xFFFFFFF8) & (0xFFFFFFFF if "fwd" in self.on else 0xFFFFFFF8)

    def sched(self):
        more = "wrr lc sed nq fo ovf sh dh mh lblc lblcr twos".split() if "schedulers" in self.on else ()
        return "nosuch" if self.chance(1) else self.pick("rr", "rr", "wlc", "wlc", "none", *more)

    # ---- netlink

    def key(self):
        six = "ipv6" in self.on and self.chance(25)
        af = 10 if six else 2
        if self.chance(2):
            af = self.pick(0, 1, 3, 255, 65535)
        if "fwmark" in self.on and self.chance(25):
            return [f"af={af}", f"fwmark={self.mark()}"], six
        if not six and self.chance(65):
            proto, addr, port = self.pick(*OFTEN)
            return [f"af={af}", f"protocol={proto}", f"addr={addr}", f"port={port}"], six
        addr = self.addr6() if six else self.addr4()
        return [f"af={af}", f"protocol={self.proto()}", f"addr={addr}", f"port={self.port()}"], six

    def service_words(self, six):
        netmask = f"u32:{self.pick(1, 64, 128, 128, 128, 0, 129)}" if six else self.pick(
            "255.255.255.255", "255.255.255.255", "255.255.0.0", "0.0.0.0", "1.2.3.4")
        flags = self.flags()
        mask = self.pick(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFF, 0x3, 0)
        words = [f"sched={self.sched()}", f"flags={flags:#x}/{mask:#x}", f"timeout={self.number()}", f"netmask={netmask}"]
        if self.chance(2):
            words.append(self.pick("pe=str:", "pe=nosuch", *["pe=sip"] * ("pe" in self.on)))
        return words

    def dest_key(self, six):
        mixed = "ipv6" in self.on and self.chance(10)
        six = six != mixed
        words = [f"addr={self.addr6() if six else self.pick('10.0.1.2', '10.0.1.2', '10.0.1.3', self.addr4())}",
                 f"port={self.pick(80, 80, 8000, 0)}"]
        if mixed or self.chance(30):
            words.append(f"af={10 if six else 2}")
        elif self.chance(2):
            words.append(f"af={self.pick(0, 1, 3, 65535)}")
        return words

    def dest_words(self):
        good = self.chance(70)
        words = [f"fwd={self.fwd()}", f"weight={self.pick(0, 1, 3) if good else self.number()}",
                 f"u_thresh={self.pick(0, 9) if good else self.number()}",
                 f"l_thresh={0 if good else self.number()}"]
        if self.chance(20):
            words.append(f"tun_type={self.pick(0, 1, 2, 3, 255)}")
        if self.chance(20):
            words.append(f"tun_port={self.pick(0, 6080)}")
        if self.chance(20):
            words.append(f"tun_flags={self.pick(0, 1, 2, 65535)}")
        return words

    def daemon_words(self):
        words = [f"state={self.pick(0, 1, 2, 3)}"]
        if "daemon" in self.on:
            # No interface: it shall not run.
            words += ["ifn=nosuch", f"id={self.number()}"]
        return words

    def broken(self, words):
        """Does something to one word, or adds one."""
        words = list(words)
        at = self.random.randrange(len(words)) if words else 0
        name = words[at].partition("=")[0] if words else ""
        kind = self.pick("gone", "twice", "bytes", "bytes", "nested", "unknown", "junk", "short")
        free = NEEDS.get(name, set()) <= self.on
        if kind == "gone" and words:
            del words[at]
        elif kind == "twice" and words:
            words.insert(self.random.randrange(len(words) + 1), words[at])
        elif kind == "bytes" and words and free:
            words[at] = f"{name}=hex:{self.bytes(24)}"
        elif kind == "short" and words and free:
            words[at] = f"{name}=hex:{self.bytes(1)}"
        elif kind == "nested" and words:
            words[at] = words[at].replace("=", "~=", 1)
        elif kind == "unknown":
            words.append(f"#{self.pick(13, 16, 99, 0)}=hex:{self.bytes(9)}")
        else:
            words.append("bytes=" + self.pick("00", "0000", "ffff0900", "02000900", "04000900", "000000", "0300ff7f"))
        return words

    def nested(self, name, words):
        if self.chance(12):
            words = self.broken(words)
        if self.chance(1) and NEEDS.get(name, set()) <= self.on:
            return [f"{name}=hex:{self.bytes(30)}"]
        return [name + "{", *words, "}"]

    def netlink(self):
        key, six = self.key()
        kind = self.random.choices(
            ["NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST", "GET_DEST",
             "SET_CONFIG", "GET_CONFIG", "GET_INFO", "ZERO", "FLUSH", "daemon", "odd"],
            [20, 8, 4, 6, 28, 12, 6, 4, 4, 1, 1, 2, 0.5, 1, 1])[0]
        if kind == "daemon":
            command = self.pick("DEL_DAEMON", "GET_DAEMON", "NEW_DAEMON")
            words = self.nested("daemon", self.daemon_words())
            return [command, *(["dump"] if command == "GET_DAEMON" else []), *words]
        if kind == "odd":
            words = [self.pick("0", "14", "18", "200", "GET_DEST", "GET_DAEMON", "GET_INFO", "SET_INFO")]
            return words + self.pick([], ["dump"], ["v=0"], ["v=3"]) + self.nested("service", key)
        words = [kind]
        if kind in ("GET_DEST", "GET_SERVICE") and (kind == "GET_DEST" or self.chance(10)):
            words.append("dump")
        if kind in ("GET_INFO", "GET_CONFIG", "FLUSH") or kind == "ZERO" and self.chance(20):
            return words
        if kind == "SET_CONFIG":
            names = [n for n in ("timeout_tcp", "timeout_tcp_fin", "timeout_udp") if self.chance(50)]
            config = [f"{n}={self.pick(0, 7, self.number())}" for n in names]
            return words + (self.broken(config) if self.chance(10) else config)
        body = key + self.service_words(six) if kind in ("NEW_SERVICE", "SET_SERVICE") else key
        body = self.nested("service", body)
        if kind.endswith("_DEST") and kind != "GET_DEST":
            server = self.dest_key(six) + (self.dest_words() if kind != "DEL_DEST" else [])
            body = self.pick(body + self.nested("dest", server), self.nested("dest", server) + body)
        return words + body

    # ---- socket options

    def option(self):
        kind = self.random.choices(
            ["ADD", "EDIT", "DEL", "ADDDEST", "EDITDEST", "DELDEST", "TIMEOUT", "ZERO", "FLUSH", "GET_INFO", "GET_VERSION",
             "GET_SERVICES", "GET_SERVICE", "GET_DESTS", "GET_TIMEOUT", "GET_DAEMON", "daemon", "number"],
            [20, 8, 4, 28, 12, 6, 4, 2, 0.5, 1, 1, 3, 5, 4, 2, 1, 1, 1])[0]
        if kind == "number":
            return [f"{self.pick('set', 'get')}:{self.random.randint(1150, 1170)}", f"hex={self.bytes(120) or '00'}"]
        if kind == "daemon":
            name = self.pick("", "0123456789abcdef", *["nosuch"] * ("daemon" in self.on))
            return [self.pick("STARTDAEMON", "STOPDAEMON"), f"state={self.pick(0, 1, 2, 3)}", f"ifn={name}"]
        words = [kind]
        if kind == "TIMEOUT":
            words += [f"{n}={self.pick(0, 7, self.number())}" for n in ("tcp", "fin", "udp")]
        elif kind == "GET_SERVICES":
            words.append(f"n={self.random.randint(0, 9)}")
        elif ipvsopt.FIELDS[kind][0]:
            words += self.option_key()
            if kind in ("ADD", "EDIT"):
                sched = "sched=0123456789abcdef" if self.chance(3) else f"sched={self.sched()}"
                words += [sched, f"flags={self.flags():#x}", f"timeout={self.number()}",
                          f"netmask={self.pick('255.255.255.255', '255.0.0.0', '0.0.0.0', '1.2.3.4')}"]
            elif kind.endswith("DEST"):
                words += self.option_dest()
            elif kind == "GET_DESTS":
                words.append(f"n={self.random.randint(0, 5)}")
        if self.chance(6):
            words.append(self.pick("len=-1", "len=+1", "len=0!", "len=500!", "bad"))
        return words

    def option_key(self):
        proto, addr, port = self.proto(), self.pick(*ADDRESSES), self.port()
        if self.chance(65):
            proto, addr, port = self.pick(*OFTEN)
        words = [f"proto={proto}", f"addr={addr}", f"port={port}"]
        if "fwmark" in self.on and self.chance(25):
            words.append(f"fwmark={self.mark()}")
        return words

    def option_dest(self):
        good = self.chance(70)
        more = self.random.getrandbits(32) & ~7 if self.chance(20) else 0
        return [f"daddr={self.pick('10.0.1.2', '10.0.1.2', '10.0.1.3', self.pick(*ADDRESSES))}",
                f"dport={self.pick(80, 80, 8000, 0)}", f"dflags={self.fwd() & 7 | more:#x}",
                f"dweight={self.pick(0, 1, 3) if good else self.number()}",
                f"du={self.pick(0, 9) if good else self.number()}", f"dl={0 if good else self.number()}"]


# ---- what is there --------------------------------------------------------------------------------------

def proc():
    with open("/proc/net/ip_vs", encoding="utf-8") as file:
        head, *lines = re.split(r"\n(?=\w)", file.read().rstrip("\n"))
    return [head] + sorted(lines)


def state(sock, ident, udp):
    """All of it, as lines: services in an order of their own, servers in theirs."""
    replies, _, _ = sock.talk(ident, ipvsnl.NLM_F_DUMP, struct.pack("=BBH", ipvsnl.COMMANDS["GET_SERVICE"], 1, 0))
    lines = []
    for _, _, body in replies:
        attrs = dict(ipvsnl.split(body[4:]))[1]
        key = b"".join(ipvsnl.attribute(n, data) for n, data in ipvsnl.split(attrs) if n <= 5)
        dests, number, _ = sock.talk(ident, ipvsnl.NLM_F_DUMP, struct.pack(
            "=BBH", ipvsnl.COMMANDS["GET_DEST"], 1, 0) + ipvsnl.attribute(1, key))
        lines.append("\n    ".join([ipvsnl.show(body[4:], ipvsnl.TOP)] + [
            ipvsnl.show(d[4:], ipvsnl.TOP) for _, _, d in dests] + [str(number)] * bool(number)))
    lines = [f"  {line}" for line in sorted(lines)] + ["  " + line for line in proc()]
    lines += ["  " + line for option in ("GET_INFO", "GET_VERSION", "GET_TIMEOUT") for line in ipvsopt.run(udp, option)]
    count = int(ipvsopt.run(udp, "GET_INFO")[0].split("services=")[1].split()[0])
    shown = ipvsopt.run(udp, f"GET_SERVICES n={count}")
    for line in shown:
        lines.append("  " + line)
        if line.startswith("proto"):
            words = [w for w in line.split() if w.split("=")[0] in ("proto", "addr", "port", "fwmark")]
            dests = line.split(" dests=")[1].split()[0]
            lines += ["    " + row for row in ipvsopt.run(udp, f"GET_DESTS {' '.join(words)} n={dests}")]
    return lines


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    maker = Maker(seed)
    sock, udp = ipvsnl.Socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ident = struct.unpack("=H", ipvsnl.family(sock)[0][1])[0]
    results = {}
    print(f"# seed {seed}, {count} calls")
    for n in range(1, count + 1):
        how = maker.pick("nl", "nl", "opt")
        words = maker.netlink() if how == "nl" else maker.option()
        text = f"{n} {how} {' '.join(words)}"
        try:
            lines = ipvsnl.send(sock, ident, list(words)) if how == "nl" else ipvsopt.run(udp, " ".join(words))
        except TimeoutError:
            lines = ["no answer"]
        if words[0] == "GET_SERVICES":  # which of them is chance
            lines = lines[-1:]
        print(text + " -> " + " | ".join(line for line in lines if line))
        word = next((w for w in reversed(lines) if w), "").split()[0]
        results[word] = results.get(word, 0) + 1
        if n % 40 == 0 or n == count:
            print("\n".join([f"state after {n}:"] + state(sock, ident, udp)), flush=True)
    print("results: " + " ".join(f"{k}={v}" for k, v in sorted(results.items())))
    # That most calls come through is what makes the others worth it.
    sys.exit(0 if results.get("OK", 0) * 4 > count else 1)


if __name__ == "__main__":
    main()
