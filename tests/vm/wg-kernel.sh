#!/bin/sh
# netbird-wg with the kernel's WireGuard: two hosts, hand-written files. Run by run-all.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
wg_bin=$NBH_BIN_DIR/netbird-wg
. "$top/tests/lib/wg.sh"
wg_isolated "$0" "$@"
wg_setup

host a
host b
ip link add eth0 netns a type veth peer name eth0 netns b
for h in a b; do
	(umask 077; wg genkey > "$work/$h/private.key")
	wg pubkey < "$work/$h/private.key" > "$work/$h.pub"
done
umask 022
ip -n a addr add 192.0.2.1/24 dev eth0
ip -n b addr add 192.0.2.2/24 dev eth0
ip -n b addr add 192.0.2.3/24 dev eth0
ip -n a link set eth0 up
ip -n b link set eth0 up

device() { # NAME ADDRESS [INTERFACE]
	printf '{"interface":"%s","addresses":["%s"],"mtu":1280,"listenPort":51820,"fwmark":0}\n' \
		"${3:-nbh0}" "$2" | put "$work/$1/device.json"
}

# What else is in a's peers.json: nothing, or many peers. Lines that begin with a comma.
: > "$work/others"
peers_a() { # GENERATION ENDPOINT [SESSION]
	{
		printf '{"generation":%s,"peers":[{"id":"b","publicKey":"%s",%s"endpoint":"%s","allowedIPs":["100.64.0.2/32"],"keepalive":25}' \
			"$1" "$(cat "$work/b.pub")" "${3:+\"session\":$3,}" "$2"
		cat "$work/others"
		echo ']}'
	} | put "$work/a/peers.json"
}

wg_field() { # FIELD of b at a
	ip netns exec a wg show nbh0 "$1" | sed -n "s|^$(cat "$work/b.pub")	||p"
}
endpoint_is() { [ "$(wg_field endpoints)" = "$1" ]; }

device a 100.64.0.1/16
device b 100.64.0.2/16
start_wg a
start_wg b
peers_a 1 192.0.2.2:51820
printf '{"generation":1,"peers":[{"id":"a","publicKey":"%s","allowedIPs":["100.64.0.1/32"]}]}' \
	"$(cat "$work/a.pub")" | put "$work/b/peers.json"
ok "a applied" until_true 20 generation_is a 1
ok "b applied" until_true 20 generation_is b 1
ok "the kernel's backend" status_has a '.backend == "netlink" and .linkUp'
ok "ping" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2

handshake=$(wg_field latest-handshakes)
peers_a 2 192.0.2.3:51820
ok "endpoint changed" until_true 10 endpoint_is 192.0.2.3:51820
ok "without a new handshake: UPDATE_ONLY" test "$(wg_field latest-handshakes)" = "$handshake"
ok "ping over it" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2

# b answers from the address it was asked at; now it roams, and a restart keeps that.
ip netns exec a wg set nbh0 peer "$(cat "$work/b.pub")" endpoint 192.0.2.2:51820
stop_wg a KILL
start_wg a
peers_a 3 192.0.2.3:51820
ok "killed and restarted" until_true 10 generation_is a 3
ok "a roamed endpoint stays" endpoint_is 192.0.2.2:51820

before=$(wg_field transfer | cut -f 1)
peers_a 4 192.0.2.2:51820 1
ok "new session" until_true 10 generation_is a 4
ok "re-creates the peer" test "$(wg_field transfer | cut -f 1)" -lt "$before"
ok "ping after it" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2

# 50 pings a second to b, while everything else in the file changes: not one may be lost.
others() { # HOW-MANY PORT
	python3 -c '
import base64, sys
n, port = int(sys.argv[1]), int(sys.argv[2])
for i in range(n):
    key = base64.b64encode(bytes([9, i >> 8, i & 255]) + bytes(28) + b"@").decode()
    print(f""",{{"id":"p{i}","publicKey":"{key}","endpoint":"192.0.2.250:{port + i % 100}",
"allowedIPs":["100.64.{16 + (i >> 8)}.{i & 255}/32"],"keepalive":0}}""")' "$1" "$2" > "$work/others"
}
ip netns exec a ping -i 0.02 -W 5 100.64.0.2 > "$work/pings" 2>&1 &
ping_pid=$!
generation=10
edit() { # HOW-MANY PORT
	generation=$((generation + 1))
	others "$1" "$2"
	peers_a $generation 192.0.2.2:51820 1
	ok "edit: $1 other peers, port $2" until_true 60 generation_is a $generation
}
edit 1 100
edit 1 200
edit 20 300
edit 20 400
edit 3 400
edit 4096 500
ok "the kernel has 4097 peers" sh -c 'test "$(ip netns exec a wg show nbh0 peers | wc -l)" = 4097'
edit 4096 600
stop_wg a KILL
start_wg a
edit 4090 600
edit 0 0
ok "and has 1 again" sh -c 'test "$(ip netns exec a wg show nbh0 peers | wc -l)" = 1'
kill -INT $ping_pid
wait $ping_pid 2>/dev/null || :
sed -n 's/^\([0-9]* packets.*\)/# \1/p' "$work/pings"
ok "more than 100 pings, none lost" sh -c "
	grep -q ' 0% packet loss' '$work/pings' &&
	test \$(sed -n 's/^\([0-9]*\) packets transmitted.*/\1/p' '$work/pings') -gt 100"

# Down, by another user with the one capability: what root made is removed, and made again.
stop_wg a TERM
chown -R 12345 "$work/a"
device a 100.64.0.1/16
chown 12345 "$work/a/device.json"
exec_in_host a setpriv --reuid 12345 --clear-groups --inh-caps -all,+net_admin --ambient-caps -all,+net_admin \
	"$wg_bin" --config-dir "$work/a" >> "$work/a.log" 2>&1 &
user_pid=$!
ok "unprivileged with CAP_NET_ADMIN" until_true 10 sh -c "kill -0 $user_pid && jq -e '.errorCode == \"\"' '$work/a/wg/status.json'"
rm "$work/a/device.json"
ok "down removes what we made" until_true 10 link_gone a nbh0
device a 100.64.0.1/16
chown 12345 "$work/a/device.json"
ok "up again" until_true 10 generation_is a $generation
ok "ping after up" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2
rm "$work/a/device.json"
ok "down" until_true 10 link_gone a nbh0

# Root on a directory that belongs to somebody else becomes that user.
kill -TERM $user_pid
wait $user_pid 2>/dev/null || :
device a 100.64.0.1/16
start_wg a
ok "as root on another user's directory" until_true 10 generation_is a $generation
ok "it becomes that user" test "$(stat -c %u "$work/a/wg/status.json")" = 12345
ok "with one capability" grep -q '^CapPrm:	0000000000001000$' "/proc/$(cat "$work/a.pid")/status"
ok "and cannot be read" sh -c "! setpriv --reuid 12345 --clear-groups cat /proc/$(cat "$work/a.pid")/environ"

# Another name, another backend: the old interface goes, the new one works.
device a 100.64.0.1/16 nbh1
ok "renamed" until_true 10 status_has a '.interface == "nbh1" and .error == "" and .linkUp'
ok "the old one is gone" link_gone a nbh0
ok "ping over the new one" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2
if command -v wireguard-go > /dev/null && [ -e /dev/net/tun ]; then
	chmod 666 /dev/net/tun
	chown 12345 "$work/a.run"
	sed 's/}$/,"userspace":true}/' "$work/a/device.json" | put "$work/a/device.json"
	ok "to wireguard-go" until_true 20 status_has a '.backend == "uapi" and .error == "" and .linkUp'
	ok "ping over wireguard-go" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2
	device a 100.64.0.1/16
	ok "and back" until_true 20 status_has a '.backend == "netlink" and .error == "" and .linkUp'
	ok "ping over the kernel" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2
fi

# IPv6 switched off: IPv4 comes up all the same, and the status says what does not.
rm "$work/a/device.json"
ok "down once more" until_true 10 link_gone a nbh0
ip netns exec a sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
device a '100.64.0.1/16","fd00:7::1/64'
ok "an address that the kernel refuses is named" until_true 10 status_has a '.error | contains("fd00:7::1/64")'
ok "ping over the other one" ip netns exec a ping -q -c 3 -i 0.2 -W 5 100.64.0.2
ip netns exec a sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
ip netns exec a sysctl -qw net.ipv6.conf.nbh0.disable_ipv6=0
ok "it is tried again" until_true 40 status_has a '.error == ""'
rm "$work/a/device.json"
ok "down after that" until_true 10 link_gone a nbh0

# Adoption: only with our key; and what we adopted stays.
ip -n a link add nbh5 type wireguard
ip netns exec a wg set nbh5 private-key "$work/b/private.key"
device a 100.64.0.1/16 nbh5
ok "another key: not touched" until_true 10 status_has a '.errorCode == "private-key" and (.error | contains("nbh5"))'
ip netns exec a wg set nbh5 private-key "$work/a/private.key"
touch "$work/a/device.json"
ok "our key: adopted" until_true 10 generation_is a $generation
ok "ping over the adopted interface" ip netns exec a ping -q -c 2 -i 0.2 -W 5 100.64.0.2
rm "$work/a/device.json"
ok "down: our peers go" until_true 10 sh -c 'test -z "$(ip netns exec a wg show nbh5 peers)"'
ok "the interface stays" ip -n a link show nbh5
ip -n a link add nbh6 type dummy
device a 100.64.0.1/16 nbh6
ok "another kind: refused" until_true 10 status_has a '.errorCode == "refused" and (.error | contains("dummy"))'
finish
