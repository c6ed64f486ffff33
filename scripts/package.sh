#!/usr/bin/env bash
# Builds a Debian package: scripts/package.sh [TARGET]
#
# TARGET is x86_64-unknown-linux-musl if that can be built here, whose program needs nothing else on
# the machine and runs on every distribution, or else that of this machine. docs/packaging.md has more.
# DEBFULLNAME and DEBEMAIL say who makes it. Needs dpkg-deb, and unshare to print the units as they are
# where the package is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
static=x86_64-unknown-linux-musl
if [ -z "${1:-}" ] && [ "$(uname -m)" = x86_64 ] && command -v musl-gcc >/dev/null \
    && [ -d "$(rustc --print sysroot)/lib/rustlib/$static" ]; then
    target=$static
else
    target=${1:-$host}
fi
case $target in
    x86_64-*) architecture=amd64 ;;
    aarch64-*) architecture=arm64 ;;
    *) echo "no Debian architecture is known for $target" >&2; exit 1 ;;
esac

cargo build --locked --profile dist --target "$target"
folder=$(realpath "${CARGO_TARGET_DIR:-target}")/$target/dist
palk=$folder/palk
maintainer="${DEBFULLNAME:-The Palk developers} <${DEBEMAIL:-palk@localhost}>"
version=$("$palk" --version | cut -d ' ' -f 2)-1
root=$folder/deb
rm -rf "$root"
umask 022
# The same sources make the same package.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

install -D -m 755 "$palk" "$root/usr/bin/palk"
for file in node server; do
    install -D -m 644 "packaging/$file.toml" "$root/etc/palk/$file.toml"
done

# A unit names the places in which its files are once they are installed: this prints it there.
print_unit() {
    unshare --mount --map-root-user sh -ec '
        stage=$1
        shift
        mount -t tmpfs none /var/lib
        mkdir -m 700 -p /var/lib/palk/node /var/lib/palk/server
        mount --bind "$stage/etc" /etc
        mount --bind "$stage/usr/bin" /usr/bin
        cd /var/lib/palk
        exec /usr/bin/palk "$@" --print-unit
    ' sh "$root" "$@" | sed '/^WorkingDirectory=/a User=palk\nGroup=palk'
}
units=$root/lib/systemd/system
mkdir -p "$units"
# Which node it is stands in the file, which is not filled in yet.
print_unit storage --id 1 --config /etc/palk/node.toml | sed 's/^\(ExecStart=.*\) --id 1/\1/; s/ node 1$/ node/' \
    >"$units/palk-node.service"
print_unit server --config /etc/palk/server.toml >"$units/palk-server.service"

"$palk" man "$root/usr/share/man/man1" 2>/dev/null
gzip -9n "$root"/usr/share/man/man1/*
completions() {
    mkdir -p "$(dirname "$root/usr/share/$2")"
    "$palk" completions "$1" >"$root/usr/share/$2"
}
completions bash bash-completion/completions/palk
completions zsh zsh/vendor-completions/_palk
completions fish fish/vendor_completions.d/palk.fish

doc=$root/usr/share/doc/palk
mkdir -p "$doc"
cp README.md docs/operations.md docs/monitoring.md docs/undo.md docs/security.md "$doc"
cp docs/monitoring/alerts.yml docs/monitoring/dashboard.json "$doc"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
{
    echo "palk ($version) unstable; urgency=medium"
    printf '\n  * See changelog.gz.\n\n'
    echo " -- $maintainer  $(date -R --date="@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.Debian.gz"
licence=$(sed 's/^$/./; s/^/ /' LICENSE-MIT)
awk -v licence="$licence" '$0 == "@EXPAT@" { print licence; next } { print }' packaging/debian/copyright \
    >"$doc/copyright"
chmod 644 "$doc"/*

# What the program needs of the machine.
depends=adduser
newest=$(readelf -V "$palk" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1 | cut -d _ -f 2 || true)
[ -z "$newest" ] || depends="adduser, libc6 (>= $newest), libgcc-s1"
control=$root/DEBIAN
mkdir "$control"
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@DEPENDS@/$depends/" \
    -e "s/@MAINTAINER@/$maintainer/" \
    -e "s/@INSTALLED_SIZE@/$(du -sk --apparent-size "$root" | cut -f 1)/" \
    packaging/debian/control >"$control/control"
install -m 644 packaging/debian/conffiles "$control/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$control/$script"
done
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$control/md5sums"

package=$folder/palk_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package"
