#!/usr/bin/python3
"""In the guest: runs scenarios as tools/testing/compare does, each followed by the checks of checks.py."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import Checks, read  # noqa: E402

COMPARE = "/repo/tools/testing/compare/guest"
# The kernel is some times slower than the stock one: what waits, waits longer.
os.environ["SLOW"] = "4"


def scenario(name):
    """The problems it found."""
    subprocess.run(["bash", COMPARE, name], check=False, stdout=subprocess.DEVNULL)
    status = read("/out/results").split()[1]
    if status == "0":
        return []
    text = read(f"/out/{name}.log").splitlines()
    return [f"status {status}"] + [line for n, line in enumerate(text)
                                   if any("NOT OK" in near for near in text[max(n - 2, 0):n + 1])] + text[-3:]


checks = Checks()
for scenario_name in sys.argv[1:]:
    checks.case(scenario_name, scenario(scenario_name))
checks.end()
