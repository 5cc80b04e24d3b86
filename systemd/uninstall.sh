#!/bin/sh
# Removes what install.sh installed. Settings, keys, data and the user stay, unless --purge is given.
set -eu

usage() {
    cat <<'USAGE'
usage: uninstall.sh [--purge] [--prefix DIR] [--root DIR]

  --purge       remove settings, keys, accounts and messages, too
  --prefix DIR  where the server is: DIR/bin (default: /usr/local)
  --root DIR    what was installed below DIR
USAGE
}

fail() {
    printf 'uninstall.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

prefix=/usr/local
root=
purge=false
while [ $# -gt 0 ]; do
    case $1 in
        --purge) purge=true ;;
        --prefix | --root)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            case $1 in
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
case $prefix in /*) ;; *) fail '--prefix needs an absolute path' 2 ;; esac
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    fail 'this removes from the system; run it as root (or with --root)'
fi

units=$root/etc/systemd/system
if [ -e "$units/propromo-chat.service" ]; then
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        systemctl stop propromo-chat.service propromo-chat.socket
    fi
    systemctl ${root:+"--root=$root"} --quiet disable propromo-chat.service propromo-chat.socket
fi
rm -f "$units/propromo-chat.service" "$units/propromo-chat.socket"
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
rm -f "$root$prefix/bin/propromo-chat" "$root/etc/sysusers.d/propromo-chat.conf"

if $purge; then
    rm -rf "$root/etc/propromo-chat" "$root/var/lib/propromo-chat" "$units/propromo-chat.service.d" "$units/propromo-chat.socket.d"
    # Below a --root, perhaps only root may change it.
    if [ "$(id -u)" -eq 0 ] && grep -q '^propromo-chat:' "$root/etc/passwd"; then
        userdel ${root:+--prefix "$root"} propromo-chat
    fi
    echo 'removed, with settings, keys and data'
else
    echo "removed; $root/etc/propromo-chat and $root/var/lib/propromo-chat stay (--purge removes them)"
fi
