#!/bin/sh
# Installs or upgrades propromo-chat as a systemd service. Existing keys, settings and data stay.
set -eu
umask 022

usage() {
    cat <<'USAGE'
usage: install.sh [--binary FILE] [--prefix DIR] [--root DIR]

  --binary FILE  the server (default: the release build of this checkout, or the one of this archive)
  --prefix DIR   where the server goes: DIR/bin (default: /usr/local)
  --root DIR     install below DIR, and start nothing
USAGE
}

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

here=$(cd "$(dirname "$0")" && pwd)
binary=${CARGO_TARGET_DIR:-$here/../target}/release/propromo-chat
# In the archive of a release the server stands beside this folder.
if [ ! -x "$binary" ] && [ -x "$here/../propromo-chat" ]; then binary=$here/../propromo-chat; fi
prefix=/usr/local
root=
while [ $# -gt 0 ]; do
    case $1 in
        --binary | --prefix | --root)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            case $1 in
                --binary) binary=$2 ;;
                --prefix) prefix=$2 ;;
                --root) root=$(cd "$2" && pwd) || fail "there is no directory $2" 2 ;;
            esac
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            fail "\`$1\` is none of these" 2
            ;;
    esac
    shift
done
[ -x "$binary" ] || fail "there is no server at $binary; build it with \`cargo build --release\`, or give --binary"
case $prefix in /*) ;; *) fail '--prefix needs an absolute path' 2 ;; esac
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    fail 'this installs into the system; run it as root (or with --root)'
fi

units=$root/etc/systemd/system
settings=$root/etc/propromo-chat
state=$root/var/lib/propromo-chat

# First under another name: a running program can't be overwritten, but it can be replaced.
mkdir -p "$root$prefix/bin"
install -m 0755 "$binary" "$root$prefix/bin/.propromo-chat.new"
mv -f "$root$prefix/bin/.propromo-chat.new" "$root$prefix/bin/propromo-chat"

mkdir -p "$root/etc/sysusers.d"
install -m 0644 "$here/propromo-chat.sysusers" "$root/etc/sysusers.d/propromo-chat.conf"
systemd-sysusers ${root:+"--root=$root"} propromo-chat.conf

mkdir -p "$settings" "$state"
chmod 0750 "$settings"
chmod 0700 "$state"
if [ "$(id -u)" -eq 0 ]; then
    owner=$(awk -F: '$1 == "propromo-chat" { print $3 ":" $4 }' "$root/etc/passwd")
    chown "$owner" "$state"
    # The server reads config.toml there as its own user.
    chgrp "${owner#*:}" "$settings"
fi
[ -e "$settings/env" ] || install -m 0640 "$here/env" "$settings/env"
if [ ! -e "$settings/jwt.key" ]; then
    "$binary" keys ed25519 --dir "$settings" >/dev/null
    echo "made $settings/jwt.key, which signs the tokens"
fi

mkdir -p "$units"
sed "s|^ExecStart=/usr/bin/|ExecStart=$prefix/bin/|" "$here/propromo-chat.service" >"$units/propromo-chat.service"
install -m 0644 "$here/propromo-chat.socket" "$units/propromo-chat.socket"
chmod 0644 "$units/propromo-chat.service"
systemctl ${root:+"--root=$root"} --quiet enable propromo-chat.socket propromo-chat.service

if [ -n "$root" ]; then
    echo "installed below $root"
elif [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl start propromo-chat.socket
    # The socket stays open in the meantime, so nobody is refused.
    systemctl restart propromo-chat.service
    echo "propromo-chat runs; \`systemctl status propromo-chat\` says how it is"
else
    echo 'installed; systemd does not run here, so nothing was started'
fi
