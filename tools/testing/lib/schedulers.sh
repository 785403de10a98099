# shellcheck shell=bash
# Courses of changes and connections for scenarios of schedulers; the port of the service seeds what is drawn.
# shellcheck disable=SC2034,SC2154
STEPS=5

# A service without servers, or several: VIP:port each.
start() { # SCHEDULER [OPTION]...
	local s
	RANDOM=$port step=0 has=()
	for s in $services; do echo "-A -u $s -s $*"; done | ipvsadm -R
	choose 2
}
choose() { # COUNT
	step=$((step + 1))
	# shellcheck disable=SC2086
	agent choices client $((port * 100 + step)) "$1" $services | fold -w 100
}
real() { echo "10.8.$(($1 % 3 + 1)).$1:$port"; }
# Up to three of eight servers are added, edited or deleted, the same of all services.
change() {
	local n s what rules=''
	for _ in 1 2 3; do
		n=$((RANDOM % 8 + 1))
		what="-m -w $((RANDOM % 6))"
		((RANDOM % 3)) || what+=" -x $((RANDOM % 60 + 1)) -y $((RANDOM % 2))"
		if [ -z "${has[n]:-}" ]; then
			what="-a $what"
			has[n]=1
		elif ((RANDOM % 4 == 0)); then
			what=-d
			has[n]=''
		else
			what="-e $what"
		fi
		for s in $services; do rules+="${what%% *} -u $s -r $(real $n)${what#-?}"$'\n'; done
	done
	printf %s "$rules"
	ipvsadm -R <<<"$rules"
}
course() { # SCHEDULER PORT [OPTION]...
	local i
	note "$1 ${*:3}"
	port=$2 services=${SERVICES:-$VIP}
	services=${services// /:$port }:$port
	start "$1" "${@:3}"
	for s in $services; do echo "-a -u $s -r $(real 8) -m"; done | ipvsadm -R
	has[8]=1
	choose 10
	for ((i = 0; i < STEPS; i++)); do
		change
		choose 100
	done
	ipvsadm -Ln -u "$VIP:$port" 2>/dev/null
}
