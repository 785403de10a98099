"""In the guest: that mistakes are seen. A module makes them one by one, and each must give the report it should.

The log of this machine is full of reports: `run` does not mind here.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from checks import Checks, lockdep_works  # noqa: E402

# Lockdep turns itself off after its own report, and after KASAN's.
MISTAKES = [("rcu", "suspicious RCU usage"), ("sleep", "sleeping function called"), ("timer", "ODEBUG: free active"),
            ("locks", "possible circular locking"), ("use", "KASAN: slab-use-after-free")]

checks = Checks()
checks.result("lockdep works", [] if lockdep_works() else ["it is off"])
checks.result("silence is silence", checks.log.report())
subprocess.run(["insmod", sys.argv[1], "what=leak"], check=False)
lost = checks.leaks()
checks.result("seen: leak", [] if any("do_init_module" in line for line in lost) else ["no report"] + lost)
for mistake, words in MISTAKES:
    checks.log.lines()
    subprocess.run(["insmod", sys.argv[1], "what=" + mistake], check=False)
    report = checks.log.report()
    checks.result(f"seen: {mistake}", [] if any(words in line for line in report) else ["not as it should be"] + report)
checks.end()
