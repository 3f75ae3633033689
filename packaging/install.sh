#!/bin/sh
# Installs imgd from this folder for one user, and takes it away again:
#
#   ./install.sh                    into ~/.local
#   ./install.sh --prefix DIR       into another folder
#   ./install.sh --uninstall        what was installed there, and nothing else; --prefix as before
set -eu
umask 022

prefix=$HOME/.local
uninstall=false
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?--prefix wants a folder}; shift ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        --uninstall) uninstall=true ;;
        *) sed -n 's/^# \{0,1\}//; 2,6p' "$0"; [ "$1" = --help ]; exit ;;
    esac
    shift
done
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
list=$prefix/lib/imgd/installed

if $uninstall; then
    [ -f "$list" ] || { echo "error: nothing was installed into $prefix by this script" >&2; exit 1; }
    "$prefix/bin/imgctl" service uninstall >/dev/null 2>&1 || true
    "$prefix/bin/imgctl" shutdown >/dev/null 2>&1 || true
    # Files first, then the folders that were made for them, the innermost first.
    sed -n 's/^file //p' "$list" | while IFS= read -r file; do rm -f "$file"; done
    folders=$(sed -n 's/^folder //p' "$list" | sort -r)
    rm -f "$list"
    printf '%s\n' "$folders" | while IFS= read -r folder; do
        if [ -n "$folder" ]; then rmdir "$folder" 2>/dev/null || true; fi
    done
    echo "imgd is gone from $prefix. Jobs and pictures that it kept, if any, are still in ${XDG_DATA_HOME:-$HOME/.local/share}/imgd."
    exit
fi

here=$(cd "$(dirname "$0")" && pwd)
[ -x "$here/bin/imgd" ] || { echo "error: $here has no bin/imgd: run the install.sh of an unpacked archive" >&2; exit 1; }
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# folder DIR: makes it, and notes each part that was not there.
folder() {
    [ -d "$1" ] && return
    folder "$(dirname "$1")"
    mkdir "$1"
    echo "folder $1" >>"$new"
}

# place FROM TO: a file to its place, by a name that a running program does not hold.
place() {
    folder "$(dirname "$2")"
    cp -p "$1" "$2.new"
    mv -f "$2.new" "$2"
    echo "file $2" >>"$new"
}

cd "$here"
find bin share -type f | sort >"$new.files"
while IFS= read -r file; do place "$file" "$prefix/$file"; done <"$new.files"
# Not below share/imgd, which in ~/.local is where the daemon keeps its data.
[ ! -d plugins ] || find plugins -type f | sort >"$new.files"
[ ! -d plugins ] || while IFS= read -r file; do place "$file" "$prefix/lib/imgd/$file"; done <"$new.files"
rm -f "$new.files"
place install.sh "$prefix/lib/imgd/install.sh"

# What an earlier version had and this one has not goes; what it had made is still ours.
if [ -f "$list" ]; then
    sed -n 's/^file //p' "$list" | while IFS= read -r file; do
        grep -qxF "file $file" "$new" || rm -f "$file"
    done
    grep '^folder ' "$list" >>"$new" || true
fi
sort -u "$new" >"$list"

echo "imgd is in $prefix. To draw a picture:"
echo
case :$PATH: in
    *:"$prefix/bin":*) echo "    imgctl generate \"a red apple\"" ;;
    *) echo "    export PATH=\"$prefix/bin:\$PATH\"     # also in your shell's profile"
       echo "    imgctl generate \"a red apple\"" ;;
esac
echo
echo "To have systemd start the daemon:  imgctl service install"
echo "To take it away again:             $prefix/lib/imgd/install.sh --uninstall$([ "$prefix" = "$HOME/.local" ] || echo " --prefix $prefix")"
