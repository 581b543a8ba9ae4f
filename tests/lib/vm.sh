#!/bin/bash
# Runs a command in a throw-away virtual machine with a Debian kernel, for what needs the real
# WireGuard module.
#
#   vm.sh [-c CPUS] [-m MIB] [-t SECONDS] [-M "MODULE..."] [-v] -- COMMAND [ARG...]
#
# How it works: qemu without KVM boots the unpacked kernel with an initramfs of busybox and five
# modules; that mounts this machine's / read-only by virtiofs, lays a tmpfs over it and runs COMMAND
# there, in the current directory. There is no network card, and nothing that the guest writes
# reaches the host. COMMAND's output comes out as our stdout through one serial port, its exit
# status through another.
#
# Exit status: COMMAND's. 77: qemu or the kernel is missing (the last line says what and how to get
# it). 124: the time limit. 125: the machine did not come up; the end of its console is shown.
#
# The kernel: $NBH_VM_KERNEL, an unpacked linux-image-*-cloud-amd64 (scripts/install-deps --vm).
set -euo pipefail

cpus=2 memory=1024 limit=300 verbose=
modules="wireguard veth tun nf_tables nft_ct nft_nat nft_masq nft_chain_nat"
kernel_dir=${NBH_VM_KERNEL:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/netbird-helper/vm-kernel}

usage() {
	sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

skip() {
	echo "1..0 # SKIP $1"
	exit 77
}

while getopts c:m:t:M:v option; do
	case $option in
	c) cpus=$OPTARG ;;
	m) memory=$OPTARG ;;
	t) limit=$OPTARG ;;
	M) modules=$OPTARG ;;
	v) verbose=yes ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage

need() {
	[ "$(id -u)" = 0 ] || skip "the virtual machine needs root (virtiofsd)"
	for tool in qemu-system-x86_64 cpio depmod unshare; do
		command -v $tool >/dev/null || skip "$tool is missing: scripts/install-deps --vm"
	done
	[ -x /bin/busybox ] || skip "busybox is missing: scripts/install-deps --vm"
	for virtiofsd in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do
		[ ! -x "$virtiofsd" ] || return 0
	done
	skip "virtiofsd is missing: scripts/install-deps --vm"
}

find_kernel() {
	local image
	for image in "$kernel_dir"/boot/vmlinuz-*; do
		[ -e "$image" ] || skip "no kernel in $kernel_dir: scripts/install-deps --vm"
	done
	kernel=$image
	version=${image##*/vmlinuz-}
	# The package makes this when it is installed, which we do not do.
	[ -e "$kernel_dir/lib/modules/$version/modules.dep" ] || depmod -b "$kernel_dir" "$version"
}

write_init() { # DIR
	cat >"$1/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mount -t devtmpfs none /dev
for module in /modules/*.ko; do $b insmod "$module"; done
for word in $($b cat /proc/cmdline); do
	case $word in vm.job=*) job=${word#vm.job=} ;; esac
done
$b mount -t virtiofs -o ro root /lower || $b poweroff -f
$b mount -t tmpfs none /upper
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work none /new
for dir in proc sys dev; do $b mount --move /$dir /new/$dir; done
$b mount -t tmpfs none /new/run
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts none /new/dev/pts
$b mount -t tmpfs none /new/dev/shm
exec $b switch_root /new /bin/sh "$job/stage2"
END
	chmod +x "$1/init"
}

# Built once per kernel and version of this script.
make_initrd() {
	local dir n=10 module ko
	initrd=$kernel_dir/initrd-$version.cpio
	[ ! -e "$initrd" ] || [ "$0" -nt "$initrd" ] || return 0

	dir=$job/initrd
	mkdir -p "$dir"/{bin,modules,proc,sys,dev,lower,upper,new}
	cp /bin/busybox "$dir/bin/busybox"
	for module in virtio_pci virtio_console virtiofs overlay virtio_rng; do
		modprobe -d "$kernel_dir" -S "$version" --show-depends "$module" 2>/dev/null |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++' >"$job/modules"
	while read -r ko; do
		cp "$ko" "$dir/modules/$n-${ko##*/}"
		n=$((n + 1))
	done <"$job/modules"
	write_init "$dir"
	(cd "$dir" && find . | cpio -o -H newc --quiet) >"$initrd.$$"
	mv "$initrd.$$" "$initrd"
}

# What runs on the overlaid root. The words of COMMAND are quoted for a shell.
write_stage2() {
	cat >"$job/stage2" <<END
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export NBH_IN_VM=1
hostname vm
ip link set lo up
mkdir -p /run/netns /run/lock /usr/lib/modules
chmod 1777 /run/lock
ln -sfn '$kernel_dir/lib/modules/$version' '/usr/lib/modules/$version'
for module in $modules; do modprobe -q \$module || echo "vm: no module \$module" >/dev/ttyS0; done
for port in /sys/class/virtio-ports/*; do
	case \$(cat \$port/name) in
	out) out=/dev/\${port##*/} ;;
	status) status=/dev/\${port##*/} ;;
	esac
done
cd $(printf %q "$PWD")
($(printf '%q ' "$@")) >\$out 2>&1 </dev/null
echo \$? >\$status
sync
# The ports' buffers go out before the machine does.
busybox sleep 0.05
busybox poweroff -f
END
}

pids=()
cleanup() {
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || :; done
	wait 2>/dev/null || :
	rm -rf "$job"
}

# / through a private, read-only bind mount: virtiofsd could not write even if it wanted to. It
# leaves a file in /run behind: in one of its own.
share_root() {
	mkdir "$job/root"
	# shellcheck disable=SC2016
	unshare --mount --propagation private sh -c '
		mount --bind / "$1" && mount -o remount,bind,ro "$1" &&
		mount -t tmpfs -o mode=755 none /run &&
		exec "$2" --socket-path="$3" -o source="$1" -o sandbox=chroot -o cache=always \
			-o announce_submounts -f' \
		- "$job/root" "$virtiofsd" "$job/root.sock" >"$job/virtiofsd.log" 2>&1 &
	pids+=($!)
	for _ in $(seq 200); do
		[ ! -S "$job/root.sock" ] || return 0
		sleep 0.02
	done
	cat "$job/virtiofsd.log" >&2
	echo "vm.sh: virtiofsd did not start" >&2
	exit 125
}

# KVM only on real hardware: with an emulated /dev/kvm the kernel never came up.
accelerator() {
	if [ -w /dev/kvm ] && grep -qwE 'svm|vmx' /proc/cpuinfo; then
		echo "kvm -cpu host"
	else
		echo "tcg,thread=multi,tb-size=512 -cpu max"
	fi
}

run_qemu() {
	local quiet=quiet
	[ -z "$verbose" ] || quiet=loglevel=6
	: >"$job/status"
	: >"$job/console"
	# shellcheck disable=SC2046
	timeout -k 5 "$limit" qemu-system-x86_64 \
		-M q35,hpet=off,vmport=off,smbus=off,sata=off,usb=off,i8042=off \
		-accel $(accelerator) -smp "$cpus" -m "$memory" \
		-object "memory-backend-memfd,id=mem,size=${memory}M,share=on" -numa node,memdev=mem \
		-nodefaults -no-user-config -display none -no-reboot -nic none \
		-kernel "$kernel" -initrd "$initrd" \
		-append "console=ttyS0 $quiet panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable random.trust_cpu=on cryptomgr.notests vm.job=$job" \
		-serial "file:$job/console" \
		-device virtio-rng-pci -device virtio-serial-pci \
		-add-fd fd=3,set=1 -chardev file,id=out,path=/dev/fdset/1,append=on \
		-device virtserialport,chardev=out,name=out \
		-chardev "file,id=status,path=$job/status" \
		-device virtserialport,chardev=status,name=status \
		-chardev "socket,id=root,path=$job/root.sock" \
		-device vhost-user-fs-pci,chardev=root,tag=root,queue-size=512 \
		3>&1 >"$job/qemu.log" 2>&1 </dev/null
}

need
find_kernel
job=$(mktemp -d "${TMPDIR:-/tmp}/nbh-vm.XXXXXX")
trap cleanup EXIT
make_initrd
write_stage2 "$@"
share_root
result=0
run_qemu || result=$?
[ -z "$verbose" ] || cat "$job/console" "$job/qemu.log" >&2

if [ "$result" = 124 ] || [ "$result" = 137 ]; then
	tail -n 20 "$job/console" >&2
	echo "vm.sh: not done within $limit s" >&2
	exit 124
fi

case $(cat "$job/status") in
[0-9]*) exit "$(tr -dc 0-9 <"$job/status")" ;;
esac
tail -n 20 "$job/console" "$job/qemu.log" "$job/virtiofsd.log" >&2
echo "vm.sh: the machine gave no result (qemu: $result)" >&2
exit 125
