# shellcheck shell=bash
# Guest-side helpers of scenarios. A scenario sources this first; it runs as the director, in namespaces of its own.
#
#   run CMD...            logs the command, what it prints and its exit status: this is what is compared
#   check TEXT CMD...     an assertion: holds with stock and with ours
#   is TEXT GOT WANT      the same for two strings
#   soon CMD...           waits until CMD holds, for what happens by itself (stock counts with a lag of 2 s)
#   nodes [NAME]...       makes the network; default: client s1 s2 s3
#   agent WORDS...        see agent.py; the shorthands below call it
#
# The network: client 10.0.1.2 -- 10.0.1.1 director 10.0.1N.1 -- 10.0.1N.2 server N, the VIP 10.0.0.1 on the director.
# Nobody has 10.9.0.0/16, routed to the client's link, and 10.8.N.0/24, routed to that of server N: crafted packets
# come from and go to these, so no stack answers. Servers answer on TCP 8000 and UDP 8001.
set -uo pipefail
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VIP=10.0.0.1 CIP=10.0.1.2
# shellcheck disable=SC2034
R1=10.0.11.2 R2=10.0.12.2 R3=10.0.13.2
# shellcheck disable=SC2034
WEB=$VIP:80 ECHO=$VIP:5000
failed=0
trap 'exit "$failed"' EXIT

run() {
	local rc=0
	printf '$ %s\n' "$*"
	"$@" 2>&1 || rc=$?
	printf 'exit=%d\n' "$rc"
	return "$rc"
}

note() { printf '# %s\n' "$*"; }

check() {
	local text=$1
	shift
	if "$@"; then
		echo "ok: $text"
	else
		echo "NOT OK: $text"
		failed=1
	fi
}

is() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		printf 'NOT OK: %s\n  is     %s\n  wanted %s\n' "$1" "$2" "$3"
		failed=1
	fi
}

soon() {
	local until=$((SECONDS + 9 * ${SLOW:-1}))
	while ! "$@"; do
		[ $SECONDS -lt $until ] || { echo "NOT OK: not soon: $*"; failed=1; return 1; }
		sleep 0.1
	done
}

# Python with lib/ to import from, compiled once for a machine.
python() { python3 -IS -X pycache_prefix=/run/pycache -c "import sys; sys.path.insert(0, '$LIB'); $1" "${@:2}"; }

# ---- network --------------------------------------------------------------------------------------------
nodes() {
	local node n=0
	[ $# -gt 0 ] || set -- client s1 s2 s3
	coproc AGENT { python "import agent; agent.main()" /dev/shm/agent; }
	exec 8>&"${AGENT[1]}" 9<&"${AGENT[0]}"
	{
		echo "link set lo up"
		echo "addr add $VIP/32 dev lo"
		for node; do
			n=$((n + 1))
			echo "netns add $node"
			echo "link add $node address 02:00:00:00:0$n:01 type veth" \
				"peer name eth0 address 02:00:00:00:0$n:02 netns $node"
		done
	} | ip -batch -
	echo 1 >/proc/sys/net/ipv4/ip_forward
	agent start "$@" || exit 1
}

# The same network with IPv6: [fd00:1::2] [fd00:1::1] [fd00:1N::1] [fd00:1N::2], VIP [fd00::1], nobody has fd09::/16
# and fd08:N::/32. Servers answer on TCP 8000 and UDP 8001, as NAMEv6.
VIP6=fd00::1
# shellcheck disable=SC2034
WEB6="[$VIP6]:80" ECHO6="[$VIP6]:5000" CIP6="[fd00:1::2]"
nodes6() { # NODE...
	local node net n=0
	nodes "$@"
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	{
		echo "addr add $VIP6/128 dev lo"
		for node; do
			n=$((n + 1)) net=fd00:1${node#s}:
			[ "$node" != client ] || net=fd00:1:
			echo "addr add $net:1/64 dev $node nodad"
			# Neighbours are known: asking takes as long as it takes.
			echo "neigh replace $net:2 lladdr 02:00:00:00:0$n:02 dev $node nud permanent"
			ip -n "$node" -batch - <<-END
				addr add $net:2/64 dev eth0 nodad
				neigh replace $net:1 lladdr 02:00:00:00:0$n:01 dev eth0 nud permanent
				route add default via $net:1
			END
			if [ "$node" = client ]; then
				echo "route add fd09::/16 via $net:2"
			else
				echo "route add fd08:${node#s}::/32 via $net:2"
				agent serve "$node" tcp "[$net:2]:8000" "${node}v6"
				agent serve "$node" udp "[$net:2]:8001" "${node}v6"
			fi
		done
	} | ip -batch -
	agent ipv6
	sleep 0.1
	agent forget
}

agent() {
	local status lines
	local IFS=$'\37'
	echo "$*" >&8
	read -r status <&9 || { echo "the agent is gone"; return 3; }
	mapfile lines </dev/shm/agent
	[ "${#lines[@]}" = 0 ] || printf %s "${lines[@]}"
	return "$status"
}

# Client ports are chosen by the scenario: they are part of what is compared.
request() { agent request client "$CIP:$1" "${@:2}"; }  # PORT ADDR:PORT [TEXT]
udp() { agent udp client "$CIP:$1" "${@:2}"; }          # PORT ADDR:PORT [TEXT [SIZE [SECONDS]]]
open() { agent open "$1" client "$CIP:$2" "$3"; }       # NAME PORT ADDR:PORT
share() { agent share "$1" client "$CIP:$2" "${@:3}"; } # tcp|udp FIRSTPORT ADDR:PORT COUNT
inject() { agent inject "$@"; }                         # NODE PACKET
packets() { agent packets "$@"; }                       # [NODE]...
# What a crafted packet leads to: injects it and shows all packets since the last time.
try() { # NODE PACKET
	printf '$ inject %s\n' "$*"
	agent try "$@"
}

# The same for a packet as a driver makes it: not in one piece, in segments, without its checksum (see agent.py).
craft() { # NODE [linear=BYTES] [gso=BYTES] [partial=1] PACKET
	printf '$ craft %s\n' "$*"
	agent craft "$@"
}

# A namespace without links is enough for the control plane (stock takes no dest before there is any address).
alone() { printf 'link set lo up\naddr add %s/32 dev lo\n' "$VIP" | ip -batch -; }

# ---- ip_vs ----------------------------------------------------------------------------------------------------
list() { run ipvsadm -Ln "$@"; }
conns() { run cat /proc/net/ip_vs_conn; }
rules() { run cat /proc/net/ip_vs; }
nl() { python "import ipvsnl; ipvsnl.main()" "$@" 2>&1; } # messages on stdin
opt() { python "import ipvsopt; ipvsopt.main()" "$@" 2>&1; } # socket options on stdin, see ipvsopt.py

# The two services of most scenarios, masqueraded to the servers named.
web() { # SCHEDULER SERVER...
	local s
	{
		echo "-A -t $WEB -s $1"
		for s in "${@:2}"; do echo "-a -t $WEB -r $s:8000 -m"; done
	} | ipvsadm -R
}
echo_service() { # SCHEDULER SERVER...
	local s
	{
		echo "-A -u $ECHO -s $1"
		for s in "${@:2}"; do echo "-a -u $ECHO -r $s:8001 -m"; done
	} | ipvsadm -R
}

# Seconds left become the timeout they count down from; "timeouts" names those that a scenario sets.
TIMEOUTS="2 3 10 30 60 120 300 900"
timeouts() { TIMEOUTS=$*; echo "# timeouts: $*"; }

# State, timeout and server of the connection from a client port: "ESTABLISHED 900 10.0.11.2:8000", or "none".
conn() { agent conn "$TIMEOUTS" "$1"; }
no_conn() { [ "$(conn "$1")" = none ]; }
conn_count() {
	local lines
	mapfile lines </proc/net/ip_vs_conn
	echo $((${#lines[@]} - 1))
}
no_conns() { [ "$(conn_count)" = 0 ]; }
# Active and inactive connections of a server ADDR:PORT: "1 0". The first service that has it counts.
counts() { agent counts "$1"; }
# Waits until the counters are these: "ADDR:PORT CONNS INPKTS OUTPKTS INBYTES OUTBYTES" of services and servers, "total ...".
counted() {
	local want server
	stats=$(ipvsadm -Ln --stats --exact)
	while read -r a b c d e _; do
		[[ ! $a$b$c$d$e =~ ^[0-9A-F]+$ ]] || break
	done </proc/net/ip_vs_stats
	stats+=$'\n'"x total $((0x$a)) $((0x$b)) $((0x$c)) $((0x$d)) $((0x$e))"
	for want; do
		# shellcheck disable=SC2086
		set -- $want
		server=${1//./\\.}
		[[ $stats =~ [[:space:]]${server//[/\\[}\ +$2\ +$3\ +$4\ +$5\ +$6($|[[:space:]]) ]] || return 1
	done
}
