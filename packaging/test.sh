#!/usr/bin/env bash
# Installs what packaging/make.sh makes in a clean Debian, draws a picture with it as a common user without a network, and
# takes it away again: packaging/test.sh [FOLDER]. Wants root, and a network for the clean system alone.
#
# Without a FOLDER of what was made before, all is made here, twice, from the programs IMGD and IMGCTL, `target/release`
# unless given. SUITE: the Debian. PICTURES: a folder for the pictures that were drawn. APT_SOURCES: a file of apt sources
# for the clean system, where Debian's own addresses are not the way.
set -euo pipefail
cd "$(dirname "$0")/.."
made=${1:+$(realpath "$1")}
suite=${SUITE:-bookworm}
export IMGD=${IMGD:-${CARGO_TARGET_DIR:-target}/release/imgd} IMGCTL=${IMGCTL:-${CARGO_TARGET_DIR:-target}/release/imgctl}
[ "$(id -u)" = 0 ] || { echo "error: packaging/test.sh wants root" >&2; exit 1; }
command -v mmdebstrap >/dev/null || apt-get install -y --no-install-recommends mmdebstrap >/dev/null

work=$(mktemp -d)
# The namespaces that programs ran in are gone with them, and the mounts with the namespaces.
trap 'rm -rf --one-file-system "$work"' EXIT
passed=0
ok() { echo "ok    $*"; passed=$((passed + 1)); }
fail() { echo "FAIL  $*"; exit 1; }

# --- what is made, twice
if [ -z "$made" ]; then
    made=$work/one
    for folder in "$made" "$work/two"; do
        packaging/make.sh "$folder" >"$work/log" 2>&1 || { cat "$work/log"; fail "packaging/make.sh"; }
    done
    for file in "$made"/*.deb "$made"/*.tar.gz; do
        cmp "$file" "$work/two/$(basename "$file")" || fail "$(basename "$file"): two runs differ"
        ok "$(basename "$file"): $(stat -c %s "$file") bytes, the same when made again"
    done
fi
(cd "$made" && sha256sum --quiet -c SHA256SUMS) || fail "SHA256SUMS"
ok "SHA256SUMS"
deb=$(echo "$made"/*.deb)
mkdir "$work/tree"
dpkg-deb -x "$deb" "$work/tree"
dpkg-deb --field "$deb" Package Version Depends Installed-Size

# --- what checkers say, where they are installed
mkdir "$work/pages"
cp "$work"/tree/usr/share/man/man1/*.gz "$work/pages/"
gunzip "$work"/pages/*.gz
for page in "$work"/pages/*; do
    said=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null) || fail "man: $page"
    [ -z "$said" ] || fail "man --warnings says of $page: $said"
done
ok "man --warnings has nothing to say of $(find "$work/pages" -type f | wc -l) pages"
if command -v mandoc >/dev/null; then
    # That pages have no date, so that they are the same on every day, is as it should be.
    said=$(mandoc -T lint -W warning "$work"/pages/* | grep -v 'missing date' || true)
    [ -z "$said" ] || fail "mandoc: $said"
    ok "mandoc -T lint has nothing to say"
fi
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$deb" || fail "lintian"
    ok "lintian finds neither errors nor warnings"
fi
if command -v systemd-analyze >/dev/null; then
    # Its root is the package: the programs that units name must be in it.
    said=$(for unit in "$work"/tree/usr/lib/systemd/user/*.service; do sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit"; done | sort -u)
    for program in $said; do [ -x "$work/tree$program" ] || fail "a unit starts $program, which is not there"; done
    ok "units start what is there: $(echo "$said" | tr '\n' ' ')"
fi
for shell in bash:bash-completion/completions/imgctl zsh:zsh/vendor-completions/_imgctl fish:fish/vendor_completions.d/imgctl.fish; do
    program=${shell%%:*} file=$work/tree/usr/share/${shell#*:}
    for script in "$file" "${file//imgctl/imgd}"; do
        [ -s "$script" ] || fail "there is no $script"
        command -v "$program" >/dev/null || { echo "skipped: no $program to read $(basename "$script")"; continue; }
        "$program" -n "$script" || fail "$program cannot read $(basename "$script")"
    done
done
ok "completions are there and read by their shells"
if command -v nvim >/dev/null; then
    said=$(HOME=$work XDG_DATA_DIRS=$work/tree/usr/share nvim --headless -c 'packadd imgd' -c 'echo exists(":Imgctl")' -c qa 2>&1)
    [ "$said" = 2 ] || fail "nvim: $said"
    ok "Neovim's :packadd imgd finds the plugin"
fi
if command -v ruby >/dev/null; then
    said=$(HOME=$work ruby packaging/homebrew/check.rb "$made/imgd.rb" "$work/tree/usr/bin" 2>&1) || fail "imgd.rb: $said"
    ok "imgd.rb, without Homebrew: $(echo "$said" | tail -n 1)"
fi

# --- a clean system
root=$work/root
mmdebstrap --quiet --variant=minbase --include=man-db --aptopt='Acquire::Check-Valid-Until "false"' \
    "$suite" "$root" ${APT_SOURCES:+"$APT_SOURCES"} || fail "mmdebstrap"
ok "a clean $suite of $(chroot "$root" dpkg-query -W | wc -l) packages"
chroot "$root" useradd --create-home --shell /bin/bash ann

# inside NAME: the script on standard input, in the clean system: own processes, own mounts, no network
inside() {
    cat >"$root/$1.sh"
    unshare --mount --pid --net --ipc --fork --kill-child bash -euc '
        mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/tmp"
        install -d -m 700 -o 1000 -g 1000 "$1/run/user/1000"
        exec chroot "$1" /bin/bash -eu "/$2.sh"' bash "$root" "$1" || fail "$1"
    rm "$root/$1.sh"
}
files() { (cd "$root" && find . -xdev \( -path ./home -o -path ./var/cache -o -path ./var/log \) -prune -o -print | sort); }

cp "$deb" "$root/imgd.deb"
files >"$work/before"
inside install <<'IN'
dpkg -i /imgd.deb >/dev/null
dpkg --audit
dpkg --verify imgd
IN
files >"$work/with"
new=$(comm -13 "$work/before" "$work/with" | grep -cv /var/lib/dpkg/)
ok "the package is installed: $new new files and folders"
for path in bin/imgd bin/imgctl share/man/man1/imgctl-generate.1.gz share/man/man1/imgd.1.gz share/doc/imgd/copyright \
    share/doc/imgd/docs/install.md lib/systemd/user/imgd.socket share/bash-completion/completions/imgctl \
    bin/imgd-files share/kio/servicemenus/imgd-text.desktop share/imgd/plugins/nautilus/Upscale; do
    [ -s "$root/usr/$path" ] || fail "/usr/$path is not there"
done
ok "programs, pages, units, completions and documents are where they belong"

# as ANN: what a common user does; the programs' own words are shown
common='
export HOME=/home/ann XDG_RUNTIME_DIR=/run/user/1000 LC_ALL=C.UTF-8 MANPAGER=cat
cd /home/ann
'
inside draw <<IN
cat >/tmp/ann.sh <<'ANN'
$common
man imgctl | head -n 6
man -w imgctl-jobs-show imgd
imgctl generate "a red apple" --seed 7 --quiet -o deb.png
imgctl status
echo "a cat on grass" >cat.txt
imgd-files generate cat.txt
bash -c 'source /usr/share/bash-completion/completions/imgctl
    COMP_WORDS=(imgctl generate -m sta) COMP_CWORD=3
    _imgctl_names imgctl sta -m; echo "-m sta: \${COMPREPLY[*]}"; [ "\${COMPREPLY[*]}" = starter ]'
imgctl shutdown
test ! -e /run/user/1000/imgd/imgd.sock
ANN
setpriv --reuid=1000 --regid=1000 --clear-groups bash -eu /tmp/ann.sh
IN
for picture in deb cat; do
    python3 packaging/picture.py "$root/home/ann/$picture.png" 256 256 || fail "the picture"
done
[ -z "${PICTURES:-}" ] || cp "$root"/home/ann/*.png "$PICTURES/"
ok "a common user without a network read the manual and drew a picture"

inside remove <<'IN'
dpkg --purge imgd >/dev/null
IN
files | grep -v '^./var/lib/dpkg/' >"$work/after"
diff <(grep -v '^./var/lib/dpkg/' "$work/before") "$work/after" || fail "removal left something behind"
ok "removed without a trace"

# --- the archive, in the same system
archive=$(find "$made" -name 'imgd-*-*.tar.gz')
cp "$archive" "$root/home/ann/imgd.tar.gz"
rm -rf "$root"/home/ann/.??* "$root"/home/ann/cat.* "$root"/home/ann/deb.png
files >"$work/before"
inside archive <<IN
cat >/tmp/ann.sh <<'ANN'
$common
cd /tmp && tar xzf /home/ann/imgd.tar.gz && rm /home/ann/imgd.tar.gz && cd imgd-*/
./install.sh
export PATH=/home/ann/.local/bin:/usr/bin:/bin
cd && man -w imgctl
imgctl generate "a red apple" --seed 7 --quiet -o archive.png
imgctl shutdown
# again, as an update, while a daemon of the first one runs
imgctl generate "a red apple" --seed 8 --quiet -o other.png
/tmp/imgd-*/install.sh >/dev/null
imgctl generate "a red apple" --seed 9 --quiet -o again.png
.local/lib/imgd/install.sh --uninstall
find . -mindepth 1 -not -path './.bash*' -not -name .profile | sort
ANN
setpriv --reuid=1000 --regid=1000 --clear-groups bash -eu /tmp/ann.sh
IN
python3 packaging/picture.py "$root/home/ann/archive.png" 256 256 || fail "the picture"
left=$(find "$root/home/ann" -name 'img*' -not -path '*/.local/share/imgd*' -not -path '*/.local/state/imgd*')
[ -z "$left" ] || fail "uninstalling left $left"
diff "$work/before" <(files) || fail "the archive wrote outside of the home folder"
ok "the archive's install.sh installed, updated and took away again"
[ -z "${PICTURES:-}" ] || cp "$root"/home/ann/*.png "$PICTURES/"

echo "test result: ok. $passed checks passed"
