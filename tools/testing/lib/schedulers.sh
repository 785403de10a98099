# shellcheck shell=bash
# Courses of changes and connections for scenarios of schedulers; the port of the service seeds what is drawn.
# shellcheck disable=SC2034,SC2154
STEPS=5 PER=100 # bursts of connections between changes, connections each
BRIEF=''        # not "" for a course without its end, when there is no server
KIND=udp        # of connections, see agent.py: udp, tcp, icmp
FWMARK=''       # the services are this one

# A service without servers, or several: ADDR:port each.
start() { # SCHEDULER [OPTION]...
	local s rules=''
	RANDOM=$port step=0 has=()
	for s in $services; do
		spec "$s"
		rules+="-A $spec -s $*"$'\n'
	done
	[ -z "$FWMARK" ] || rules="-A $spec -s $*"
	ipvsadm -R <<<"$rules"
	choose 2
}
spec() { # ADDR:PORT: how ipvsadm names the service, in spec
	spec="-u $1"
	[ "$KIND" != tcp ] || spec="-t $1"
	[ -z "$FWMARK" ] || spec=$FWMARK
}
choose() { # COUNT
	step=$((step + 1))
	# shellcheck disable=SC2086
	agent choices client $KIND $((port * 100 + step)) "$1" $services | fold -w 100
}
rule() { # -a|-e|-d NUMBER [OPTION]...: the same of all services, added to rules
	local s real="10.8.$(($2 % 3 + 1)).$2:$port"
	[[ $services != "["* ]] || real="[fd08:$(($2 % 3 + 1))::$2]:$port"
	for s in $services; do
		spec "$s"
		rules+="$1 $spec -r $real ${*:3}"$'\n'
		[ -z "$FWMARK" ] || break
	done
}
tell() { # RULES
	printf %s "$1"
	ipvsadm -R <<<"$1"
}
# Up to three of eight servers are added, edited or deleted.
change() {
	local n what rules=''
	for _ in 1 2 3; do
		n=$((RANDOM % 8 + 1))
		what="-m -w $((RANDOM % 6))"
		((RANDOM % 3)) || [ "$KIND" = icmp ] || what+=" -x $((RANDOM % (STEPS * PER / 8) + 1)) -y $((RANDOM % 2))"
		if [ -z "${has[n]:-}" ]; then
			what="-a $what"
			has[n]=1
		elif ((RANDOM % 4 == 0)); then
			what=-d
			has[n]=''
		else
			what="-e $what"
		fi
		# shellcheck disable=SC2086
		rule "${what%% *}" $n ${what#-?}
	done
	tell "$rules"
}
# The same change of all servers there are.
all() { # -e|-d [OPTION]...
	local n rules=''
	for n in "${!has[@]}"; do [ -z "${has[n]}" ] || rule "$1" "$n" "${@:2}"; done
	tell "$rules"
}
course() { # SCHEDULER PORT [OPTION]...
	local i rules=''
	note "$1 ${*:3}, $KIND"
	port=$2 services=${SERVICES:-$VIP}
	services=${services// /:$port }:$port
	start "$1" "${@:3}"
	rule -a 8 -m
	tell "$rules"
	has[8]=1
	choose 10
	for ((i = 0; i < STEPS; i++)); do
		change
		between
		choose "$PER"
	done
	spec "${services%% *}"
	# shellcheck disable=SC2086
	[ "$KIND" = icmp ] || ipvsadm -Ln $spec # what errors begin ends soon
	[ -z "$BRIEF" ] || return
	note "all of weight 0, all overloaded, one, none"
	all -e -m -w 0
	choose 3
	all -e -m -w 2 -x 1
	choose 10
	all -d
	has=([8]=1) rules=''
	rule -a 8 -m
	tell "$rules"
	choose 5
	all -d
	choose 2
}
# What happens before each burst.
between() { :; }
