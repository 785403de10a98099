"""What run and profile share: the rows, and how a guest is started."""
import fcntl
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[2]
BUILD = REPO / "build"
held = None


def table():
    """The guest's rows: {name: (side, base)}."""
    out = subprocess.run(["bash", HERE / "guest", "--list"], check=True, capture_output=True, text=True).stdout
    return {f[0]: (f[1], f[2]) for f in map(str.split, out.splitlines())}


def known(program, rows, name):
    if name not in rows:
        sys.exit(f"{program}: no row {name}; there are: {' '.join(rows)}")


def lock():
    """One benchmark at a time in a tree: they share file names. Held until the program ends."""
    BUILD.mkdir(exist_ok=True)
    global held
    held = open(BUILD / "bench.lock", "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("  WAIT    another benchmark is running in this tree", file=sys.stderr)
        fcntl.flock(held, fcntl.LOCK_EX)


def guest(modules, name, *args, **env):
    """Starts a guest that counts instructions; its stdout is a pipe."""
    # sleep=on: an idle guest waits in real time. With sleep=off its clock runs on while it waits for its disk, which
    # on a busy host can take minutes. While packets are counted the guest is never idle.
    qemu = f"-icount shift=0,sleep=on {env.pop('qemu', '')} {os.environ.get('VM_QEMU_ARGS', '')}"
    env = dict(os.environ, MODULES=modules, ICOUNT="1", VM_NAME=name, TIMEOUT="1200", MEM="1G", VM_QEMU_ARGS=qemu,
               **env)
    return subprocess.Popen([REPO / "tools/vm/run", HERE / "guest", *map(str, args)], env=env, cwd=REPO,
                            stdout=subprocess.PIPE, text=True, errors="replace")
