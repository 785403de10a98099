"""Traffic of a scenario: servers, clients, raw packets and captures of all nodes in one process.

A socket stays in the network namespace where it was opened, so one process can hold the sockets of every node. That
saves a Python start per node and makes captures exact: packets wait in the capture sockets until they are asked for.

scenario.sh writes one command a line to its stdin, its words separated by the character 31, and finds the command's
output in the file that is the argument and the exit status on stdout. A start costs more than all the rest of a short
scenario, so this is imported (and compiled once for a machine) and itself imports little. A node is a network namespace of `ip netns`; "director" is our own.
"""
import array
import errno
import fcntl
import mmap
import os
import selectors
import socket
import struct
import sys
import threading
import time

import packet

ETH_P_ALL = 3
SOL_PACKET = 263
SIOCADDRT, SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = (
    0x890B, 0x8916, 0x891C, 0x8913, 0x8914, 0x8946)
IFF_UP = 1
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C
SYSCTLS = {
    "net/ipv4/icmp_ratelimit": "0",  # every error is sent, none depends on time
    "net/ipv4/tcp_timestamps": "0",  # nothing random in segments but sequence numbers
    "net/ipv4/ip_local_port_range": "50000 60999",  # below: ports that scenarios choose
}


both = False  # IPv6, too


def is_neighbour(ring, at):
    """Whether an IPv6 packet is of neighbour discovery or multicast listeners: not what scenarios show."""
    kind, at = ring[at + 6], at + 40
    if kind == 0:
        kind, at = ring[at], at + 8 + 8 * ring[at + 1]
    return kind == 58 and ring[at] in (*range(130, 138), 143)


class Capture:
    """A packet socket with a receive ring. The kernel copies a packet into the ring when it passes: a socket without
    ring would share the packet's data with the stack, which may change it before we look."""

    PACKET_RX_RING, PACKET_VERSION, TPACKET_V2, TP_STATUS_USER, HEADER = 5, 10, 1, 1, 32

    def __init__(self, interface, size=2048, count=1024):
        self.SIZE, self.COUNT = size, count
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.setsockopt(SOL_PACKET, self.PACKET_VERSION, self.TPACKET_V2)
        self.sock.setsockopt(SOL_PACKET, self.PACKET_RX_RING,
                             struct.pack("IIII", 16 * size, count // 16, size, count))
        self.ring = mmap.mmap(self.sock.fileno(), size * count)
        self.next = 0
        self.sock.bind((interface, ETH_P_ALL))

    def read(self):
        """The packets since the last call: (sent, bytes of the frame). Those of IPv6 only after cmd_ipv6."""
        packets, any_packet = [], False
        while True:
            at = self.next * self.SIZE
            status, size, caught, mac = struct.unpack_from("IIIH", self.ring, at)
            if not status & self.TP_STATUS_USER:
                return packets, any_packet
            any_packet = True
            proto, _, _, kind = struct.unpack_from("!HiHB", self.ring, at + self.HEADER + 2)
            if proto == 0x0800 or proto == 0x86DD and both and not is_neighbour(self.ring, at + mac + 14):
                packets.append((kind == socket.PACKET_OUTGOING, size, self.ring[at + mac:at + mac + caught]))
            struct.pack_into("I", self.ring, at, 0)
            self.next = (self.next + 1) % self.COUNT


class Node:
    """A namespace: how to enter it, and the capture on its eth0."""

    def __init__(self, name, number):
        self.name = name
        self.number = number
        self.fd = os.open("/proc/self/ns/net" if name == "director" else f"/run/netns/{name}", os.O_RDONLY)
        self.capture = None

    def mac(self, end):
        """Hardware address of the node's end (2) or the director's end (1) of its link, set by scenario.sh."""
        return bytes([2, 0, 0, 0, self.number, end])


class Inside:
    """with Inside(node): sockets opened there belong to the node."""

    def __init__(self, node):
        self.node = node

    def __enter__(self):
        os.setns(self.node.fd, os.CLONE_NEWNET)

    def __exit__(self, *_):
        os.setns(nodes["director"].fd, os.CLONE_NEWNET)


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def inet_socket(kind, where):
    return socket.socket(socket.AF_INET6 if where[0] == "[" else socket.AF_INET, kind)


def error_name(exc):
    if isinstance(exc, TimeoutError):
        return "no answer"
    return errno.errorcode.get(exc.errno, str(exc))


# ---- servers: one thread for all of them ----------------------------------------------------------

class Servers(threading.Thread):
    """Answers each line or datagram with the server's name, the text and the client it saw.

    Lines "close" and "reset" make a TCP server end the connection; a GET is answered as HTTP does.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.open = {}
        self.places = {}

    def add(self, node, name, proto, sock):
        sock.setblocking(False)
        self.open[name, proto, sock.getsockname()[1]] = sock
        self.places[name, proto, sock.getsockname()[1]] = node
        self.selector.register(sock, selectors.EVENT_READ, (self.accept if proto == "tcp" else self.datagram, name))

    def remove(self, name, proto, port):
        sock = self.open.pop((name, proto, port))
        self.selector.unregister(sock)
        sock.close()

    def accept(self, sock, name):
        conn, peer = sock.accept()
        conn.setblocking(False)
        self.selector.register(conn, selectors.EVENT_READ, (self.line, (name, peer, bytearray())))

    def datagram(self, sock, name):
        data, peer = sock.recvfrom(65536)
        sock.sendto(self.answer(name, data, peer), peer)

    def line(self, sock, who):
        name, peer, text = who
        data = b""
        try:
            data = sock.recv(65536)
            text += data
            if data and not text.endswith(b"\n"):
                return
            if text.startswith(b"GET "):
                body = name.encode() + b"\n"
                sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                data = b""
            elif text == b"reset\n":
                reset(sock)
            elif data and text != b"close\n":
                sock.sendall(self.answer(name, text.rstrip(b"\n"), peer) + b"\n")
                text.clear()
                return
        except OSError:
            pass
        self.selector.unregister(sock)
        sock.close()

    @staticmethod
    def answer(name, data, peer):
        if len(data) > 200:  # as long as the question
            return (name.encode() + b" " + data)[:len(data)]
        return b"%s %s from %s:%d" % (name.encode(), data, host_text(peer[0]).encode(), peer[1])

    def run(self):
        while True:
            for key, _ in self.selector.select():
                handler, argument = key.data
                try:
                    handler(key.fileobj, argument)
                except OSError:
                    pass


def host_text(host):
    return f"[{host}]" if ":" in host else host


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# ---- commands -----------------------------------------------------------------------------------
# Each is a function of the words after its name; what it returns is printed; an OSError is printed by name.

nodes = {}
servers = Servers()
connections = {}
decoder = None


def cmd_serve(node, proto, where, name=None):
    """serve NODE tcp|udp ADDR:PORT [NAME]"""
    with Inside(nodes[node]):
        sock = inet_socket(socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM, where)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address(where))
    if proto == "tcp":
        sock.listen(128)
    servers.add(node, name or node, proto, sock)


def cmd_enter(name):
    """enter NODE: a namespace that somebody else set up becomes a node"""
    nodes[name] = Node(name, len(nodes))


def cmd_leave(name):
    """leave NODE: lets go of a namespace and of its servers"""
    for node, proto, port in list(servers.open):
        if servers.places[node, proto, port] == name:
            servers.remove(node, proto, port)
    os.close(nodes.pop(name).fd)


def cmd_unserve(name, proto, port):
    """unserve NAME tcp|udp PORT: the port is closed from now on"""
    servers.remove(name, proto, int(port))


def tcp_connect(node, source, to):
    with Inside(nodes[node]):
        sock = inet_socket(socket.SOCK_STREAM, source)
    sock.settimeout(5)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address(source))
        sock.connect(address(to))
    except OSError:
        reset(sock)
        sock.close()
        raise
    return sock


def tcp_ask(sock, text):
    sock.sendall(text.encode() + b"\n")
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(65536)
        if not more:
            return "end of stream"
        data += more
    return data.decode().rstrip("\n")


def tcp_close(sock):
    """Closes first, waits for the other side's close: the whole FIN exchange is over on return."""
    try:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was already
        while sock.recv(65536):
            pass
    finally:
        sock.close()


def cmd_open(name, node, source, to):
    """open NAME NODE ADDR:PORT ADDR:PORT: a TCP connection that stays"""
    connections[name] = tcp_connect(node, source, to)
    return "connected"


def cmd_ask(name, text):
    return tcp_ask(connections[name], text)


def cmd_write(name, text):
    connections[name].sendall(text.encode() + b"\n")


def cmd_close(name):
    tcp_close(connections.pop(name))


def cmd_halfclose(name):
    connections[name].shutdown(socket.SHUT_WR)


def cmd_reset(name):
    sock = connections.pop(name)
    reset(sock)
    sock.close()


def cmd_request(node, source, to, text="hello"):
    """request NODE ADDR:PORT ADDR:PORT [TEXT]: one TCP connection, one question, one answer, closed by the client"""
    sock = tcp_connect(node, source, to)
    try:
        answer = tcp_ask(sock, text)
    except OSError:
        reset(sock)
        sock.close()
        raise
    tcp_close(sock)
    return answer


def cmd_udp(node, source, to, text="hello", size="0", wait="4"):
    """udp NODE ADDR:PORT ADDR:PORT [TEXT [SIZE [SECONDS]]]: one datagram, filled up to SIZE, and its answer"""
    with Inside(nodes[node]):
        sock = inet_socket(socket.SOCK_DGRAM, source)
    try:
        sock.settimeout(float(wait))
        sock.bind(address(source))
        sock.connect(address(to))
        sock.send(text.encode().ljust(int(size), b"."))
        data = sock.recv(65536)
    finally:
        sock.close()
    return f"{data[:2].decode()} and {len(data)} bytes" if len(data) > 200 else data.decode()


def cmd_share(proto, node, source, to, count):
    """share tcp|udp NODE ADDR:FIRSTPORT ADDR:PORT COUNT: how many of COUNT new connections each server answered"""
    host, _, port = source.rpartition(":")
    port, share = int(port), {}
    for i in range(int(count)):
        try:
            one = cmd_request if proto == "tcp" else cmd_udp
            who = one(node, f"{host}:{port + i}", to).split()[0]
        except OSError as exc:
            who = error_name(exc)
        share[who] = share.get(who, 0) + 1
    return " ".join(f"{who}={n}" for who, n in sorted(share.items()))


def cmd_inject(node, *spec):
    """inject NODE PACKET: sends a crafted packet (see packet.py) out of the node's link, past its own stack"""
    there = nodes[node]
    kind = b"\x86\xdd" if spec[1][0] == "[" else b"\x08\x00"
    for data in packet.build(spec):
        there.capture.sock.send(there.mac(1) + there.mac(2) + kind + data)


def cmd_jumbo():
    """jumbo: from now on packets up to 9000 bytes are captured as a whole; fewer at once"""
    for node in nodes.values():
        if node.capture:
            with Inside(node):
                node.capture = Capture("eth0", 16384, 128)


def cmd_craft(node, *words):
    """craft NODE [linear=BYTES] [gso=BYTES] [partial=1] PACKET: tries a packet as a driver can make it: only the first
    bytes of a page or more in one piece, to be cut into segments, with the checksum left to the device"""
    there = nodes[node]
    how = {"linear": 14, "gso": 0, "partial": 0}
    while "=" in words[0]:
        key, value = words[0].split("=")
        how[key], words = int(value), words[1:]
    data = bytearray(packet.build(words)[0])
    ipv6 = data[0] >> 4 == 6
    start = 40 if ipv6 else 4 * (data[0] & 15)  # no extension headers
    proto = data[6 if ipv6 else 9]
    at = 16 if proto == 6 else 6
    if how["partial"]:  # the sum of the pseudo header is there
        pseudo = data[8:40] if ipv6 else data[12:20]
        pseudo += struct.pack("!II", len(data) - start, proto)
        data[start + at:start + at + 2] = struct.pack("!H", packet.checksum(pseudo) ^ 0xFFFF)
    kind = (4 if ipv6 else 1) if how["gso"] else 0
    header = struct.pack("=BBHHHH", how["partial"], kind, how["linear"], how["gso"], (14 + start) * how["partial"],
                         at * how["partial"])
    with Inside(there), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(SOL_PACKET, 15, 1)  # PACKET_VNET_HDR
        sock.bind(("eth0", ETH_P_ALL))
        sock.send(header + there.mac(1) + there.mac(2) + (b"\x86\xdd" if ipv6 else b"\x08\x00") + data)
    return cmd_packets(patience=6)


holds = {}


def cmd_hold(interface):
    """hold INTERFACE: a packet socket of the director, as tcpdump's without a ring: shares what passes with the stack"""
    sock = holds[interface] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
    sock.setblocking(False)
    sock.bind((interface, ETH_P_ALL))


def cmd_held(interface):
    """held INTERFACE: what tcpdump says of the packets that the socket has held until now; it goes"""
    global decoder
    decoder = decoder or Decoder()
    frames = []
    with holds.pop(interface) as sock:
        try:
            while True:
                data, (_, proto, kind, _, _) = sock.recvfrom(65536)
                if proto == 0x0800 or proto == 0x86DD and both and not is_neighbour(data, 14):
                    frames.append((">" if kind == socket.PACKET_OUTGOING else "<", data))
        except BlockingIOError:
            pass
    lines = decoder.lines([(len(data), data) for _, data in frames])
    return "\n".join(f"{interface} {way} {line}" for (way, _), line in zip(frames, lines))


def cmd_options(node, source, to, options, *settings):
    """options NODE ADDR:PORT ADDR:PORT OPTIONS [ttl=N] [df=1] [size=N]: a datagram with these IP options (in hex; - for
    none) from a real socket, and what it hears of it"""
    setting = dict(word.split("=") for word in settings)
    with Inside(nodes[node]):
        sock = inet_socket(socket.SOCK_DGRAM, source)
    with sock:
        if options != "-":
            sock.setsockopt(socket.IPPROTO_IP, 4, bytes.fromhex(options))  # IP_OPTIONS
        if "ttl" in setting:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(setting["ttl"]))
        sock.setsockopt(socket.IPPROTO_IP, 10, 2 if "df" in setting else 0)  # IP_MTU_DISCOVER
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        sock.settimeout(0.3)
        sock.bind(address(source))
        sock.connect(address(to))
        sock.send(b"hello".ljust(int(setting.get("size", 0)), b"."))
        data = sock.recv(65536)
    return data.decode() if len(data) < 200 else f"{len(data)} bytes"


def cmd_burst(node, count, source, to):
    """burst NODE COUNT ADDR:PORT ADDR:PORT: datagrams to or from as many consecutive ports of the first 10.9.0.0/16"""
    there = nodes[node]
    for n in range(int(count)):
        ends = [source, to]
        for i, (host, port) in enumerate(map(address, ends)):
            if host.startswith("10.9."):
                ends[i] = f"{host}:{port + n}"
        there.capture.sock.send(there.mac(1) + there.mac(2) + b"\x08\x00" +
                                packet.build(["udp", *ends, "data=burst"])[0])


def put(frame, words, sums):
    """The frame with 16-bit words where it has 0, by offset, and its checksums, for each of which the sum is told."""
    data = bytearray(frame)
    for at, word in words:
        struct.pack_into("!H", data, at, word)
    for at, total in sums:
        total += ~struct.unpack_from("!H", data, at)[0] & 0xFFFF
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into("!H", data, at, ~total & 0xFFFF or 0xFFFF)
    return bytes(data)


class Clients:
    """First packets of connections to a service, from clients that a random generator draws. A packet is built once;
    address, port and checksums of each client are put into it."""

    def __init__(self, kind, service):
        self.six, self.kind, self.service = service[0] == "[", kind, service
        self.ports = 40 if self.six else 20
        if kind != "icmp":
            words = ["tcp", self.client(), service, "A"] if kind == "tcp" else ["udp", self.client(), service, "data=x"]
            self.frame = packet.build(words)[0]
            self.sum = self.ports + (16 if kind == "tcp" else 6)

    def client(self, words=(0, 0, 0), port=0):
        if self.six:
            return "[fd09:0:%x::%x:0:%x]:%d" % (*words, port)
        return "10.9.%d.%d:%d" % (words[2] >> 8, words[2] & 255, port)

    def draw(self, random):
        """(address and port of the client, packet)"""
        words = [random.randrange(1, 65536) for _ in range(3)] if self.six else \
            [0, 0, random.randrange(256) << 8 | random.randrange(1, 255)]
        port = random.randrange(1024, 65536)
        if self.kind == "icmp":
            return self.error(self.client(words, port))
        places = (12, 18, 22) if self.six else (14, 14, 14)
        sums = [(self.sum, sum(words) + port)] + ([] if self.six else [(10, sum(words))])
        data = put(self.frame, [*zip(places, words), (self.ports, port)], sums)
        return (data[8:24] if self.six else data[12:16], data[self.ports:self.ports + 2]), data

    def error(self, client):
        """The client says that nobody is at its port, to which the service has sent something."""
        ends = [end.rpartition(":")[0] for end in (client, self.service)]
        what = ("1", "4") if self.six else ("3", "3")
        data = packet.build(["icmp", *ends, *what, "--", "udp", self.service, client, "data=x"])[0]
        inner = self.ports + 8
        host = data[inner + 24:inner + 40] if self.six else data[inner + 16:inner + 20]
        return (host, data[inner + self.ports + 2:inner + self.ports + 4]), data

    @staticmethod
    def read(frame):
        """(address and port of the client), address and port of the server: of a packet that comes out of the director"""
        six = frame[12] == 0x86
        proto, ends, ports, size = (frame[20], 22, 54, 16) if six else (frame[23], 26, 34, 4)
        server, port = bytes(frame[ends + size:ends + 2 * size]), bytes(frame[ports + 2:ports + 4])
        if proto in (1, 58):
            inner = ports - 6  # from the outer packet to the one it quotes
            return (bytes(frame[ends + inner + size:ends + inner + 2 * size]),
                    bytes(frame[ports + inner + 2:ports + inner + 4])), server, b""
        return (bytes(frame[ends:ends + size]), bytes(frame[ports:ports + 2])), server, port


chosen = []  # those of the last choices that got a server: node, address and port of the server, those of the client


def cmd_choices(node, kind, seed, count, *services):
    """choices NODE udp|tcp|icmp SEED COUNT ADDR:PORT...: new connections from clients that the seed draws, to one of the
    services each; a character for each: the last byte of the server's address, "-" for no server. tcp: they begin with an
    ACK, for sloppy_tcp; icmp: with an error about a datagram from the service to the client, for schedule_icmp"""
    import random
    there, draw = nodes[node], random.Random(int(seed))
    makers = [Clients(kind, service) for service in services]
    head = there.mac(1) + there.mac(2) + (b"\x86\xdd" if makers[0].six else b"\x08\x00")
    drain(1)
    clients, seen = [], {}

    def look(patience):
        for name, packets in drain(patience).items():
            for sent, _, frame in packets:
                if not sent and name != node:
                    client, server, port = Clients.read(frame)
                    seen[client] = name, server, port
    for n in range(int(count)):
        client, data = draw.choice(makers).draw(draw)
        clients.append(client)
        there.capture.sock.send(head + data)
        if n % 200 == 199:
            look(1)
    look(6)
    chosen[:] = [(*seen[client], client) for client in clients if client in seen]
    digits = "-123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(digits[seen[client][1][-1]] if client in seen else "-" for client in clients)


def cmd_finish(every, server="0"):
    """finish N [SERVER]: each Nth of the last choices, of a server's only if its last byte is given, is ended by the server"""
    for name, host, port, client in chosen[::int(every)]:
        if int(server) in (0, host[-1]):
            there = nodes[name]
            ends = [f"{socket.inet_ntoa(h)}:{int.from_bytes(p, 'big')}" for h, p in ((host, port), client)]
            there.capture.sock.send(there.mac(1) + there.mac(2) + b"\x08\x00" + packet.build(["tcp", *ends, "FA"])[0])
    drain(3)


def cmd_sweep(node, count, source, to):
    """sweep NODE COUNT ADDR:PORT ADDR:PORT: a datagram to each of COUNT addresses, the first ends in .0.0; what comes of
    them is not looked at"""
    there = nodes[node]
    head = there.mac(1) + there.mac(2) + b"\x08\x00"
    frame = packet.build(["udp", source, to])[0]
    for n in range(int(count)):
        there.capture.sock.send(head + put(frame, [(18, n)], [(10, n), (26, n)]))
        if n % 500 == 499:
            drain(1)
    drain(6)


class Flood(threading.Thread):
    """Datagrams from ever new ports, as fast as it goes but for a breath now and then; counts the answers."""

    def __init__(self, node, source, to):
        super().__init__(daemon=True)
        self.node, self.source, self.to = node, source, address(to)
        self.answers, self.ended = 0, False

    def run(self):
        os.setns(nodes[self.node].fd, os.CLONE_NEWNET)
        while not self.ended:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.005)
                try:
                    sock.bind((self.source, 0))
                    for _ in range(10):
                        sock.sendto(b"flood", self.to)
                        sock.recv(2048)
                        self.answers += 1
                except OSError:
                    pass


floods = []


def cmd_flood(what, *argument):
    """flood start NODE ADDR ADDR:PORT | flood answers (of all floods) | flood stop (all)"""
    if what == "start":
        floods.append(Flood(*argument))
        floods[-1].start()
    elif what == "stop":
        for flood in floods:
            flood.ended = True
            flood.join()
        floods.clear()
    else:
        return str(sum(flood.answers for flood in floods))
    return None


def cmd_gone(name):
    """gone NODE: its link does not exist any more"""
    nodes[name].capture = None


def cmd_offload(node, onoff):
    """offload NODE on|off: checksum and segmentation offload of the node's link, at the node's end"""
    with Inside(nodes[node]):
        set_offload("eth0", onoff == "on")


def drain(patience):
    """Packets captured so far, by node: (sent, length, bytes). Ends when a number of looks have found no packet: what
    the kernel does with an injected packet is done, or nearly, when the injection returns."""
    seen = {node.name: [] for node in nodes.values() if node.capture}
    idle = 0
    while idle < patience:
        idle += 1
        for node in nodes.values():
            if node.capture:
                packets, any_packet = node.capture.read()
                seen[node.name] += packets
                if any_packet:
                    idle = 0
        time.sleep(0.005)
    return seen


class Decoder:
    """tcpdump, fed with captured packets; started once, because a start takes as long as a hundred packets."""

    END = bytes(12) + b"\x08\x00" + packet.build("ip 0.0.0.0 255.255.255.255 253".split())[0]

    def __init__(self):
        to_child, self.stdin = os.pipe()
        stdout, from_child = os.pipe()
        self.stdout = os.fdopen(stdout, encoding="utf-8", errors="replace")
        # -S: relative sequence numbers would depend on what was captured before
        os.posix_spawnp("tcpdump", ["tcpdump", "-lnStvv", "-r", "-"], os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, to_child, 0), (os.POSIX_SPAWN_DUP2, from_child, 1),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
        os.close(to_child)
        os.close(from_child)
        os.write(self.stdin, struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))

    def lines(self, frames):
        """One line for each (length, bytes)."""
        for size, data in [*frames, (len(self.END), self.END)]:
            os.write(self.stdin, struct.pack("<IIII", 0, 0, len(data), size) + data)
        lines = []
        while not lines or "proto Unknown (253)" not in lines[-1] and "ip-proto-253" not in lines[-1]:
            line = self.stdout.readline().rstrip("\n")
            if line[:1].isspace() and lines:
                lines[-1] += " " + line.strip()
            else:
                lines.append(line)
        if "ip-proto-253" not in lines[-1]:
            self.stdout.readline()
        return lines[:-1]


def cmd_forget():
    """forget: drops what was captured until now"""
    drain(3)


def cmd_packets(*names, patience=12):
    """packets [NODE]...: what tcpdump says of the packets since the last call; > sent and < received by the node"""
    global decoder
    seen = drain(patience)
    names = names or seen
    frames = [(name, *frame) for name in names for frame in seen[name]]
    if not frames:
        return "no packets"
    decoder = decoder or Decoder()
    lines = decoder.lines([frame[2:] for frame in frames])
    if len(lines) != len(frames):
        return "\n".join([f"tcpdump: {len(lines)} lines for {len(frames)} packets", *lines])
    return "\n".join(f"{name} {'>' if sent else '<'} {line}" for (name, sent, *_), line in zip(frames, lines))


def cmd_try(node, *spec):
    """try NODE PACKET: injects a packet and shows all packets since the last time"""
    cmd_inject(node, *spec)
    return cmd_packets(patience=6)


def cmd_inside(name, skip):
    """inside NODE BYTES: what the node got, in hex as many bytes as that behind the outer IP header, and the rest"""
    global decoder
    decoder = decoder or Decoder()
    frames = [data for sent, _, data in drain(6)[name] if not sent]
    inner = [data[:14] + data[34 + int(skip):] for data in frames]
    lines = decoder.lines([(len(data), data) for data in inner])
    return "\n".join(f"{data[34:34 + int(skip)].hex()} {line}" for data, line in zip(frames, lines))


def cmd_count(*names):
    """count [NODE]...: numbers only: packets received by each node since the last call"""
    seen = drain(6)
    return " ".join(f"{name}={sum(not sent for sent, *_ in seen[name])}" for name in names or seen)


def connection(port):
    """State, seconds left, server of the connection from a client port, as /proc/net/ip_vs_conn has them, or None."""
    with open("/proc/net/ip_vs_conn", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[2] == f"{port:04X}":
                server = words[5]
                server = f"[{socket.inet_ntop(10, socket.inet_pton(10, server))}]" if ":" in server else \
                    socket.inet_ntoa(bytes.fromhex(server))
                return words[7], int(words[8]), f"{server}:{int(words[6], 16)}"
    return None


def connections_of(server):
    """Active and inactive connections of a server ADDR:PORT in the first service that has it."""
    host, port = address(server)
    name = f"{socket.inet_aton(host).hex()}:{port:04x}".upper() if ":" not in host else \
        f"[{socket.inet_pton(10, host).hex(':', 2)}]:{port:04X}"
    with open("/proc/net/ip_vs", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[:2] == ["->", name]:
                return int(words[4]), int(words[5])
    return None


def cmd_conn(timeouts, port):
    """conn TIMEOUTS PORT: state, timeout (the one of TIMEOUTS that counts down) and server of a connection, or none"""
    found = connection(int(port))
    if not found:
        return "none"
    state, left, server = found
    return f"{state} {next((t for t in map(int, timeouts.split()) if t >= left), left)} {server}"


def cmd_counts(server):
    """counts ADDR:PORT: active and inactive connections of a server"""
    return "%d %d" % (connections_of(server) or (-1, -1))


def cmd_step(timeouts, port, server, node, *spec):
    """step TIMEOUTS PORT SERVER NODE PACKET: injects a packet; who got it, the connection then, counters moved"""
    before = connections_of(server)
    cmd_inject(node, *spec)
    seen = drain(3)
    after = connections_of(server)
    got = [name for name in seen if any(not sent for sent, *_ in seen[name])]
    moved = " ".join("%+d" % (b - a) for a, b in zip(before, after))
    return f"{cmd_conn(timeouts, port):31} to {','.join(got) or 'nobody'}, active, inactive {moved}"


def cmd_help():
    return "\n".join(f.__doc__ for name, f in sorted(globals().items()) if name.startswith("cmd_") and f.__doc__)


# ---- start ------------------------------------------------------------------------------------------

def interface_ioctl(command, interface, value):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, command, struct.pack("16s24s", interface.encode(), value))


def inet(host):
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(host))


def set_up(interface):
    interface_ioctl(SIOCSIFFLAGS, interface, struct.pack("H", IFF_UP))


def set_address(interface, host):
    interface_ioctl(SIOCSIFADDR, interface, inet(host))
    interface_ioctl(SIOCSIFNETMASK, interface, inet("255.255.255.0"))
    set_up(interface)


def add_route(network, mask, gateway):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        entry = inet(gateway), inet(mask), 3  # RTF_UP | RTF_GATEWAY
        fcntl.ioctl(sock, SIOCADDRT, struct.pack("8x16s16s16sH70x", inet(network), entry[0], entry[1], entry[2]))


def set_offload(interface, on):
    for command in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM)[::-1 if on else 1]:
        value = array.array("I", [command, on])
        interface_ioctl(SIOCETHTOOL, interface, struct.pack("P", value.buffer_info()[0]))


def set_sysctls():
    for key, value in SYSCTLS.items():
        with open("/proc/sys/" + key, "w", encoding="ascii") as file:
            file.write(value)


def start_node(name, number):
    """The node's link, named after it at the director's end and eth0 at its own, exists: sets up both ends."""
    node = nodes[name] = Node(name, number)
    net = "10.0.1." if name == "client" else f"10.0.1{name[1:]}."
    with Inside(node):
        set_sysctls()
        set_up("lo")
        set_offload("eth0", False)
        set_address("eth0", net + "2")
        node.capture = Capture("eth0")
        add_route("0.0.0.0", "0.0.0.0", net + "1")
    set_offload(name, False)
    set_address(name, net + "1")
    if name == "client":
        add_route("10.9.0.0", "255.255.0.0", net + "2")
    else:
        add_route(f"10.8.{name[1:]}.0", "255.255.255.0", net + "2")
        cmd_serve(name, "tcp", net + "2:8000")
        cmd_serve(name, "udp", net + "2:8001")


def cmd_ipv6():
    """ipv6: from now on packets of IPv6 are shown, and every error is sent at once"""
    global both
    both = True
    for node in nodes.values():
        with Inside(node):
            with open("/proc/sys/net/ipv6/icmp/ratelimit", "w", encoding="ascii") as file:
                file.write("0")


def cmd_start(*names):
    """start NODE...: the namespaces and links exist, everything else of the network is made"""
    nodes["director"] = Node("director", 0)
    set_sysctls()
    servers.start()
    for number, name in enumerate(names, 1):
        start_node(name, number)


def main():
    for line in sys.stdin:
        words = line.rstrip("\n").split("\37")
        try:
            text, status = globals()["cmd_" + words[0]](*words[1:]), 0
        except OSError as exc:
            text, status = error_name(exc), 1
        except (KeyError, ValueError, TypeError, IndexError, struct.error) as exc:
            text, status = f"agent: {words}: {exc!r}", 2
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            file.write(text + "\n" if text else "")
        print(status, flush=True)
