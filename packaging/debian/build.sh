#!/usr/bin/env bash
# The package for Debian from a tree of packaging/tree.sh: packaging/debian/build.sh TREE WORK DIST
#
# Wants VERSION and SOURCE_DATE_EPOCH. Who packs it is told by DEBFULLNAME and DEBEMAIL, as Debian's tools have it; else it
# is the author of the last commit.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
tree=$1 work=$2 dist=$3
: "${VERSION:?}" "${SOURCE_DATE_EPOCH:?}"
arch=$(dpkg --print-architecture)
who="${DEBFULLNAME:-$(git -C "$here" log -1 --format=%an)} <${DEBEMAIL:-$(git -C "$here" log -1 --format=%ae)}>"
top=$work/imgd doc=$work/imgd/usr/share/doc/imgd

mkdir -p "$top/usr" "$top/DEBIAN"
cp -a "$tree/bin" "$tree/share" "$top/usr/"
gzip -9n "$top"/usr/share/man/man1/*.1
mv "$top/usr/share/zsh/site-functions" "$top/usr/share/zsh/vendor-completions"

# The units say where a person without root puts the program.
mkdir -p "$top/usr/lib/systemd/user"
for unit in "$tree"/systemd/*; do
    sed 's|%h/\.local/bin/|/usr/bin/|g' "$unit" >"$top/usr/lib/systemd/user/$(basename "$unit")"
done
if grep -rn '%h/\.local/bin' "$top/usr/lib/systemd/user"; then
    echo "error: a unit still names a program in a home folder" >&2
    exit 1
fi
if [ -d "$tree/plugins" ]; then
    mkdir -p "$top/usr/share/imgd"
    cp -a "$tree/plugins" "$top/usr/share/imgd/"
fi
# Dolphin has a place for everybody's menus, and Neovim one for plugins that `:packadd imgd` loads.
for menu in "$tree"/plugins/dolphin/*.desktop; do
    [ ! -e "$menu" ] || install -Dm644 "$menu" -t "$top/usr/share/kio/servicemenus"
done
if [ -d "$tree/plugins/nvim" ]; then
    mkdir -p "$top/usr/share/nvim/site/pack/imgd/opt"
    ln -s ../../../../../imgd/plugins/nvim "$top/usr/share/nvim/site/pack/imgd/opt/imgd"
    # The list of its help's subjects, as `:helptags` writes it: no user can write it there.
    help=$top/usr/share/imgd/plugins/nvim/doc
    for text in "$help"/*.txt; do
        grep -oP '(?<!\S)\*\K[^*|\s]+(?=\*(?!\S))' "$text" |
            awk -v file="$(basename "$text")" '{ print $1 "\t" file "\t/*" $1 "*" }'
    done | sort >"$help/tags"
fi

# Debian has the texts of Apache-2.0 and the LGPL, and its own name and form for licences and changes.
rm "$doc"/LICENSE-*
cp "$here/copyright" "$doc/copyright"
cp "$here/README.Debian" "$doc/README.Debian"
mv "$doc/CHANGELOG.md" "$doc/changelog"
printf 'imgd (%s-1) unstable; urgency=medium\n\n  * What is new is in changelog.gz.\n\n -- %s  %s\n' \
    "$VERSION" "$who" "$(date -uRd "@$SOURCE_DATE_EPOCH")" >"$doc/changelog.Debian"
gzip -9n "$doc"/{changelog,changelog.Debian,THIRD-PARTY-NOTICES}
install -Dm644 "$here/lintian-overrides" "$top/usr/share/lintian/overrides/imgd"

# What the programs need of the system: asked of the programs.
mkdir -p "$work/debian"
printf 'Source: imgd\n\nPackage: imgd\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O imgd/usr/bin/imgd imgd/usr/bin/imgctl | sed -n 's/^shlibs:Depends=//p')
size=$(find "$top/usr" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
sed -e "s|@VERSION@|$VERSION-1|" -e "s|@ARCH@|$arch|" -e "s|@WHO@|$who|" -e "s|@DEPENDS@|$depends|" -e "s|@SIZE@|$size|" \
    "$here/control" >"$top/DEBIAN/control"
(cd "$top" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)

find "$top" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
# One thread: with several the bytes depend on how many there are.
dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$top" "$dist/imgd_$VERSION-1_$arch.deb" >/dev/null
