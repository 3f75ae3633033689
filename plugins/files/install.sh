#!/bin/sh
# Puts the menus of file managers into your home folder: `install.sh [--remove] [nautilus] [dolphin] [finder]`. Without a
# name, those of the file managers that are here. Nothing but these files is written or removed.
set -eu
plugins=$(cd "$(dirname "$0")/.." && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}
core=$HOME/.local/bin/imgd-files
remove=
if [ "${1:-}" = --remove ]; then
    remove=yes
    shift
fi

# put FILE INTO [MODE]: copies one file, or takes it away.
put() {
    if [ -n "$remove" ]; then
        rm -f "$2/${1##*/}"
    else
        mkdir -p "$2"
        cp "$1" "$2/"
        chmod "${3:-755}" "$2/${1##*/}"
        echo "$2/${1##*/}"
    fi
}

nautilus() {
    for script in "$plugins"/nautilus/*; do
        put "$script" "$data/nautilus/scripts"
    done
}

# A session's path may lack ~/.local/bin, so that the menu names the program by its whole path, quoted as in desktop files.
dolphin() {
    quoted=$(printf '"%s"' "$core" | sed -e 's/[`$\\]/\\&/g' -e 's/%/%%/g' -e 's/\\/\\\\/g' -e 's/[|&\\]/\\&/g')
    for menu in "$plugins"/dolphin/*.desktop; do
        # Dolphin asks that the file may be executed.
        put "$menu" "$data/kio/servicemenus"
        [ -n "$remove" ] || sed "s|^Exec=imgd-files|Exec=$quoted|" "$menu" >"$data/kio/servicemenus/${menu##*/}"
    done
}

finder() {
    for bundle in "$plugins"/finder/*.workflow; do
        for part in "$bundle"/Contents/*; do
            put "$part" "$HOME/Library/Services/${bundle##*/}/Contents" 644
        done
        if [ -n "$remove" ]; then
            rmdir "$HOME/Library/Services/${bundle##*/}/Contents" "$HOME/Library/Services/${bundle##*/}"
        fi
    done
    # macOS reads its list of services anew.
    [ ! -x /System/Library/CoreServices/pbs ] || /System/Library/CoreServices/pbs -update
}

if [ "$#" -eq 0 ]; then
    command -v nautilus >/dev/null && set -- "$@" nautilus
    command -v dolphin >/dev/null && set -- "$@" dolphin
    [ -d /System/Library/CoreServices/Finder.app ] && set -- "$@" finder
    if [ "$#" -eq 0 ]; then
        echo "none of nautilus, dolphin and Finder is here: name one" >&2
        exit 1
    fi
fi
put "$plugins/files/imgd-files" "$HOME/.local/bin"
for manager; do
    case $manager in
    nautilus | dolphin | finder) "$manager" ;;
    *)
        echo "\`$manager\` is not known: nautilus, dolphin or finder" >&2
        exit 2
        ;;
    esac
done
