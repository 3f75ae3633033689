#!/usr/bin/env bash
# Makes all that is given to people: packaging/make.sh [FOLDER], into `dist` unless a folder is named.
#
#   imgd-VERSION.tar.gz             the sources
#   imgd-VERSION-TARGET.tar.gz      the programs, with an install.sh
#   imgd_VERSION-1_ARCH.deb         the same for Debian and its kin; left out where there is no dpkg-deb
#   imgd.rb                         the formula for Homebrew, which builds from the sources
#   imgd-VERSION.vsix               the extension for VS Code, where plugins/vscode was built before
#   SHA256SUMS
#
# IMGD and IMGCTL: programs that are built already. RELEASE_URL: the folder's address once it is published, for the
# formula. HOMEPAGE: the project's. The same programs and the same commit give the same bytes.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
mkdir -p "${1:-dist}"
dist=$(cd "${1:-dist}" && pwd)
cargo=${CARGO:-cargo}

if [ -z "${IMGD:-}" ] || [ -z "${IMGCTL:-}" ]; then
    "$cargo" build --release --locked
    IMGD=${CARGO_TARGET_DIR:-target}/release/imgd
    IMGCTL=${CARGO_TARGET_DIR:-target}/release/imgctl
fi
IMGD=$(realpath "$IMGD")
IMGCTL=$(realpath "$IMGCTL")
VERSION=$("$IMGCTL" --version | cut -d' ' -f2)
[ "$("$IMGD" --version)" = "imgd $VERSION" ] || { echo "error: imgd and imgctl are of different versions" >&2; exit 1; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export IMGD IMGCTL VERSION SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NOTICES=$work/notices
"$cargo" xtask notices >"$NOTICES"
packaging/tree.sh "$work/tree"

# archive FOLDER FILE: a folder of $work as an archive that holds neither times, names nor order of this machine
archive() {
    tar --create --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u+rw,go+r,go-w --directory="$work" "$1" | gzip -9n >"$2"
}

target=$(rustc -vV | sed -n 's/^host: //p')
name=imgd-$VERSION-$target
cp -a "$work/tree" "$work/$name"
install -m755 packaging/install.sh "$work/$name/install.sh"
cp README.md LICENSE-MIT LICENSE-APACHE "$work/$name/"
archive "$name" "$dist/$name.tar.gz"

git archive --format=tar --prefix="imgd-$VERSION/" HEAD | gzip -9n >"$dist/imgd-$VERSION.tar.gz"

if command -v dpkg-deb >/dev/null; then
    packaging/debian/build.sh "$work/tree" "$work/deb" "$dist"
else
    echo "skipped: no .deb, since there is no dpkg-deb here"
fi

url=${RELEASE_URL:-file://$dist}/imgd-$VERSION.tar.gz
sum=$(sha256sum "$dist/imgd-$VERSION.tar.gz" | cut -d' ' -f1)
sed -e "s|@URL@|$url|" -e "s|@SHA256@|$sum|" -e "s|@HOMEPAGE@|${HOMEPAGE:-$(dirname "$url")}|" \
    packaging/homebrew/imgd.rb >"$dist/imgd.rb"

[ ! -e plugins/vscode/imgd.vsix ] || cp plugins/vscode/imgd.vsix "$dist/imgd-$VERSION.vsix"

cd "$dist"
files=(imgd-"$VERSION"*.tar.gz imgd.rb)
for file in imgd_"$VERSION"-1_*.deb "imgd-$VERSION.vsix"; do
    [ -e "$file" ] && files+=("$file")
done
sha256sum "${files[@]}" | tee SHA256SUMS
