#!/usr/bin/env bash
# What test.sh runs inside its machine, as a user with a user manager and with imgd and imgctl in ~/.local/bin.
set -uo pipefail
cd || exit 1

export SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0
failures=0
title() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }
passed() { printf 'ok: %s\n' "$*"; }
failed() {
	tail -n 5 ~/.local/state/imgd/imgd.log 2>/dev/null
	systemctl --user --no-pager --lines 5 status imgd.service 2>&1 | tail -n 12
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}
# check WHAT COMMAND…
check() {
	local what=$1
	shift
	if "$@"; then passed "$what"; else failed "$what"; fi
}
# until_true SECONDS COMMAND…
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.5
	done
}
# An emulated machine takes its time: what connects is tried until it does.
patient() { until_true 300 "$@"; }
value() { systemctl --user show --property="$2" --value "$1"; }
is() { [ "$(value "$1" "$2")" = "$3" ]; }
is_not() { [ "$(value "$1" "$2")" != "$3" ]; }
pictures() { find "$1" -name '*.png' -size +100c 2>/dev/null | wc -l; }
has_pictures() { [ "$(pictures "$1")" = "$2" ]; }
# As little as there is to draw: an emulated processor takes a thousand times as long.
small=(--size 16x16 --steps 1)

title "a user manager"
until_true 120 systemctl --user is-system-running --quiet --wait || true
systemctl --user --version | head -n 1
uname -r
systemctl --user is-system-running

title "before"
imgctl service status
mkdir -p ~/.config/imgd ~/.config/imgd/batch ~/out
printf 'keep_alive = "5s"\nidle_exit = "15s"\n' > ~/.config/imgd/config.toml

title "a daemon of imgctl's own, with a job of many pictures"
patient imgctl --quiet load starter
job=$(imgctl generate "a secret castle" "${small[@]}" -n 5 --detach)
echo "job $job"
own=$(imgctl status --json | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')

title "imgctl service install --dry-run"
imgctl service install --dry-run | grep '^would'
check "it wrote nothing" test ! -e ~/.config/systemd/user/imgd.service

title "imgctl service install"
check "installs" imgctl service install
check "the daemon of imgctl's own has ended" test ! -e "/proc/$own"
check "the socket is in force" systemctl --user is-active --quiet imgd.socket
check "the socket is enabled" systemctl --user is-enabled --quiet imgd.socket
check "the service manager started the daemon" grep -q '"started_by":"service_manager"' <(imgctl status --json)
check "twice is once" imgctl service install
title "imgctl service status, systemctl status"
imgctl service status
systemctl --user status imgd.service --no-pager --lines 5
check "the job is not lost" grep -qE '"state":"(running|queued|succeeded)"' <(imgctl jobs show "$job" --json)
succeeded() { imgctl jobs show "$1" --json | grep -q '"state":"succeeded"'; }
check "the job goes on to its end" until_true 1200 succeeded "$job"

title "a picture through the socket"
check "draws" patient imgctl generate "a secret castle" "${small[@]}" --seed 7 -o ~/out/one.png
check "a picture lies there" test -s ~/out/one.png

title "layers in force"
pid=$(value imgd.service MainPID)
grep -E '^(NoNewPrivs|Seccomp):' "/proc/$pid/status"
for namespace in net user mnt; do
	if [ "$(readlink "/proc/$pid/ns/$namespace")" = "$(readlink "/proc/self/ns/$namespace")" ]; then
		echo "$namespace namespace: the user's"
	else
		echo "$namespace namespace: its own"
	fi
done
systemctl --user show imgd.service --property=MemoryHigh,MemoryMax,TasksMax,MemoryCurrent
systemd-analyze --user security imgd.service --no-pager 2>/dev/null | tail -n 1

title "a batch"
printf 'a secret castle at night --seed 1\na red apple --seed 2\n' | sed "s/\$/ --size 16x16 --steps 1/" > ~/.config/imgd/batch/night.txt
check "installs" imgctl service install --batch night --at 04:00
systemctl --user list-timers --no-pager 'imgd-batch@*'
check "draws" systemctl --user start imgd-batch@night.service
check "two pictures" has_pictures ~/Pictures/imgd/night 2
before=$(cd ~/Pictures/imgd/night && sha256sum -- *.png)
check "again" systemctl --user start imgd-batch@night.service
check "nothing twice" test "$before" = "$(cd ~/Pictures/imgd/night && sha256sum -- *.png)"
rm -f ~/Pictures/imgd/night/*.png ~/Pictures/imgd/night/.imgctl-batch.jsonl
check "another time" imgctl --quiet service install --batch night --at "$(date -d '2 minutes' +%H:%M)"
check "the timer fires" until_true 300 has_pictures ~/Pictures/imgd/night 2
check "without its file nothing is done" sh -c 'systemctl --user start imgd-batch@other.service'
check "and that is said" is imgd-batch@other.service ConditionResult no
imgctl service status

title "logs"
imgctl service logs -n 5
check "no prompt is in them" sh -c '! journalctl --user --no-pager | grep -q secret'

title "idle exit"
for round in 1 2 3; do
	check "it ends, round $round" until_true 180 is imgd.service ActiveState inactive
	echo "status: $(value imgd.service StatusText); result: $(value imgd.service Result)"
	check "the next connection starts it" patient imgctl ps
done
at_that_moment() {
	local round
	for round in $(seq 8); do
		patient imgctl ps >/dev/null || return 1
		sleep "0.$((round * 7 % 10))"
	done
}
check "connections at that moment are served" at_that_moment

title "kill -9"
check "it runs" patient imgctl status
pid=$(value imgd.service MainPID)
kill -9 "$pid"
check "restarted" until_true 60 sh -c "systemctl --user show -P MainPID imgd.service | grep -qvE '^(0|$pid)\$'"
check "serves" patient imgctl ps
echo "restarts: $(value imgd.service NRestarts)"

title "watchdog"
pid=$(value imgd.service MainPID)
kill -STOP "$pid"
check "replaced" until_true 120 sh -c "systemctl --user show -P MainPID imgd.service | grep -qvE '^(0|$pid)\$'"
check "serves" patient imgctl ps
journalctl --user --unit imgd --no-pager | grep -i watchdog | tail -n 3

title "imgctl shutdown"
check "ends" imgctl shutdown
check "and starts nothing" is imgd.service ActiveState inactive

title "uninstall"
echo '# mine' >> ~/.config/systemd/user/imgd-batch@.timer
if imgctl service install --batch night; then failed "a changed file is refused"; else passed "a changed file is refused"; fi
check "uninstalls" imgctl service uninstall
check "the changed file stays" test -e ~/.config/systemd/user/imgd-batch@.timer
check "no socket" sh -c '! systemctl --user is-active --quiet imgd.socket'
check "pictures stay" has_pictures ~/Pictures/imgd/night 2
check "forced" imgctl service uninstall --force
find ~/.config/systemd -type f -o -type l
# shellcheck disable=SC2016 # the inner shell expands it
check "nothing of it is left" sh -c '[ -z "$(find ~/.config/systemd -name "imgd*")" ]'
check "imgctl starts its own again" patient imgctl --quiet load starter
grep -o '"started_by":"[a-z_]*"' <(imgctl status --json)
imgctl service status
imgctl shutdown

if [ "$failures" = 0 ]; then printf '\n== all passed (%s s)\n' "$SECONDS"; else printf '\n== %s FAILED\n' "$failures"; fi
