# shellcheck shell=sh
# For the tests of netbird-wg: hosts (network namespaces with a /run of their own), files, waiting.
# Sourced with $wg_bin set. Everything lives below $work; nothing outlives the PID namespace that
# wg_isolated makes.

# Re-runs the test in mount and PID namespaces of its own: nothing it starts can be left behind.
# Called as: wg_isolated "$0" "$@"
wg_isolated() {
	[ -z "${WG_ISOLATED:-}" ] || return 0
	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for namespaces"; exit 77; }
	unshare --mount --pid --fork true 2>/dev/null || { echo "1..0 # SKIP cannot make namespaces"; exit 77; }
	WG_ISOLATED=1 exec unshare --mount --pid --fork --kill-child --mount-proc \
		--propagation private -- "$@"
}

wg_setup() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/wg-test.XXXXXX")
	# A netbird-wg that still runs may write its status in between; that is no failure.
	trap 'status=$?; rm -rf "$work" || rm -rf "$work" || :; exit $status' EXIT
	mount -t tmpfs -o mode=755 none /run
	mkdir /run/netns
	n_checks=0
	n_failed=0
}

# ok TEXT CMD...: one TAP line.
ok() {
	ok_text=$1
	shift
	n_checks=$((n_checks + 1))
	if "$@" > "$work/check.out" 2>&1; then
		echo "ok $n_checks - $ok_text"
	else
		echo "not ok $n_checks - $ok_text"
		n_failed=$((n_failed + 1))
		for log in "$work"/check.out "$work"/*.log; do
			[ ! -e "$log" ] || tail -n 15 "$log" | sed "s|^|# ${log##*/}: |"
		done
	fi
}

finish() {
	echo "1..$n_checks"
	[ "$n_failed" = 0 ] || exit 1
	exit 0
}

# until_true SECONDS CMD...: as soon as CMD succeeds.
until_true() {
	until_end=$(($(date +%s) + $1))
	shift
	until "$@" 2>/dev/null; do
		[ "$(date +%s)" -lt "$until_end" ] || return 1
		sleep 0.05
	done
}

# host NAME: a namespace and a config directory $work/NAME.
host() {
	ip netns add "$1"
	ip -n "$1" link set lo up
	mkdir -p "$work/$1" "$work/$1.run"
	chmod 755 "$work" "$work/$1"
}

# in_host NAME CMD...: with /run/wireguard of its own.
in_host() {
	(exec_in_host "$@")
}

exec_in_host() {
	in_host_name=$1
	shift
	# shellcheck disable=SC2016
	exec ip netns exec "$in_host_name" sh -c '
		mkdir -p /run/wireguard && mount --bind "$0" /run/wireguard && exec "$@"' \
		"$work/$in_host_name.run" "$@"
}

# put FILE: stdin to FILE as a writer should, by rename.
put() {
	cat > "$1.new"
	mv "$1.new" "$1"
}

# start_wg NAME [OPTION...]: netbird-wg in the background; pid in $work/NAME.pid, output in NAME.log
start_wg() {
	start_name=$1
	shift
	# shellcheck disable=SC2154
	exec_in_host "$start_name" "$wg_bin" --config-dir "$work/$start_name" "$@" \
		>> "$work/$start_name.log" 2>&1 &
	echo $! > "$work/$start_name.pid"
}

stop_wg() { # NAME SIGNAL
	stop_pid=$(cat "$work/$1.pid")
	kill "-$2" "$stop_pid"
	wait "$stop_pid" 2>/dev/null || :
}

status_has() { # NAME JQ-EXPRESSION
	jq -e "$2" "$work/$1/wg/status.json" > /dev/null
}

generation_is() { # NAME N
	status_has "$1" ".generation == $2 and .error == \"\""
}

link_gone() { # NAME INTERFACE
	! ip -n "$1" link show "$2" > /dev/null 2>&1
}
