#!/bin/sh
# What netbird-wg must refuse, each with the file and field in its message: by --dry-run --once,
# which needs no privilege, and by a running one, whose tunnel must not lose anything.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
wg_bin=${NBH_BIN_DIR:-${abs_top_builddir:-$top/build}}/netbird-wg
for tool in wg jq ip; do
	command -v $tool > /dev/null || { echo "1..0 # SKIP $tool is missing"; exit 77; }
done
. "$top/tests/lib/wg.sh"
wg_isolated "$0" "$@"
wg_setup
umask 022

dir=$work/d
mkdir "$dir"
chmod 755 "$work" "$dir"
(umask 077; wg genkey > "$dir/private.key")
chmod 640 "$dir/private.key"
key1=$(wg genkey | wg pubkey)
key2=$(wg genkey | wg pubkey)

good_device='{"interface":"nbh0","addresses":["100.64.0.1/16"],"mtu":1280,"listenPort":51820,"fwmark":0}'
good_peers() {
	printf '{"peers":[{"id":"one","publicKey":"%s","endpoint":"192.0.2.1:51820","allowedIPs":["100.64.0.2/32"],"keepalive":25}],"generation":1}' "$key1"
}

reset() {
	rm -rf "$dir/device.json" "$dir/peers.json"
	echo "$good_device" | put "$dir/device.json"
	good_peers | put "$dir/peers.json"
}

# dry EXIT-CODE TEXT [OPTION...]: --dry-run --once ends so and says so.
dry() {
	dry_code=$1 dry_text=$2
	shift 2
	dry_status=0
	"$wg_bin" --config-dir "$dir" --dry-run --once "$@" > "$work/dry.out" 2>&1 || dry_status=$?
	[ "$dry_status" = "$dry_code" ] && grep -qF -- "$dry_text" "$work/dry.out" && return 0
	echo "exit $dry_status, wanted $dry_code and \"$dry_text\":"
	cat "$work/dry.out"
	return 1
}

reset
ok "good files: the plan" dry 0 "add peer $key1 endpoint 192.0.2.1:51820 keepalive 25s allowed-ips 100.64.0.2/32"
ok "no secret in it" sh -c "! grep -qF '$(cat "$dir/private.key")' '$work/dry.out'"

# peers_case NAME TEXT: $work/in is peers.json.
peers_case() {
	reset
	rm -rf "$dir/peers.json"
	cp "$work/in" "$dir/peers.json"
	ok "peers.json: $1" dry 78 "$2"
	cp "$dir/peers.json" "$work/bad-$n_checks.json"
}
one() { # FIELDS
	printf '{"peers":[{"id":"one","publicKey":"%s",%s}]}' "$key1" "$1"
}
good_peers | head -c 60 > "$work/in"
peers_case "truncated" "peers.json: "
printf '' > "$work/in"
peers_case "empty" "peers.json: "
one '"allowedIPs":["100.64.0.2/32"],"keepalive":25,"keepalive":26' > "$work/in"
peers_case "duplicate key" "keepalive"
one '"allowedIPs":["100.64.0.2/32"],"keepAlive":25' > "$work/in"
peers_case "unknown key" "keepAlive"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"192.0.2.1:0"' > "$work/in"
peers_case "port 0" "peers[0].endpoint: port 0"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"192.0.2.1:70000"' > "$work/in"
peers_case "port 70000" "peers[0].endpoint"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"vpn.example:5"' > "$work/in"
peers_case "a name as endpoint" "peers[0].endpoint"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"0.0.0.0:5"' > "$work/in"
peers_case "unspecified endpoint" "endpoint: 0.0.0.0:5: unspecified"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"224.0.0.1:5"' > "$work/in"
peers_case "multicast endpoint" "multicast"
one '"allowedIPs":["100.64.0.2/32"],"endpoint":"127.0.0.1:5"' > "$work/in"
peers_case "loopback endpoint" "loopback outside 127.1.0.0/16"
one '"allowedIPs":["10.1.0.0/16"]' > "$work/in"
peers_case "prefix outside the overlay" "allowedIPs: 10.1.0.0/16: outside the overlay"
ok "which --allow-prefix allows" dry 0 "allowed-ips 10.1.0.0/16" --allow-prefix 10.0.0.0/8
one '"allowedIPs":["0.0.0.0/0"]' > "$work/in"
peers_case "default route" "--allow-default-route"
ok "which --allow-default-route allows" dry 0 "allowed-ips 0.0.0.0/0" --allow-default-route
one '"allowedIPs":["100.64.0.2/33"]' > "$work/in"
peers_case "prefix length" "peers[0].allowedIPs"
printf '{"peers":[{"publicKey":"%s","allowedIPs":["100.64.0.2/32"]},{"publicKey":"%s","allowedIPs":["100.64.0.2/32"]}]}' \
	"$key1" "$key2" > "$work/in"
peers_case "overlapping allowed IPs" "100.64.0.2/32"
printf '{"peers":[{"publicKey":"%s","allowedIPs":[]},{"publicKey":"%s","allowedIPs":[]}]}' "$key1" "$key1" > "$work/in"
peers_case "the same peer twice" "peers.json: "
printf '{"peers":[{"publicKey":"%s","allowedIPs":[]}]}' "$(wg pubkey < "$dir/private.key")" > "$work/in"
peers_case "our own key" "our own key"
printf '{"peers":[{"publicKey":"x","allowedIPs":[]}]}' > "$work/in"
peers_case "not a key" "peers[0].publicKey"
printf '[1,2]' > "$work/in"
peers_case "not an object" "peers.json: "
head -c 9437184 /dev/zero | tr '\0' ' ' > "$work/in"
peers_case "9 MB" "peers.json: "

reset
mv "$dir/peers.json" "$dir/real.json"
ln -s real.json "$dir/peers.json"
ok "peers.json: a symlink" dry 78 "peers.json: "
rm "$dir/peers.json"
mkdir "$dir/peers.json"
ok "peers.json: a directory" dry 78 "peers.json: "
rmdir "$dir/peers.json"
mkfifo "$dir/peers.json"
ok "peers.json: a FIFO" dry 78 "peers.json: "
reset
chown 12345 "$dir/peers.json"
ok "peers.json: wrong owner" dry 78 "peers.json: "
reset
chmod 666 "$dir/peers.json"
ok "peers.json: writable for others" dry 78 "peers.json: "

reset
printf '{"interface":"nbh0","addresses":["100.64.0.1/16"],"listenPort":0}' | put "$dir/device.json"
ok "device.json: port 0" dry 78 "device.json: listenPort"
printf '{"interface":"../x","addresses":["100.64.0.1/16"],"listenPort":1}' | put "$dir/device.json"
ok "device.json: interface name" dry 78 "device.json: interface"
printf '{"interface":"nbh0","addresses":["1.0.0.1/1"],"listenPort":1}' | put "$dir/device.json"
ok "device.json: half of the Internet as overlay" dry 78 "device.json: addresses: 1.0.0.1/1"
reset
ok "device.json: another interface than --interface" dry 78 "--interface allows only \"wg7\"" --interface wg7
mv "$dir/private.key" "$dir/key"
ok "private.key: missing" dry 78 "private.key: missing"
echo "nonsense" > "$dir/private.key"
ok "private.key: no key" dry 78 "private.key: "
ok "and its text is not shown" sh -c "! grep -q nonsense '$work/dry.out'"
cp "$dir/key" "$dir/private.key"
chmod 666 "$dir/private.key"
ok "private.key: writable for others" dry 78 "private.key: "
mv "$dir/key" "$dir/private.key"

ok "no directory" sh -c "'$wg_bin' --config-dir '$work/none' --dry-run --once; test \$? = 78"
ok "usage" sh -c "'$wg_bin' --dry-run; test \$? = 2"
ok "usage: a bad prefix" sh -c "'$wg_bin' --config-dir '$dir' --allow-prefix 10.0.0.0; test \$? = 2"

# No capability: as another user, on a directory of its own.
reset
if command -v setpriv > /dev/null; then
	ok "without CAP_NET_ADMIN: 77, and it is named" sh -c "
		chown -R 12345 '$dir'
		setpriv --reuid 12345 --clear-groups --no-new-privs '$wg_bin' --config-dir '$dir' --once > '$work/cap.out' 2>&1
		code=\$?; cat '$work/cap.out'; chown -R 0 '$dir'
		test \$code = 77 && grep -q CAP_NET_ADMIN '$work/cap.out'"
	ok "a dry run needs none" sh -c "
		chown -R 12345 '$dir'
		setpriv --reuid 12345 --clear-groups --no-new-privs '$wg_bin' --config-dir '$dir' --dry-run --once > '$work/cap.out' 2>&1
		code=\$?; chown -R 0 '$dir'; cat '$work/cap.out'
		test \$code = 0 && grep -q 'create interface nbh0' '$work/cap.out'"
fi

# The running one. Without a kernel module: named, and it goes on.
host h
cp "$dir/private.key" "$work/h/private.key"
if ! ip -n h link add probe0 type wireguard 2> /dev/null; then
	echo "$good_device" | put "$work/h/device.json"
	start_wg h
	ok "no module: named in the status" until_true 10 status_has h '.errorCode == "no-module" and (.error | contains("wireguard"))'
	ok "and in the log, with the way out" grep -q 'modprobe it.*"userspace": true' "$work/h.log"
	stop_wg h TERM
fi

command -v wireguard-go > /dev/null && [ -e /dev/net/tun ] || finish
echo "$good_device" | sed 's/}$/,"userspace":true}/' | put "$work/h/device.json"
good_peers | put "$work/h/peers.json"

# No /dev/net/tun: an empty /dev/net for this one.
ok "no /dev/net/tun: named" sh -c "
	ip netns exec h unshare -m sh -c 'mount -t tmpfs none /dev/net && exec \"$wg_bin\" --config-dir $work/h --once' > '$work/tun.out' 2>&1
	code=\$?; cat '$work/tun.out'; test \$code = 1 && grep -q '/dev/net/tun' '$work/tun.out'"
ok "no wireguard-go: named" sh -c "
	ip netns exec h '$wg_bin' --config-dir $work/h --once --wireguard-go /nowhere/wireguard-go > '$work/go.out' 2>&1
	code=\$?; cat '$work/go.out'; test \$code = 1 && grep -q '/nowhere/wireguard-go is missing' '$work/go.out'"

start_wg h
ok "good files are applied" until_true 10 generation_is h 1
state() {
	in_host h wg show nbh0 dump | tail -n +2 | cut -f 1,3,4,8
}
state > "$work/before"
for bad in "$work"/bad-*.json; do
	put "$work/h/peers.json" < "$bad"
	ok "live: ${bad##*/} is refused" until_true 5 status_has h '.errorCode == "refused" and (.error | startswith("peers.json"))'
	good_peers | put "$work/h/peers.json"
	ok "live: recovered" until_true 5 generation_is h 1
done
state > "$work/after"
ok "nothing was lost" cmp "$work/before" "$work/after"

# Killed, and started again while a file cannot be used.
cp "$work/h/device.json" "$work/device.good"
for file in device.json peers.json; do
	stop_wg h KILL
	head -c 40 "$work/h/$file" | put "$work/h/$file"
	start_wg h
	ok "started again: $file is refused" until_true 5 status_has h '.errorCode == "refused" and (.error | startswith("'$file'"))'
	state > "$work/after"
	ok "and nothing was lost" cmp "$work/before" "$work/after"
	put "$work/h/device.json" < "$work/device.good"
	good_peers | put "$work/h/peers.json"
	ok "started again: recovered" until_true 5 status_has h '.errorCode == "" and .generation == 1'
done

# Another program has the port.
wait_port() { ip netns exec h ss -Hlun "sport = :51900" | grep -q .; }
ip netns exec h python3 -c 'import socket,time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 51900)); time.sleep(60)' &
ok "a port is taken" until_true 5 wait_port
sed 's/51820/51900/' "$work/h/device.json" | put "$work/h/device.json"
ok "live: port in use" until_true 5 status_has h '.errorCode == "port-in-use" and (.error | contains("51900"))'
sed 's/51900/51901/' "$work/h/device.json" | put "$work/h/device.json"
ok "live: another port" until_true 5 status_has h '.errorCode == "" and .listenPort == 51901'

# The directory is replaced as a whole.
mkdir "$work/h2"
cp "$work/h/private.key" "$work/h/device.json" "$work/h2/"
good_peers | sed 's/"generation":1/"generation":9/' > "$work/h2/peers.json"
mv "$work/h" "$work/h.old"
mv "$work/h2" "$work/h"
ok "live: the directory is replaced" until_true 10 generation_is h 9
stop_wg h TERM
finish
