#!/bin/sh
# Two official NetBird clients join netbird-hub and reach each other directly.
#
#   NETBIRD=/path/to/netbird NBH_BIN_DIR=builddir tests/netns/hub-official.sh
#
# Needs root (namespaces). Exits 77 with the reason when it cannot run. Everything happens in
# namespaces of its own: hub and clients on one network 203.0.113.0/24, interfaces named eth0.
set -eu

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*" >&2; show_logs >&2; exit 1; }

if [ "${1:-}" != inside ]; then
	HUB=${NBH_BIN_DIR:-.}/netbird-hub
	[ "$(id -u)" = 0 ] || skip "needs root for network namespaces"
	[ -x "${NETBIRD:-}" ] || skip "no official client: set NETBIRD to the path of a netbird that you built"
	[ -x "$HUB" ] || skip "no netbird-hub in NBH_BIN_DIR=${NBH_BIN_DIR:-.}"
	[ -c /dev/net/tun ] || skip "no /dev/net/tun"
	unshare -mn true 2>/dev/null || skip "no network namespaces here"
	NETBIRD=$(realpath "$NETBIRD") HUB=$(realpath "$HUB")
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/hub-official.XXXXXX")
	export NETBIRD HUB WORK
	status=0
	unshare -mn --propagation private "$0" inside || status=$?
	rm -rf "$WORK"
	exit $status
fi

pids=""
cleanup() {
	for pid in $pids; do kill "$pid" 2>/dev/null || :; done
	for pid in $pids; do wait "$pid" 2>/dev/null || :; done
}
trap cleanup EXIT
trap 'exit 1' INT TERM

show_logs() {
	for log in "$WORK"/*.log "$WORK"/*/log; do
		[ -e "$log" ] && { echo "--- $log"; tail -n 25 "$log"; }
	done
	return 0
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
	limit=$(($(date +%s) + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$limit" ] || fail "timeout: $what"
		sleep 0.1
	done
}

# host NAME ADDRESS: a namespace with eth0 on the bridge
host() {
	ip netns add "$1"
	ip link add "port-$1" type veth peer name eth0 netns "$1"
	ip link set "port-$1" master br0 up
	ip -n "$1" link set lo up
	ip -n "$1" addr add "$2/24" dev eth0
	ip -n "$1" link set eth0 up
	ip -n "$1" route add default via 203.0.113.254
}

start_hub() {
	ip netns exec hub "$HUB" --config-dir "$WORK/hub" --public-url http://203.0.113.1:8080 \
		>>"$WORK/hub.log" 2>&1 &
	hub_pid=$!
	pids="$pids $hub_pid"
	wait_for 5 "hub listens" sh -c "ip netns exec hub ss -Hlnt | grep -q :8080"
}

# The official client rewrites resolv.conf: each gets its own /etc.
start_client() {
	mkdir -p "$WORK/$1/upper" "$WORK/$1/work" "$WORK/$1/run"
	NB_STATE_DIR=$WORK/$1 ip netns exec "$1" unshare -m --propagation private sh -c '
		mount -t tmpfs none "$1/upper" && mkdir "$1/upper/u" "$1/upper/w" &&
		mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper/u,workdir=$1/upper/w" /etc
		mount -t tmpfs none /run
		exec "$2" service run --daemon-addr "unix://$1/sock" --log-level info --log-file "$1/log"
	' sh "$WORK/$1" "$NETBIRD" >"$WORK/$1.log" 2>&1 &
	pids="$pids $!"
	wait_for 10 "$1: daemon socket" test -S "$WORK/$1/sock"
}

netbird() { # netbird HOST COMMAND...
	where=$1
	shift
	ip netns exec "$where" "$NETBIRD" "$@" --daemon-addr "unix://$WORK/$where/sock"
}

up() {
	start_ms=$(date +%s%3N)
	netbird "$1" up --management-url http://203.0.113.1:8080 --setup-key "$2" --hostname "$1" ||
		fail "$1: netbird up"
	echo "$1: up after $(($(date +%s%3N) - start_ms)) ms"
}

admin() { "$HUB" "$@" --config-dir "$WORK/hub"; }
overlay() { admin peer list | awk -v name="$1" '$1 == name { print $2 }'; }
status_has() { netbird "$1" status -d | grep -Eq "$2"; }

mount -t tmpfs -o mode=755 none /run
mkdir /run/netns
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
host hub 203.0.113.1
host a 203.0.113.11
host b 203.0.113.12

start_hub
key=$(admin key create --reusable --expires 1h 2>/dev/null)
once=$(admin key create 2>/dev/null)
start_client a
start_client b

echo "# a wrong setup key fails at once"
start_ms=$(date +%s%3N)
if netbird a up --management-url http://203.0.113.1:8080 --hostname a \
	--setup-key 11111111-2222-3333-4444-555555555555 >"$WORK/wrong.log" 2>&1; then
	fail "a wrong key was accepted"
fi
took=$(($(date +%s%3N) - start_ms))
[ "$took" -lt 5000 ] || fail "the wrong key took $took ms"
grep -q "setup key is unknown" "$WORK/wrong.log" || fail "no reason: $(cat "$WORK/wrong.log")"
echo "wrong key: refused after $took ms: $(tail -n 1 "$WORK/wrong.log")"

echo "# both join and see each other"
up a "$key"
up b "$once"
a_ip=$(overlay a) b_ip=$(overlay b)
[ -n "$a_ip" ] && [ -n "$b_ip" ] || fail "addresses: $(admin peer list)"
start_ms=$(date +%s%3N)
wait_for 20 "a pings b" ip netns exec a ping -c 1 -W 1 "$b_ip"
echo "first ping answered $(($(date +%s%3N) - start_ms)) ms after b was up"
ip netns exec b ping -c 3 -i 0.2 "$a_ip" || fail "b pings a"
for host in a b; do
	wait_for 10 "$host: P2P" status_has "$host" "Connection type: P2P"
	wait_for 5 "$host: Management" status_has "$host" "^Management: Connected"
	wait_for 5 "$host: Signal" status_has "$host" "^Signal: Connected"
	wait_for 5 "$host: STUN" status_has "$host" "stun:203.0.113.1:3478. is Available"
done
netbird a status -d

echo "# restart of the hub: tunnels keep running, clients come back without Login"
ip netns exec a ping -i 0.1 -c 150 -q "$b_ip" >"$WORK/ping.log" 2>&1 &
ping_pid=$!
kill -KILL "$hub_pid"
wait "$hub_pid" 2>/dev/null || :
start_hub
for host in a b; do
	wait_for 30 "$host: back on the hub" sh -c "\"$HUB\" peer list --config-dir \"$WORK/hub\" |
		awk '\$1 == \"$host\" { print \$3 }' | grep -q yes"
	wait_for 30 "$host: Signal again" status_has "$host" "^Signal: Connected"
done
wait "$ping_pid" || fail "ping during the restart: $(cat "$WORK/ping.log")"
grep -q " 0% packet loss" "$WORK/ping.log" || fail "ping during the restart: $(cat "$WORK/ping.log")"
grep "packet loss" "$WORK/ping.log"

echo "# peer remove reaches both within seconds"
admin peer remove b
wait_for 5 "a: b is gone" sh -c "! ip netns exec a '$NETBIRD' status -d --daemon-addr 'unix://$WORK/a/sock' | grep -q '$b_ip'"
wait_for 10 "b: needs login" sh -c "ip netns exec b '$NETBIRD' status --daemon-addr 'unix://$WORK/b/sock' 2>&1 | grep -qiE 'NeedsLogin|Login'"

echo "# logout deletes the peer"
netbird a logout || fail "a: logout"
wait_for 5 "a: gone from the hub" sh -c "! \"$HUB\" peer list --config-dir \"$WORK/hub\" | grep -q '^a '"
kill -TERM "$hub_pid"
wait "$hub_pid" || fail "the hub ended with $?"
grep -i "error" "$WORK/hub.log" && fail "errors in the hub's log"
echo PASS
