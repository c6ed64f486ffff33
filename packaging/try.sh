#!/usr/bin/env bash
# Tries a package on a bare Debian that is booted in a container: packaging/try.sh FILE.deb
#
# Four nodes and a server are started by units, a file is stored and read, a node is killed, and the package
# is upgraded, removed and purged. Needs root, mmdebstrap and systemd-nspawn (Debian's systemd-container).
set -euo pipefail

package=${1:?which package?}
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
mmdebstrap --quiet --variant=minbase --include=adduser,dbus,man-db,systemd,systemd-sysv bookworm "$root"
cp "$package" "$root/palk.deb"

cat >"$root/try.sh" <<'EOF'
set -eux
dpkg --install /palk.deb
[ "$(stat -c '%U %a' /var/lib/palk/node /var/lib/palk/server | sort -u)" = "palk 700" ]
systemctl is-enabled palk-node palk-server && exit 1
man palk-client-store | grep -q "Store files"

cd /var/lib/palk
palk keygen /root/cluster.key
install -m 600 -o palk -g palk /root/cluster.key /etc/palk/cluster.key
sed -i 's/^#key/key/; s/^#id/id/; s/^#listen.*/listen = "127.0.0.1:51131"/' /etc/palk/node.toml
sed -i 's/^#key/key/; s/^#node/node/; s/10.0.0.[1-4]/127.0.0.1/g' /etc/palk/server.toml
# The other nodes have machines of their own; here they have units of their own.
for id in 2 3 4; do
    install -d -m 700 -o palk -g palk "node$id"
    palk storage --config /etc/palk/node.toml --id "$id" --listen "127.0.0.1:5113$id" \
        --dir "/var/lib/palk/node$id" --print-unit >"/etc/systemd/system/palk-node-$id.service"
done
systemctl daemon-reload
systemctl enable --now palk-node palk-node-2 palk-node-3 palk-node-4 palk-server

healthy() {
    timeout 60 sh -c 'until palk status -x --dir /var/lib/palk/server; do sleep 1; done'
}
healthy
echo "a password" >/root/password
export PALK_USER=ann PALK_PASSWORD_FILE=/root/password
palk admin user add ann --password-file /root/password --dir /var/lib/palk/server
palk client store /usr/bin/dpkg --as stored
palk client rtv stored --to /root/back
cmp /root/back /usr/bin/dpkg

systemctl reload palk-server
systemctl kill --signal=KILL palk-node
healthy
pid() { systemctl show --property=MainPID --value "$1"; }
before=$(pid palk-node)
dpkg --install /palk.deb
[ "$(pid palk-node)" != "$before" ]
grep -q '^id = 1' /etc/palk/node.toml
healthy
cmp <(palk client -q rtv stored --to -) /usr/bin/dpkg

dpkg --remove palk
systemctl is-active palk-node palk-server && exit 1
dpkg --purge palk
[ ! -e /etc/palk/node.toml ] && [ -e /etc/palk/cluster.key ] && [ -e /var/lib/palk/node/.palk/node.toml ]
rm -r /etc/palk /var/lib/palk
dpkg --install /palk.deb
dpkg --purge palk
[ ! -e /etc/palk ] && [ ! -e /var/lib/palk ]
echo "The package is fine."
EOF
cat >"$root/etc/systemd/system/try.service" <<'EOF'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /try.sh >/try.log 2>&1; systemctl poweroff'
EOF
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
ln -s /etc/systemd/system/try.service "$wants/"

timeout 300 systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network \
    </dev/null >/dev/null 2>&1 || true
cat "$root/try.log"
[ "$(tail -n 1 "$root/try.log")" = "The package is fine." ]
