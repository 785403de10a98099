#!/usr/bin/python3
"""Sends any message to the generic netlink family IPVS, right or wrong, and prints what comes back.

Reads one message a line:

    COMMAND [dump] [v=VERSION] [ATTRIBUTE]...      COMMAND: NEW_SERVICE..., FLUSH, a number, or family
    ATTRIBUTE: NAME=VALUE  NAME{ ATTRIBUTE... }  bytes=HEX (as they are: attributes with wrong lengths)
    NAME: as in the tables below, or #NUMBER; NAME~ sets the "nested" bit
    VALUE: as the attribute's type wants, or TYPE:VALUE with u8 u16 u32 u64 be16 be32 str (with NUL) raw hex

and prints the line, the replies and the error's name. Replies are decoded attribute by attribute, in their order; an
attribute without the length of its type is printed as NAME[LENGTH]=HEX. Rates are *. The replies of a dump of services
are sorted, because stock dumps them in the order of a random hash.
"""
import errno
import os
import socket
import struct
import sys

COMMANDS = {name: number for number, name in enumerate(
    "NEW_SERVICE SET_SERVICE DEL_SERVICE GET_SERVICE NEW_DEST SET_DEST DEL_DEST GET_DEST NEW_DAEMON DEL_DAEMON "
    "GET_DAEMON SET_CONFIG GET_CONFIG SET_INFO GET_INFO ZERO FLUSH".split(), 1)}

# (name, type) by attribute number, from 1
STATS = [(n, "u32") for n in "conns inpkts outpkts".split()] + [(n, "u64") for n in "inbytes outbytes".split()] + [
    (n, "rate32") for n in "cps inpps outpps inbps outbps".split()] + [("pad", "hex")]
STATS64 = [(n, "u64") for n in "conns inpkts outpkts inbytes outbytes".split()] + [
    (n, "rate64") for n in "cps inpps outpps inbps outbps".split()] + [("pad", "hex")]
SERVICE = [("af", "u16"), ("protocol", "u16"), ("addr", "addr"), ("port", "be16"), ("fwmark", "u32"), ("sched", "str"),
           ("flags", "flags"), ("timeout", "u32"), ("netmask", "ip"), ("stats", STATS), ("pe", "str"),
           ("stats64", STATS64)]
DEST = [("addr", "addr"), ("port", "be16"), ("fwd", "u32"), ("weight", "u32"), ("u_thresh", "u32"), ("l_thresh", "u32"),
        ("active", "u32"), ("inact", "u32"), ("persist", "u32"), ("stats", STATS), ("af", "u16"),
        ("stats64", STATS64), ("tun_type", "u8"), ("tun_port", "be16"), ("tun_flags", "u16")]
DAEMON = [("state", "u32"), ("ifn", "str"), ("id", "u32"), ("maxlen", "u16"), ("group", "ip"), ("group6", "hex"),
          ("port", "u16"), ("ttl", "u8")]
TOP = [("service", SERVICE), ("dest", DEST), ("daemon", DAEMON), ("timeout_tcp", "u32"), ("timeout_tcp_fin", "u32"),
       ("timeout_udp", "u32")]
INFO = [("version", "u32"), ("size", "u32")]

NUMBERS = {"u8": "=B", "u16": "=H", "u32": "=I", "u64": "=Q", "be16": "!H", "be32": "!I", "rate32": "=I", "rate64": "=Q"}
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP, NLM_F_ACK_TLVS = 1, 2, 4, 0x300, 0x200
NLMSG_ERROR, NLMSG_DONE, GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 2, 3, 16, 3
SOL_NETLINK, NETLINK_EXT_ACK = 270, 11


# ---- text to bytes --------------------------------------------------------------------------------------

def encode(kind, text):
    head, colon, rest = text.partition(":")
    if colon and head in (*NUMBERS, "str", "raw", "hex", "ip"):
        kind, text = head, rest
    if kind in NUMBERS:
        value = int(text, 0)
        return struct.pack(NUMBERS[kind], value % (1 << 8 * struct.calcsize(NUMBERS[kind])))
    if kind in ("addr", "ip"):
        return socket.inet_aton(text).ljust(16 if kind == "addr" else 4, b"\0")
    if kind == "flags":  # VALUE or VALUE/MASK
        value, _, mask = text.partition("/")
        return struct.pack("=II", int(value, 0), int(mask or "0xffffffff", 0))
    if kind == "str":
        return text.encode() + b"\0"
    if kind == "raw":
        return text.encode()
    return bytes.fromhex(text)


def attribute(number, payload):
    return struct.pack("=HH", len(payload) + 4, number) + payload + bytes(-len(payload) % 4)


def attributes(words, table):
    """Takes words up to the end or the closing brace."""
    data = b""
    while words:
        word = words.pop(0)
        if word == "}":
            break
        if word.startswith("bytes="):
            data += bytes.fromhex(word[6:])
            continue
        name, _, value = word.rstrip("{").partition("=")
        flag, name = (0x8000, name[:-1]) if name.endswith("~") else (0, name)
        if name.startswith("#"):
            number, kind = int(name[1:]), "hex"
        else:
            number = [n for n, _ in table].index(name) + 1
            kind = table[number - 1][1]
        if word.endswith("{"):
            payload = attributes(words, kind if isinstance(kind, list) else [])
        else:
            payload = encode(kind, value)
        data += attribute(number | flag, payload)
    return data


# ---- bytes to text --------------------------------------------------------------------------------------

def split(data):
    while len(data) >= 4:
        size, number = struct.unpack_from("=HH", data)
        if size < 4 or size > len(data):
            break
        yield number & 0x3FFF, data[4:size]
        data = data[size + 3 & ~3:]


def decode(kind, data):
    if isinstance(kind, list):
        return None
    if kind in NUMBERS and len(data) == struct.calcsize(NUMBERS[kind]):
        return "*" if kind.startswith("rate") else str(struct.unpack(NUMBERS[kind], data)[0])
    if kind == "addr" and len(data) == 16:
        return socket.inet_ntoa(data[:4]) + (data[4:].hex() if any(data[4:]) else "")
    if kind == "ip" and len(data) == 4:
        return socket.inet_ntoa(data)
    if kind == "flags" and len(data) == 8:
        return "%#x/%#x" % struct.unpack("=II", data)
    if kind == "str" and data.endswith(b"\0"):
        return data[:-1].decode(errors="replace")
    return None


def show(data, table):
    out = []
    for number, payload in split(data):
        name, kind = table[number - 1] if 0 < number <= len(table) else (f"#{number}", "hex")
        if isinstance(kind, list):
            out.append(f"{name}{{ {show(payload, kind)} }}")
        else:
            text = decode(kind, payload)
            out.append(f"{name}={text}" if text is not None else f"{name}[{len(payload)}]={payload.hex()}")
    return " ".join(out)


# ---- conversation ---------------------------------------------------------------------------------------

class Socket:
    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.sock.settimeout(5)
        self.sequence = 0

    def talk(self, kind, flags, data):
        """Messages up to the end: (type, flags, body), the error number and the kernel's explanation."""
        self.sequence += 1
        self.sock.send(struct.pack("=IHHII", len(data) + 16, kind, flags | NLM_F_REQUEST, self.sequence, 0) + data)
        replies = []
        while True:
            buffer = self.sock.recv(1 << 17)
            while buffer:
                size, kind, flags, sequence, _ = struct.unpack_from("=IHHII", buffer)
                body, buffer = buffer[16:size], buffer[size + 3 & ~3:]
                if sequence != self.sequence:
                    continue
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    number = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                    message = ""
                    if flags & NLM_F_ACK_TLVS:
                        skip = 4 if kind == NLMSG_DONE else self.echo_size(body, flags)
                        message = dict(split(body[skip:])).get(1, b"").rstrip(b"\0").decode()
                    return replies, -number, message
                replies.append((kind, flags, body))

    @staticmethod
    def echo_size(body, flags):
        """The error quotes our message, or with the "capped" flag its header."""
        return 4 + (16 if flags & 0x100 else (struct.unpack_from("=I", body, 4)[0] + 3 & ~3))


def family(sock):
    replies, number, message = sock.talk(GENL_ID_CTRL, NLM_F_ACK,
                                         struct.pack("=BBH", CTRL_CMD_GETFAMILY, 2, 0) + attribute(2, b"IPVS\0"))
    return dict(split(replies[0][2][4:])) if replies else None, number, message


def show_family(attrs):
    """CTRL_ATTR_*: 3 version, 4 header size, 5 maxattr, 6 ops (1 id, 2 flags), 7 multicast groups"""
    lines = ["version=%d hdrsize=%d maxattr=%d groups=%s" % (*(struct.unpack("=I", attrs[n])[0] for n in (3, 4, 5)),
                                                             7 in attrs)]
    names = {number: name for name, number in COMMANDS.items()}
    for _, op in split(attrs.get(6, b"")):
        op = {n: struct.unpack("=I", v)[0] for n, v in split(op)}
        lines.append(f"op {names.get(op[1], op[1])} flags={op[2]:#x}")
    return lines


def send(sock, ident, words):
    name = words.pop(0)
    command = COMMANDS.get(name)
    command = int(name, 0) if command is None else command
    version, flags = 1, NLM_F_ACK
    if words and words[0] == "dump":
        words.pop(0)
        flags = NLM_F_DUMP
    if words and words[0].startswith("v="):
        version = int(words.pop(0)[2:])
    replies, number, message = sock.talk(ident, flags, struct.pack("=BBH", command, version, 0) + attributes(words, TOP))
    names = {number: name for name, number in COMMANDS.items()}
    lines = []
    for kind, flags, body in replies:
        command, version, _ = struct.unpack_from("=BBH", body)
        lines.append(f"< {names.get(command, command)}{' multi' if flags & NLM_F_MULTI else ''}"
                     f"{'' if kind == ident else ' type %d' % kind}{'' if version == 1 else ' v%d' % version} "
                     + show(body[4:], INFO if command == COMMANDS["SET_INFO"] else TOP))
    if name == "GET_SERVICE":
        lines.sort()
    return lines + [errno.errorcode.get(number, str(number)) if number else "OK", message]


def main():
    if len(sys.argv) > 1:  # as another user
        os.setgroups([])
        os.setuid(int(sys.argv[1]))
    sock = Socket()
    ident = None
    for line in sys.stdin:
        line = line.strip()
        if not line or line.startswith("#"):
            print(line)
            continue
        print("$ nl " + line)
        words = line.replace("{", "{ ").replace("}", " } ").split()
        try:
            if ident is None or words[0] == "family":
                attrs, number, message = family(sock)
                if attrs is None:
                    print(errno.errorcode[number], message)
                    continue
                ident = struct.unpack("=H", attrs[1])[0]
            lines = show_family(attrs) if words[0] == "family" else send(sock, ident, words)
        except TimeoutError:
            lines = ["no answer"]
        print("\n".join(text for text in lines if text), flush=True)


if __name__ == "__main__":
    main()
