#!/usr/bin/python3
"""Asks for the real servers of a service by socket option, with room for the answer that is not there yet: the kernel
waits in the middle of the answer until a file appears.

    slowread.py VIP PORT N FILE      prints "waiting", and later the error and how many servers came
"""
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys
import threading
import time

SYS_USERFAULTFD = 323
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_ZEROPAGE = 0xC018AA3F, 0xC020AA00, 0xC020AA04
UFFD_API, MODE_MISSING = 0xAA, 1
GET_DESTS = 64 + 1024 + 64 + 4
PAGE = mmap.PAGESIZE


def main():
    vip, port, n, file = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    libc = ctypes.CDLL(None, use_errno=True)
    room = mmap.mmap(-1, 2 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    # What is asked is at the end of the first page, the answer in the second one.
    ask = struct.pack("=H2x4sHxxII4x", socket.IPPROTO_TCP, socket.inet_aton(vip), socket.htons(port), 0, n)
    room[PAGE - len(ask):PAGE] = ask
    fd = libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
    fcntl.ioctl(fd, UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
    fcntl.ioctl(fd, UFFDIO_REGISTER, struct.pack("=QQQQ", start + PAGE, PAGE, MODE_MISSING, 0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    size = len(ask) + n * 96
    done = []

    def call():
        length = ctypes.c_int(size)
        ret = libc.getsockopt(sock.fileno(), 0, GET_DESTS, ctypes.c_void_p(start + PAGE - len(ask)), ctypes.byref(length))
        done.append(ctypes.get_errno() if ret < 0 else 0)

    thread = threading.Thread(target=call)
    thread.start()
    os.read(fd, 32)
    print("waiting", flush=True)
    while not os.path.exists(file):
        time.sleep(0.05)
    fcntl.ioctl(fd, UFFDIO_ZEROPAGE, struct.pack("=QQQq", start + PAGE, PAGE, 0, 0))
    thread.join()
    entries = [room[PAGE + i * 96:PAGE + i * 96 + 6] for i in range(n)]
    print("error %d," % done[0], "servers", *sorted("%s:%d" % (socket.inet_ntoa(e[:4]), *struct.unpack("!H", e[4:]))
                                                 for e in entries), flush=True)


if __name__ == "__main__":
    main()
