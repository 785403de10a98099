"""Whether choices are those of the power of two choices: a chi-square test at 1 %.

Reads the output of a course (schedulers.sh): rules of ipvsadm, and lines of choices. Each choice depends on the ones before
it, so what is known is the probability of each server given the connections there are. Over all choices, the servers chosen
and how loaded these were among the others are counted in cells; what is counted less what is expected has a covariance
that is the sum of those of the single choices, and the quadratic form with its inverse is distributed as chi-square.
Prints "fits", "misses", or what cannot be.
"""
import re
import sys

# Of chi-square, exceeded with a probability of 1 %, by degrees of freedom from 1
CRITICAL = [6.635, 9.210, 11.345, 13.277, 15.086, 16.812, 18.475, 20.090, 21.666, 23.209, 24.725, 26.217]
SERVERS, RANKS = 8, 4


class Server:
    def __init__(self, number):
        self.number, self.conns, self.overloaded = number, 0, False

    def configure(self, words):
        values = dict(zip(words, words[1:]))
        self.weight, self.upper = int(values.get("-w", 1)), int(values.get("-x", 0))
        self.lower = int(values.get("-y", 0)) or self.upper - (self.upper >> 2)
        self.overloaded = self.upper > 0 and (self.conns >= self.upper or self.overloaded and self.conns >= self.lower)

    def connect(self):
        self.conns += 1
        self.overloaded |= self.conns == self.upper and self.conns >= self.lower


def probabilities(servers):
    """(server, probability, place among the others) of those that may be chosen: two are drawn by weight, the one that has
    less for its weight wins, the first one if both have the same. Two of the numbers drawn mean the first server."""
    may = [s for s in servers if s.weight > 0 and not s.overloaded]
    total = sum(s.weight for s in may) + 1
    drawn = sorted((s.conns / s.weight, at, s, (s.weight + (at == 0)) / total) for at, s in enumerate(may))
    above, out = 1.0, []
    for place, (load, _, server, one) in enumerate(drawn):
        same = sum(p for other, _, _, p in drawn if other == load)
        if not place or drawn[place - 1][0] != load:
            above -= same
        out.append((server, one * (same + 2 * above), place))
    return out


class Test:
    def __init__(self):
        self.size = SERVERS + RANKS
        self.off = [0.0] * self.size
        self.covariance = [[0.0] * self.size for _ in range(self.size)]

    def add(self, given, chosen):
        mean = {}
        for server, p, place in given:
            cells = server.number - 1, SERVERS + place * RANKS // len(given)
            for a in cells:
                mean[a] = mean.get(a, 0) + p
                self.off[a] += server is chosen
                for b in cells:
                    self.covariance[a][b] += p
        for a, p in mean.items():
            self.off[a] -= p
            for b, q in mean.items():
                self.covariance[a][b] -= p * q

    def result(self):
        """Chi-square and degrees of freedom: cells that follow from others are left out."""
        rows = [row + [off] for row, off in zip(self.covariance, self.off)]
        left, square, free = set(range(self.size)), 0.0, 0
        while left:
            pivot = max(left, key=lambda n: rows[n][n])
            if rows[pivot][pivot] < 1e-6:
                break
            left.remove(pivot)
            free += 1
            square += rows[pivot][-1] ** 2 / rows[pivot][pivot]
            for n in left:
                factor = rows[n][pivot] / rows[pivot][pivot]
                rows[n] = [a - factor * b for a, b in zip(rows[n], rows[pivot])]
        return square, free


def judge(lines):
    test, known, servers = Test(), {}, []
    for line in lines:
        rule = re.match(r"-([aed]) .* -r \S+\.(\d+):\d+(.*)", line)
        if rule:
            what, number, options = rule[1], int(rule[2]), rule[3].split()
            server = known.setdefault(number, Server(number))  # one that comes back has its connections
            if what == "d":
                servers.remove(server)
            else:
                server.configure(options)
            if what == "a":
                servers.insert(0, server)
        elif re.match(r"[-1-8]+$", line):
            for number in line:
                given = probabilities(servers)
                chosen = known.get(int(number)) if number != "-" else None
                if chosen not in [server for server, _, _ in given] and (given or chosen):
                    return f"{number} of {[server.number for server, _, _ in given]}"
                if chosen:
                    test.add(given, chosen)
                    chosen.connect()
    square, free = test.result()
    print(f"chi-square {square:.2f}, {free} degrees of freedom", file=sys.stderr)
    return "fits" if free and square <= CRITICAL[free - 1] else "misses"


def main():
    print(judge(line.strip() for line in sys.stdin))
