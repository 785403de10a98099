# shellcheck shell=bash
# TAP for suites in bash. Source it, call `check` for each case, end with `tap_done`.
tap_n=0 tap_failed=0
ok() { echo "ok $((++tap_n)) $*"; }
not_ok() { echo "not ok $((++tap_n)) $*"; tap_failed=1; }
skip() { echo "ok $((++tap_n)) $1 # SKIP $2"; }
check() { # NAME COMMAND...: passes if the command does
	local name=$1
	shift
	if "$@" 2>&1; then ok "$name"; else not_ok "$name"; fi
}
tap_done() { echo "1..$tap_n"; exit $tap_failed; }
