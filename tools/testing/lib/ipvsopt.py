#!/usr/bin/python3
"""Sets and gets the socket options of IPVS, rightly or wrongly, and prints what comes back.

Reads one call a line:

    OPTION [FIELD=VALUE]...     OPTION: ADD..., GET_DAEMON, or set:NUMBER and get:NUMBER

Fields are those of the structures of include/uapi/linux/ip_vs.h, see FIELDS; those of a real server begin with d. More:

    len=N len=+N len=-N   another length than the structure's; n=N: the room for so many entries
    fill=HH               what is in the room for an answer before, and between fields; default aa
    bad                   a pointer to nowhere; hex=HH...: these bytes instead of fields

Services are sorted, because stock shows them in the order of a random hash. Rates are *.
"""
import ctypes
import errno
import os
import socket
import struct
import sys

BASE = 64 + 1024 + 64
SET = {"ADD": 2, "EDIT": 3, "DEL": 4, "FLUSH": 5, "ADDDEST": 7, "DELDEST": 8, "EDITDEST": 9, "TIMEOUT": 10,
       "STARTDAEMON": 11, "STOPDAEMON": 12, "ZERO": 15}
GET = {"GET_VERSION": 0, "GET_INFO": 1, "GET_SERVICES": 2, "GET_SERVICE": 3, "GET_DESTS": 4, "GET_DEST": 5,
       "GET_TIMEOUT": 6, "GET_DAEMON": 7}

KEY = [("proto", 0, "H"), ("addr", 4, "ip"), ("port", 8, "be16"), ("fwmark", 12, "I")]
SERVICE = KEY + [("sched", 16, "name"), ("flags", 32, "I"), ("timeout", 36, "I"), ("netmask", 40, "ip")]
DEST = [("addr", 0, "ip"), ("port", 4, "be16"), ("flags", 8, "I"), ("weight", 12, "i"), ("u", 16, "I"), ("l", 20, "I")]
SVCDEST = SERVICE + [("d" + name, at + 44, kind) for name, at, kind in DEST]
TIMEOUT = [("tcp", 0, "i"), ("fin", 4, "i"), ("udp", 8, "i")]
DAEMON = [("state", 0, "i"), ("ifn", 4, "name"), ("id", 20, "i")]
STATS = [("conns", 0, "I"), ("inpkts", 4, "I"), ("outpkts", 8, "I"), ("inbytes", 16, "Q"), ("outbytes", 24, "Q"),
         ("cps", 32, "rate"), ("inpps", 36, "rate"), ("outpps", 40, "rate"), ("inbps", 44, "rate"),
         ("outbps", 48, "rate")]
SERVICE_ENTRY = SERVICE + [("dests", 44, "I")] + [(name, at + 48, kind) for name, at, kind in STATS]
DEST_ENTRY = DEST + [("active", 24, "I"), ("inact", 28, "I"), ("persist", 32, "I")] + [
    (name, at + 40, kind) for name, at, kind in STATS]
INFO = [("version", 0, "I"), ("size", 4, "I"), ("services", 8, "I")]
# Structure and length of what goes in, by option.
FIELDS = {"ADD": (SERVICE, 44), "EDIT": (SERVICE, 44), "DEL": (SERVICE, 44), "ZERO": (SERVICE, 44), "FLUSH": ([], 0),
          "ADDDEST": (SVCDEST, 68), "DELDEST": (SVCDEST, 68), "EDITDEST": (SVCDEST, 68), "TIMEOUT": (TIMEOUT, 12),
          "STARTDAEMON": (DAEMON, 24), "STOPDAEMON": (DAEMON, 24), "GET_VERSION": ([], 64), "GET_INFO": ([], 12),
          "GET_SERVICES": ([("n", 0, "I")], 8), "GET_SERVICE": (KEY, 104), "GET_DESTS": (KEY + [("n", 16, "I")], 24),
          "GET_TIMEOUT": ([], 12), "GET_DAEMON": ([], 48)}
ENTRIES = {"GET_SERVICES": (SERVICE_ENTRY, 104), "GET_DESTS": (DEST_ENTRY, 96)}
SIZES = {"H": 2, "ip": 4, "be16": 2, "I": 4, "i": 4, "Q": 8, "rate": 4, "name": 16}

libc = ctypes.CDLL(None, use_errno=True)


# ---- calls ----------------------------------------------------------------------------------------------

def call_set(sock, number, data, length=None, bad=False):
    pointer = ctypes.c_void_p(1) if bad else ctypes.c_char_p(data)
    done = libc.setsockopt(sock.fileno(), 0, number, pointer, ctypes.c_uint(len(data) if length is None else length))
    return ctypes.get_errno() if done < 0 else 0


def call_get(sock, number, data, length=None, bad=False):
    """The error, the length and all bytes, also those behind the length."""
    room = ctypes.create_string_buffer(data, max(len(data), 1))
    length = ctypes.c_int(len(data) if length is None else length)
    done = libc.getsockopt(sock.fileno(), 0, number, ctypes.c_void_p(1) if bad else room, ctypes.byref(length))
    return (ctypes.get_errno() if done < 0 else 0), length.value, room.raw[:len(data)]


# ---- text to bytes and back -----------------------------------------------------------------------------

def encode(kind, text):
    if kind == "ip":
        return socket.inet_aton(text)
    if kind == "be16":
        return struct.pack("!H", int(text, 0) & 0xFFFF)
    if kind == "name":
        return text.encode()[:16].ljust(16, b"\0")
    size = SIZES[kind]
    return (int(text, 0) % (1 << 8 * size)).to_bytes(size, sys.byteorder)


def pack(table, size, values, fill=0):
    data = bytearray([fill]) * size
    for name, at, kind in table:
        data[at:at + SIZES[kind]] = encode(kind, values[name]) if name in values else bytes(SIZES[kind])
    return bytes(data)


def decode(table, data, fill=0):
    words, seen = [], bytearray(len(data))
    for name, at, kind in table:
        part = data[at:at + SIZES[kind]]
        seen[at:at + len(part)] = b"x" * len(part)
        if kind == "ip":
            text = socket.inet_ntoa(part)
        elif kind == "be16":
            text = str(struct.unpack("!H", part)[0])
        elif kind == "name":
            head, _, rest = part.partition(b"\0")
            # Stock leaves what was behind the end or clears it, as the name lies in memory.
            text = head.decode(errors="replace") + ("" if {*rest} <= {0, fill} else "+" + rest.hex())
        elif kind == "rate":
            text = "*"
        elif name == "flags" or name == "version":
            text = hex(struct.unpack("=I", part)[0])
        else:
            text = str(struct.unpack("=" + kind, part)[0])
        words.append(f"{name}={text}")
    between = bytes(b for b, s in zip(data, seen) if not s)
    if between:
        words.append("between=" + ("0" if not any(between) else between.hex()))
    return " ".join(words)


# ---- one line -------------------------------------------------------------------------------------------

def length_of(text, size):
    if text is None:
        return size
    return size + int(text, 0) if text[0] in "+-" and text[-1] != "!" else int(text.rstrip("!"), 0)


def run(sock, line):
    """What comes back, as lines; the last one is the error's name."""
    name, *words = line.split()
    values = {key: value for key, _, value in (word.partition("=") for word in words)}
    bad, fill = "bad" in values, int(values.get("fill", "aa"), 16)
    how, _, number = name.partition(":")
    getting = name in GET or how == "get"
    table, size = FIELDS.get(name, ([], 0))
    number = BASE + (GET if getting else SET)[name] if not number else int(number, 0)
    data = bytes.fromhex(values["hex"]) if "hex" in values else pack(table, size, values, fill if getting else 0)
    if not getting:
        length = length_of(values.get("len"), len(data))
        data = data[:max(length, 0)].ljust(min(max(length, 0), 1 << 16), b"\0")
        return [errname(call_set(sock, number, data, length, bad))]
    entries, each = ENTRIES.get(name, ([], 0))
    whole = len(data) + min(int(values.get("n", "0"), 0), 4096) * each
    length = length_of(values.get("len"), len(data) + int(values.get("n", "0"), 0) * each)
    # Some room behind what is asked for: nobody may write there.
    room = data.ljust(max(whole, min(length, 1 << 16)) + 16, bytes([fill]))
    error, got, answer = call_get(sock, number, room, length, bad)
    lines = [] if error else show(name, got, answer, size, fill, entries, each, whole)
    if error and answer != room:
        lines.append("changed " + answer.hex())
    if answer[max(length, 0):] != room[max(length, 0):]:
        lines.append("BEYOND " + answer[max(length, 0):].hex())
    return lines + [errname(error) + (f" len={got}" if got != length else "")]


def show(name, got, answer, size, fill, entries, each, whole):
    if name == "GET_VERSION":
        return [repr(answer[:got].decode(errors="replace"))]
    if name == "GET_INFO":
        return [decode(INFO, answer[:size])]
    if name == "GET_TIMEOUT":
        return [decode(TIMEOUT, answer[:size])]
    if name == "GET_DAEMON":
        return [decode(DAEMON, answer[at:at + 24]) for at in (0, 24)]
    if name == "GET_SERVICE":
        return [decode(SERVICE_ENTRY, answer[:size], fill)]
    lines = []
    if each:
        lines = [decode(KEY + [("n", 16, "I")], answer[:size])] if size == 24 else []
        rows = [answer[at:at + each] for at in range(size, whole, each)]
        shown = ["untouched" if row == bytes([fill]) * each else decode(entries, row) for row in rows]
        lines += sorted(shown) if name == "GET_SERVICES" else shown
    return lines


def errname(number):
    return errno.errorcode.get(number, str(number)) if number else "OK"


def main():
    if len(sys.argv) > 1:  # as another user
        os.setgroups([])
        os.setuid(int(sys.argv[1]))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for line in sys.stdin:
        line = line.strip()
        if not line or line.startswith("#"):
            print(line)
            continue
        print("$ opt " + line)
        print("\n".join(run(sock, line)), flush=True)


if __name__ == "__main__":
    main()
