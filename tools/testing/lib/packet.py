"""IPv4 and IPv6 packets from words, right unless told otherwise. IPv6 addresses are in brackets.

    tcp ADDR:PORT ADDR:PORT FLAGS [KEY=VALUE]...        FLAGS: letters of FSRPAUEC, - for none
    udp ADDR:PORT ADDR:PORT [KEY=VALUE]...
    icmp ADDR ADDR TYPE CODE [KEY=VALUE]... [-- PACKET]  PACKET is what the error quotes; ICMPv6 for IPv6
    ip ADDR ADDR PROTOCOL [KEY=VALUE]...

all       data=TEXT hex=BYTES size=N (fill up with dots)
ip        ttl tos id df=1 mf=1 off=BYTES ihl=WORDS version len=N ipsum=N options=HEX
          cut=N (only so many bytes are sent) pad=N (bytes behind the packet's end)
          frag=N (fragments of N bytes) only=0,2 (send these fragments, in this order)
ip (IPv6) ttl tos id mf off version len cut pad frag only, like those; atomic=1 (a fragment header, but whole)
          ext=hop,dest,route,auth,none or 60:HEX (extension headers, in this order)
tcp       seq ack win doff=WORDS urg tcpopt=HEX
udp       ulen=N
icmp      rest=N (second word; the MTU of "fragmentation needed")
transport sum=bad or sum=N
"""
import socket
import struct

TCP_FLAGS = "FSRPAUEC"


def number(text):
    return int(text, 0)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def put_sum(data, offset, pseudo, option):
    """data with its checksum at offset."""
    value = checksum(pseudo + data)
    if option == "bad":
        value ^= 0x5555
    elif option is not None:
        value = number(option)
    elif pseudo and pseudo[-3 if len(pseudo) == 12 else -1] == 17 and value == 0:
        value = 0xFFFF
    return data[:offset] + struct.pack("!H", value) + data[offset + 2:]


def address(text):
    if text[0] == "[":
        host, _, port = text[1:].partition("]")
        return socket.inet_pton(socket.AF_INET6, host), int(port[1:] or 0)
    host, _, port = text.partition(":")
    return socket.inet_aton(host), int(port or 0)


class Options(dict):
    """KEY=VALUE words; what nobody takes is an error."""

    def __init__(self, words):
        super().__init__(word.split("=", 1) for word in words)

    def num(self, key, default=0):
        return number(self.pop(key)) if key in self else default

    def hex(self, key):
        return bytes.fromhex(self.pop(key, ""))


def payload(opt):
    return (opt.pop("data", "").encode() + opt.hex("hex")).ljust(opt.num("size"), b".")


def transport(kind, words, src, dst):
    """Protocol number, bytes, remaining options."""
    if kind == "tcp":
        flags = sum(1 << TCP_FLAGS.index(c) for c in words[0] if c != "-")
        opt = Options(words[1:])
        extra = opt.hex("tcpopt")
        data = struct.pack("!HHIIBBHHH", src[1], dst[1], opt.num("seq"), opt.num("ack"),
                           opt.num("doff", 5 + len(extra) // 4) << 4, flags, opt.num("win", 1000), 0,
                           opt.num("urg")) + extra + payload(opt)
        proto, offset = 6, 16
    elif kind == "udp":
        opt = Options(words)
        body = payload(opt)
        data = struct.pack("!HHHH", src[1], dst[1], opt.num("ulen", 8 + len(body)), 0) + body
        proto, offset = 17, 6
    elif kind == "icmp":
        quoted = b""
        if "--" in words:
            at = words.index("--")
            words, quoted = words[:at], build(words[at + 1:])[0]
        opt = Options(words[2:])
        data = struct.pack("!BBHI", number(words[0]), number(words[1]), 0, opt.num("rest")) + quoted + payload(opt)
        proto, offset = 1 if len(src[0]) == 4 else 58, 2
    else:
        opt = Options(words[1:])
        return number(words[0]), payload(opt), opt
    pseudo = b"" if proto == 1 else src[0] + dst[0] + struct.pack("!BBH", 0, proto, len(data))
    if len(src[0]) == 16:
        pseudo = src[0] + dst[0] + struct.pack("!II", len(data), proto)
    return proto, put_sum(data, offset, pseudo, opt.pop("sum", None)), opt


EXTENSIONS = {  # type, bytes behind the next header's type
    "hop": (0, "00010400000000"), "dest": (60, "00010400000000"), "route": (43, "00040000000000"),
    "auth": (51, "04000000000001000000010102030405060708090a0b0c"), "none": (59, "")}


def extension(name):
    kind, _, text = name.partition(":")
    kind, text = EXTENSIONS[kind] if kind in EXTENSIONS else (number(kind), text)
    return kind, bytes.fromhex(text)


def build6(proto, body, opt, src, dst):
    chain = [extension(name) for name in opt.pop("ext", "").split(",") if name]
    size = opt.num("frag", 0)
    only = [number(n) for n in opt.pop("only", "").split(",") if n]
    ttl, tos, ident, version = opt.num("ttl", 64), opt.num("tos"), opt.num("id", 1), opt.num("version", 6)
    mf, off, atomic = opt.num("mf"), opt.num("off"), opt.num("atomic")
    length, cut, pad = opt.num("len", None), opt.num("cut", None), opt.num("pad")
    if opt:
        raise ValueError(f"unknown {list(opt)}")
    fragments = size or mf or off or atomic
    packets = []
    for start in range(0, max(len(body), 1), size or max(len(body), 1)):
        part, kind = body[start:start + size] if size else body, proto
        if fragments:
            more = mf or start + len(part) < len(body)
            part = struct.pack("!BBHI", proto, 0, (start + off) & ~7 | bool(more), ident) + part
            kind = 44
        for before, header in reversed(chain):
            part, kind = bytes([kind]) + header + part if header else part, before
        header = struct.pack("!IHBB", version << 28 | tos << 20, len(part) if length is None else length, kind, ttl)
        packets.append((header + src + dst + part)[:cut] + bytes(pad))
    return [packets[n] for n in only] if only else packets


def build(words):
    """The packets that the words describe: one, or several fragments."""
    words = list(words)
    kind, src, dst = words[0], address(words[1]), address(words[2])
    proto, body, opt = transport(kind, words[3:], src, dst)
    if len(src[0]) == 16:
        return build6(proto, body, opt, src[0], dst[0])
    options = opt.hex("options")
    size = opt.num("frag", len(body) or 8)
    only = [number(n) for n in opt.pop("only", "").split(",") if n]
    ttl, tos, ident, ihl = opt.num("ttl", 64), opt.num("tos"), opt.num("id", 1), opt.num("ihl", 5 + len(options) // 4)
    version, df, mf, off = opt.num("version", 4), opt.num("df"), opt.num("mf"), opt.num("off")
    length, ipsum, cut, pad = opt.num("len", None), opt.num("ipsum", None), opt.num("cut", None), opt.num("pad")
    if opt:
        raise ValueError(f"unknown {list(opt)}")
    packets = []
    for start in range(0, max(len(body), 1), size):
        part = body[start:start + size]
        more = mf or start + size < len(body)
        header = struct.pack("!BBHHHBBH4s4s", version << 4 | ihl, tos,
                             20 + len(options) + len(part) if length is None else length, ident,
                             df << 14 | bool(more) << 13 | (start + off) // 8, ttl, proto, 0, src[0], dst[0]) + options
        header = put_sum(header, 10, b"", None if ipsum is None else str(ipsum))
        packets.append((header + part)[:cut] + bytes(pad))
    return [packets[n] for n in only] if only else packets
