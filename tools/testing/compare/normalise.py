#!/usr/bin/python3
"""Takes out of scenario logs what legitimately differs from run to run: /out/NAME.log to /out/NAME.txt.

- seconds left of connections become the timeout they count down from; rates become *
- services in /proc/net/ip_vs and connections are sorted (stock hashes with a random key); servers keep their order
- ephemeral ports and ids of fragments are numbered in order of appearance; other ids and random sequence numbers go
Everything else is compared as it is.
"""
import re
import sys

# Timeouts of stock states, in seconds. A scenario that sets others names them: "# timeouts: 5 7" in its output.
TIMEOUTS = [2, 3, 10, 30, 60, 120, 300, 900]
EPHEMERAL = range(50000, 61000)


class Log:
    def __init__(self):
        self.timeouts = TIMEOUTS
        self.ports = {}
        self.ids = {}

    def timeout(self, seconds):
        """The smallest timeout that can have this many seconds left: right if the machine is not slower than the gap."""
        return next((t for t in self.timeouts if t >= seconds), seconds)

    def port(self, number):
        if number not in EPHEMERAL:
            return None
        return self.ports.setdefault(number, f"PORT{len(self.ports) + 1}")

    def line(self, line):
        if line.startswith("# timeouts:"):
            self.timeouts = sorted(int(t) for t in line.split()[2:])
        # /proc/net/ip_vs_conn
        hit = re.match(r"((?:TCP|UDP|IP ) +[0-9A-Fa-f:]{8,39} )([0-9A-F]{4})"
                       r"( [0-9A-Fa-f:]{8,39} [0-9A-F]{4} [0-9A-Fa-f:]{8,39} [0-9A-F]{4} \w+ +)( *\d+)(.*)$", line)
        if hit:
            start, port, middle, left, rest = hit.groups()
            port = self.port(int(port, 16)) or port
            # The column keeps its width: the format is part of what is compared.
            return f"{start}{port}{middle}{self.timeout(int(left)):{len(left)}d}{rest}"
        # ipvsadm -Lnc
        hit = re.match(r"((?:TCP|UDP) )(\d\d):(\d\d)( .*)$", line)
        if hit:
            left = self.timeout(int(hit[2]) * 60 + int(hit[3]))
            line = f"{hit[1]}{left // 60:02d}:{left % 60:02d}{hit[4]}"
        # packets
        if re.match(r"\w+ [<>] IP", line):
            line = self.packet(line)
        return re.sub(r"(?<=[:.])(5\d{4}|60\d{3})\b", lambda m: self.port(int(m[0])) or m[0], line)

    def packet(self, line):
        def ident(hit):
            fragment = hit[3] != "0" or "+" in hit[4]
            name = self.ids.setdefault(hit[1], f"ID{len(self.ids) + 1}") if fragment else "*"
            return f"id {name},{hit[2]}offset {hit[3]}, flags {hit[4]}"

        line = re.sub(r"id (\d+),( )offset (\d+), flags (\[[^]]*\])", ident, line)
        line = re.sub(r"flowlabel 0x[0-9a-f]+", "flowlabel *", line)
        line = re.sub(r"frag \(0x([0-9a-f]+):", lambda m: f"frag ({self.ids.setdefault(m[1], f'ID{len(self.ids) + 1}')}:", line)
        line = re.sub(r"cksum 0x[0-9a-f]+ \(correct\)", "cksum (correct)", line)
        line = re.sub(r"(TS\{[A-Z]* )\d+@", r"\1*@", line)
        return re.sub(r"(seq|ack) (\d{6,})(:\d+)?", r"\1 *", line)


def blocks(lines):
    """The log cut before each "$ command"."""
    block = []
    for line in lines:
        if line.startswith("$ ") and block:
            yield block
            block = []
        block.append(line)
    yield block


def sort_services(lines):
    head, services, tail = [], [], []
    for line in lines:
        if re.match(r"(TCP|UDP|SCTP|FWM) ", line) and not tail:
            services.append([line])
        elif services and line.startswith("  -> ") and not tail:
            services[-1].append(line)
        else:
            (tail if services else head).append(line)
    return head + [line for service in sorted(services) for line in service] + tail


def sort_conns(lines):
    is_conn = re.compile(r"(TCP|UDP|SCTP|IP ) [ 0-9A-Fa-f]").match
    first = next((n for n, line in enumerate(lines) if is_conn(line)), 0)
    return (lines[:first] + sorted(line for line in lines[first:] if is_conn(line)) +
            [line for line in lines[first:] if not is_conn(line)])


def normalise(text):
    log, out = Log(), []
    for block in blocks(text.splitlines()):
        command = block[0]
        if re.match(r"\$ cat /proc/net/ip_vs$|.*\bcat /proc/net/ip_vs$", command):
            block = sort_services(block)
        elif "/proc/net/ip_vs_conn" in command or re.match(r"\$ .*ipvsadm -\w*c", command):
            block = sort_conns(block)
        elif "/proc/net/ip_vs_stats" in command:
            block = rates(block)
        out += [log.line(line) for line in block]
    return "\n".join(out) + "\n"


def rates(lines):
    """Of the statistics files, hides the rates and which CPU counted."""
    after = False
    for n, line in enumerate(lines):
        after = after or "Conns/s" in line
        # a line of numbers: rates, or those of one CPU, which has its number in front
        if re.match(r"[ 0-9A-F]+$", line) and (after or len(line) == 64):
            lines[n] = re.sub(r" *[0-9A-F]+", lambda m: "*".rjust(len(m[0])), line)
    return lines


def main():
    for name in sys.argv[1:]:
        with open(f"/out/{name}.log", encoding="utf-8", errors="replace") as file:
            text = normalise(file.read())
        with open(f"/out/{name}.txt", "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
