#!/usr/bin/env bash
# The files of an installation, as a tree that every package takes from: packaging/tree.sh FOLDER
#
#   bin/                    imgd and imgctl, stripped, and imgd-files for the menus of file managers
#   share/man/man1/         their pages, printed by themselves
#   share/{bash-completion,zsh,fish}/   their completions, printed by themselves
#   share/doc/imgd/         documents and licences
#   systemd/                the units, as they are in the repository, for those who make packages
#   plugins/                what lies there and is not built
#
# IMGD and IMGCTL: the programs. NOTICES: the text of `cargo xtask notices`.
set -euo pipefail
umask 022
root=$(cd "$(dirname "$0")/.." && pwd)
tree=${1:?usage: packaging/tree.sh FOLDER}
: "${IMGD:?}" "${IMGCTL:?}" "${NOTICES:?}"

install -Dm755 "$IMGD" "$tree/bin/imgd"
install -Dm755 "$IMGCTL" "$tree/bin/imgctl"
strip --remove-section=.comment "$tree/bin/imgd" "$tree/bin/imgctl"

man=$tree/share/man/man1
"$IMGCTL" man "$man" >/dev/null
"$IMGD" --print-man >"$man/imgd.1"

# completions SHELL PATH: one file for each program, `NAME` in the path standing for the program's
completions() {
    mkdir -p "$(dirname "$tree/$2")"
    "$IMGCTL" completions "$1" >"$tree/${2//NAME/imgctl}"
    "$IMGD" --print-completions "$1" >"$tree/${2//NAME/imgd}"
}
completions bash share/bash-completion/completions/NAME
completions zsh share/zsh/site-functions/_NAME
completions fish share/fish/vendor_completions.d/NAME.fish

for unit in "$root"/systemd/*.{service,socket,timer,target,slice,path}; do
    [ -e "$unit" ] && install -Dm644 "$unit" -t "$tree/systemd"
done

# Plugins that run as they lie. Those that are crates are in the programs; those of the other system are of no use here.
[ "$(uname)" = Darwin ] && foreign='nautilus dolphin' || foreign=finder
for plugin in "$root"/plugins/*/; do
    name=$(basename "$plugin")
    case " $foreign " in *" $name "*) continue ;; esac
    if [ ! -d "$plugin" ] || [ -e "$plugin/Cargo.toml" ] || [ -e "$plugin/package.json" ]; then
        continue
    fi
    git -C "$plugin" ls-files | grep -vE '(^|/)(tests?/|test\.sh$|make\.py$|\.)' | while read -r file; do
        mode=644
        # Menus are marked as programs where a user keeps them, and their installer marks them.
        [ ! -x "$plugin/$file" ] || [[ $file == *.desktop ]] || mode=755
        install -Dm$mode "$plugin/$file" "$tree/plugins/$name/$file"
    done
done

# What file managers call is called by hand, too.
if [ -e "$root/plugins/files/imgd-files" ]; then
    install -Dm755 "$root/plugins/files/imgd-files" -t "$tree/bin"
    install -Dm644 "$root/packaging/imgd-files.1" -t "$man"
fi

doc=$tree/share/doc/imgd
install -Dm644 "$root"/{README.md,CHANGELOG.md,LICENSE-MIT,LICENSE-APACHE} -t "$doc"
install -Dm644 "$root"/docs/*.md -t "$doc/docs"
install -Dm644 "$root"/docs/pictures/*.png -t "$doc/docs/pictures"
install -Dm644 "$root/models/starter/NOTICE" "$doc/starter-NOTICE"
install -Dm644 "$NOTICES" "$doc/THIRD-PARTY-NOTICES"

find "$tree" -exec touch -h -d "@${SOURCE_DATE_EPOCH:?}" {} +
