"""Reads and writes sysctls of ip_vs, and says what came of it: sysctls.py show | NAME=VALUE... (a line of values each)."""
import errno
import os
import sys

VS = "/proc/sys/net/ipv4/vs/"
NAMES = """amemthresh am_droprate conn_max drop_entry drop_packet conntrack secure_tcp snat_reroute sync_version sync_ports
sync_persist_mode sync_qlen_max sync_sock_size cache_bypass expire_nodest_conn sloppy_tcp sloppy_sctp
expire_quiescent_template sync_threshold sync_refresh_period sync_retries nat_icmp_send pmtu_disc backup_only
conn_reuse_mode schedule_icmp ignore_tunneled conn_lfactor svc_lfactor""".split()
NUMBERS = ["0", "1", "2", "3", "4", "5", "8", "-1", "2147483647", "2147483648", "x", "", " 1 ", "1 2"]
VALUES = {
    "sync_threshold": ["5 10", "0 0", "7", "8 8", "9 8", "-1 5", "1 -1", "3 x", "x", "2 50 7", ""],
    "sync_qlen_max": ["0", "1", "4294967296", "-1", "x"],
    "conn_max": ["100", "0", "-1", "2147483648", "x"],
}


def read(name):
    with open(VS + name, encoding="ascii") as file:
        return file.read().strip()


def show():
    for name in NAMES:
        print(f"{name} {os.stat(VS + name).st_mode & 0o777:o} {read(name)}")


def write(name, value):
    try:
        fd = os.open(VS + name, os.O_WRONLY)
        try:
            os.write(fd, value.encode())
            done = "ok"
        finally:
            os.close(fd)
    except OSError as exc:
        done = errno.errorcode[exc.errno]
    print(f"{name} <- {value!r}: {done}, {read(name)}")


if sys.argv[1:] == ["show"]:
    show()
elif sys.argv[1:] == ["all"]:
    for each in NAMES:
        for text in VALUES.get(each, NUMBERS):
            write(each, text)
else:
    for pair in sys.argv[1:]:
        write(*pair.split("=", 1))
