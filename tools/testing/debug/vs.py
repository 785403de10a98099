"""How the scripts of this folder speak to ip_vs: modules, netlink, addresses. No process is started for a request."""
import ctypes
import os
import shlex
import struct
import subprocess

import ipvsnl

LIBC = ctypes.CDLL(None, use_errno=True)
FINIT_MODULE, DELETE_MODULE = 313, 176
VIP = "10.0.0.1"
SERVICE = f"service{{ af=2 protocol=17 addr={VIP} port=53 }}"
NEW = "service{ af=2 protocol=17 addr=%s port=%d sched=%s flags=%s timeout=%d netmask=255.255.255.255 }"
DEST = "dest{ addr=10.8.0.%d port=53 fwd=0 weight=%d u_thresh=0 l_thresh=0 }"
VS = "/proc/sys/net/ipv4/vs/"


def system(*arguments):
    if LIBC.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def insmod(path):
    with open(path, "rb") as file:
        system(FINIT_MODULE, file.fileno(), b"", 0)


def rmmod(name):
    system(DELETE_MODULE, name.encode(), os.O_NONBLOCK)


def modprobe(*names):
    subprocess.run(["modprobe", "-a", *names], check=True)


def ip(*lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def parse(line):
    return shlex.split(line.replace("{", "{ ").replace("}", " } "))


class Netlink:
    def __init__(self):
        self.sock = ipvsnl.Socket()
        self.lookup()

    def lookup(self):
        """Finds the family's number, which is another one each time the module is loaded."""
        attrs, number, _ = ipvsnl.family(self.sock)
        if attrs is None:
            raise OSError(number, "family IPVS")
        self.ident = struct.unpack("=H", attrs[1])[0]

    def prepared(self, line):
        """A function that sends it, so that little else happens while allocations fail."""
        command, *words = parse(line)
        flags = ipvsnl.NLM_F_ACK
        if words[:1] == ["dump"]:
            flags = ipvsnl.NLM_F_DUMP
            words.pop(0)
        data = struct.pack("=BBH", ipvsnl.COMMANDS[command], 1, 0) + ipvsnl.attributes(words, ipvsnl.TOP)

        def send():
            replies, number, _ = self.sock.talk(self.ident, flags, data)
            if number:
                raise OSError(number, command)
            return replies
        return send

    def __call__(self, line):
        return self.prepared(line)()

    def services(self):
        return len(self("GET_SERVICE dump"))

    def dests(self):
        return len(self("GET_DEST dump " + SERVICE))
