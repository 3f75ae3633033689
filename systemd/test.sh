#!/usr/bin/env bash
# Runs the units under a real systemd: Debian 12 in a virtual machine, a user `u` with a user manager, and in it what
# test-as-user.sh does. Root, some minutes and 3 GB of disk are needed; the machine is emulated where there is no KVM that
# works (IMGD_TEST_KVM=1 says that there is). Without cx16: an instruction that QEMU 7.2 emulates wrongly, which ends Linux 6.12.
#
#   IMGD=target/debug/imgd IMGCTL=target/debug/imgctl systemd/test.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
imgd=${IMGD:-$here/../target/debug/imgd}
imgctl=${IMGCTL:-$here/../target/debug/imgctl}
base=${IMGD_TEST_BASE:-/var/tmp/imgd-systemd-test/base.tar}
limit_secs=${IMGD_TEST_LIMIT_SECS:-3000}

[ "$(id -u)" = 0 ] || { echo "skipped: a tree of Debian can only be made by root"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "skipped: written for x86_64"; exit 77; }
for file in "$imgd" "$imgctl"; do
	[ -x "$file" ] || { echo "there is no program $file: build it, or set IMGD and IMGCTL" >&2; exit 2; }
done
missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
command -v mke2fs >/dev/null || missing+=(e2fsprogs)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

work=$(mktemp -d /var/tmp/imgd-systemd-test.XXXXXX)
machine=
finish() {
	if [ -n "$machine" ]; then kill "$machine" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap finish EXIT

if [ ! -f "$base" ]; then
	echo "making a tree of Debian 12 in $base"
	mkdir -p "$(dirname "$base")"
	mmdebstrap --quiet --variant=minbase \
		--include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,linux-image-cloud-amd64,initramfs-tools,procps,udev \
		bookworm "$work/base.tar"
	mv "$work/base.tar" "$base"
fi
tree=$work/tree
mkdir "$tree"
tar -C "$tree" -xf "$base"
chroot "$tree" useradd --create-home --shell /bin/bash --uid 1000 u
install -d "$tree/var/lib/systemd/linger" "$tree/var/log/journal"
touch "$tree/var/lib/systemd/linger/u"
echo '/dev/vda / ext4 defaults 0 1' > "$tree/etc/fstab"
install -d -o 1000 -g 1000 "$tree/home/u/.local" "$tree/home/u/.local/bin"
install -m 755 "$imgd" "$imgctl" "$tree/home/u/.local/bin"
install -m 755 "$here/test-as-user.sh" "$tree/usr/local/bin/imgd-test"
cat > "$tree/etc/systemd/system/imgd-test.service" <<'UNIT'
[Unit]
Requires=user@1000.service
After=user@1000.service multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
User=u
Environment=TERM=dumb XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/u LANG=C.UTF-8 PATH=/home/u/.local/bin:/usr/bin:/bin
ExecStart=/usr/local/bin/imgd-test
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=graphical.target
UNIT
install -d "$tree/etc/systemd/system/graphical.target.wants"
ln -s ../imgd-test.service "$tree/etc/systemd/system/graphical.target.wants/imgd-test.service"
ln -sf /dev/null "$tree/etc/systemd/system/serial-getty@ttyS0.service"
cp "$tree"/boot/vmlinuz-* "$work/vmlinuz"
cp "$tree"/boot/initrd.img-* "$work/initrd"
truncate -s 2G "$work/disk"
mke2fs -q -F -t ext4 -d "$tree" "$work/disk"
rm -rf "$tree"

accelerator=tcg,thread=multi
[ "${IMGD_TEST_KVM:-0}" = 1 ] && accelerator=kvm
echo "Debian 12 in QEMU ($accelerator), $("$imgctl" --version)"
qemu-system-x86_64 -accel "$accelerator" -cpu max,-cx16 -smp 2 -m 3072 -display none -no-reboot \
	-serial "file:$work/console" -monitor none -nic none \
	-kernel "$work/vmlinuz" -initrd "$work/initrd" -drive "file=$work/disk,format=raw,if=virtio" \
	-append "root=/dev/vda rw console=ttyS0 quiet loglevel=0 systemd.show_status=0" < /dev/null &
machine=$!
ended=$((SECONDS + limit_secs))
while kill -0 "$machine" 2>/dev/null && [ $SECONDS -lt $ended ]; do sleep 1; done
if kill -0 "$machine" 2>/dev/null; then echo "gave up after $limit_secs s"; fi
tr -d '\r' < "$work/console" | sed -n '/^== /,$p'
grep -q '^== all passed' <(tr -d '\r' < "$work/console")
