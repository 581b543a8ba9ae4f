#!/bin/sh
# Two hosts, hand-written files, netbird-wg with wireguard-go: ping through the tunnel; then what
# an administrator does by hand: change, refuse, kill, restart, down. Needs root and wireguard-go.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
wg_bin=${NBH_BIN_DIR:-${abs_top_builddir:-$top/build}}/netbird-wg
for tool in wireguard-go wg jq ip; do
	command -v $tool > /dev/null || { echo "1..0 # SKIP $tool is missing"; exit 77; }
done
[ -e /dev/net/tun ] || { echo "1..0 # SKIP /dev/net/tun is missing"; exit 77; }
. "$top/tests/lib/wg.sh"
wg_isolated "$0" "$@"
wg_setup

host a
host b
ip link add eth0 netns a type veth peer name eth0 netns b
ip -n a addr add 192.0.2.1/24 dev eth0
ip -n b addr add 192.0.2.2/24 dev eth0
ip -n a link set eth0 up
ip -n b link set eth0 up

umask 022
for h in a b; do
	(umask 077; wg genkey > "$work/$h/private.key")
	wg pubkey < "$work/$h/private.key" > "$work/$h.pub"
done

device() { # NAME ADDRESS PORT
	printf '{"interface":"nbh0","addresses":["%s"],"mtu":1280,"listenPort":%s,"fwmark":0,"userspace":true}\n' \
		"$2" "$3" | put "$work/$1/device.json"
}

peer() { # NAME OF-WHOM ENDPOINT ALLOWED GENERATION [SESSION]
	printf '{"peers":[{"id":"%s","publicKey":"%s",%s%s"allowedIPs":["%s"],"keepalive":25}],"generation":%s}\n' \
		"$2" "$(cat "$work/$2.pub")" "${3:+\"endpoint\":\"$3\",}" "${6:+\"session\":$6,}" "$4" "$5" |
		put "$work/$1/peers.json"
}

wg_show() { # NAME ARG...
	wg_show_name=$1
	shift
	in_host "$wg_show_name" wg show nbh0 "$@"
}

endpoint_is() { # NAME ENDPOINT
	wg_show "$1" endpoints | grep -qF "	$2"
}

device a 100.64.0.1/16 51820
device b 100.64.0.2/16 51821
start_wg a
start_wg b
ok "a: interface without peers.json" until_true 10 ip -n a addr show dev nbh0
peer a b 192.0.2.2:51821 100.64.0.2/32 1
peer b a 192.0.2.1:51820 100.64.0.1/32 1
ok "a applied generation 1" until_true 10 generation_is a 1
ok "b applied generation 1" until_true 10 generation_is b 1
ok "ping a to b" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2
ok "a reports the handshake" until_true 15 status_has a '.peers[0].lastHandshake[:2] == "20"'
ok "MTU is set" sh -c 'ip -n a link show nbh0 | grep -q "mtu 1280"'

stop_wg a KILL
ok "kill -9: the tunnel lives" ip netns exec a ping -q -c 3 -i 0.2 -W 2 100.64.0.2

# Roaming: b's endpoint at a is moved behind netbird-wg's back; a restart must not undo it.
in_host a wg set nbh0 peer "$(cat "$work/b.pub")" endpoint 192.0.2.2:4
start_wg a
ok "restarted a keeps a roamed endpoint" until_true 10 status_has a '.peers[0].endpoint == "192.0.2.2:4"'
peer a b 192.0.2.2:51821 100.64.0.2/32 2 1
ok "a new session re-creates the peer with the endpoint of the file" until_true 10 endpoint_is a 192.0.2.2:51821
ok "ping after re-creation" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2

printf '{"peers":[' | put "$work/a/peers.json"
ok "a truncated file is refused" until_true 5 status_has a '.errorCode == "refused" and (.error | contains("peers.json"))'
ok "and the last good state stays" ip netns exec a ping -q -c 2 -i 0.2 -W 2 100.64.0.2
peer a b "" 100.64.0.2/32 3
ok "an endpoint that disappears is cleared" until_true 5 endpoint_is a "(none)"
peer a b 192.0.2.2:51821 100.64.0.2/32 4
ok "recovered" until_true 10 generation_is a 4
ok "ping after recovery" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2

stop_wg a TERM
ok "SIGTERM leaves the tunnel" ip netns exec a ping -q -c 2 -i 0.2 -W 2 100.64.0.2
start_wg a
rm "$work/a/device.json"
ok "down: the interface goes" until_true 10 link_gone a nbh0
ok "and wireguard-go with it" until_true 10 test ! -e "$work/a.run/nbh0.sock"
device a 100.64.0.1/16 51820
ok "up again" until_true 10 generation_is a 4
ok "ping after up" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2
finish
