#!/bin/sh
# Makes the keys that sign tokens. Nothing is overwritten: what is replaced is kept beside the new one.
set -eu
umask 077

usage() {
    cat <<'USAGE'
usage: keys.sh [KIND]... [--dir DIR] [--encrypt] [--force]

Makes keys for JWT_PRIVATE_KEY and JWT_PUBLIC_KEY, readable by you alone.

  rs512     an RSA key pair of 3072 bits      DIR/jwt.key, DIR/jwt.pub   (the default)
  ed25519   an Ed25519 key pair, much faster  DIR/jwt.key, DIR/jwt.pub
  hs256     a secret, for development         DIR/jwt.secret

  --dir DIR    where to put them (default: keys)
  --encrypt    protect the private key with a passphrase: JWT_PASSPHRASE, or asked on the terminal
  --force      replace keys without asking; the old ones are kept as NAME.old-TIME
USAGE
}

fail() {
    printf 'keys.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

dir=keys
kinds=
encrypt=false
force=false
while [ $# -gt 0 ]; do
    case $1 in
        rs512 | ed25519 | hs256) kinds="$kinds $1" ;;
        --dir)
            [ $# -ge 2 ] || fail '--dir needs a directory' 2
            dir=$2
            shift
            ;;
        --dir=*) dir=${1#--dir=} ;;
        --encrypt) encrypt=true ;;
        --force) force=true ;;
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
kinds=${kinds:- rs512}
[ -n "$dir" ] || fail '--dir needs a directory' 2
case $dir in -*) dir=./$dir ;; esac
case $kinds in
    *rs512*ed25519* | *ed25519*rs512*) fail 'rs512 and ed25519 have the same place; make one of them, or use two directories' 2 ;;
esac
pair=false
case $kinds in *rs512* | *ed25519*) pair=true ;; esac
if $encrypt && ! $pair; then
    fail 'a secret can not be encrypted; --encrypt is for rs512 and ed25519' 2
fi
command -v openssl >/dev/null 2>&1 || fail 'openssl is needed, and was not found; install it (3.0 or later)'

# The script itself may be standard input, so questions go to the terminal.
on_terminal() { [ -t 2 ] && (: </dev/tty) 2>/dev/null; }

# What would be replaced.
existing=
if $pair; then
    for name in jwt.key jwt.pub; do
        if [ -e "$dir/$name" ]; then existing="$existing $name"; fi
    done
fi
case $kinds in *hs256*) if [ -e "$dir/jwt.secret" ]; then existing="$existing jwt.secret"; fi ;; esac
if [ -n "$existing" ] && ! $force; then
    on_terminal || fail "$dir has$existing already; with --force they are replaced (the old ones are kept beside them)"
    printf '%s has%s already. Replace? The old ones are kept beside them. [y/N] ' "$dir" "$existing" >/dev/tty
    IFS= read -r answer </dev/tty || answer=
    case $answer in
        y | Y | yes | Yes) ;;
        *) fail 'nothing was changed' ;;
    esac
fi

if $encrypt && [ -z "${JWT_PASSPHRASE:-}" ]; then
    on_terminal || fail 'there is no terminal to ask for the passphrase on; set JWT_PASSPHRASE'
    trap 'stty echo </dev/tty' EXIT
    trap 'exit 130' INT TERM
    stty -echo </dev/tty
    printf 'Passphrase: ' >/dev/tty
    IFS= read -r JWT_PASSPHRASE </dev/tty
    printf '\nAgain: ' >/dev/tty
    IFS= read -r again </dev/tty
    printf '\n' >/dev/tty
    stty echo </dev/tty
    trap - EXIT INT TERM
    [ "$JWT_PASSPHRASE" = "$again" ] || fail 'the two differ; nothing was changed'
    [ -n "$JWT_PASSPHRASE" ] || fail 'an empty passphrase protects nothing; nothing was changed'
fi

if [ ! -d "$dir" ]; then
    mkdir -p "$dir"
    printf '*\n' >"$dir/.gitignore" # keys are never committed by accident
fi

# Everything is made in full before anything is replaced.
new=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM

make_pair() { # openssl genpkey's arguments
    if $encrypt; then
        export JWT_PASSPHRASE
        openssl genpkey "$@" -aes-256-cbc -pass env:JWT_PASSPHRASE -out "$new/jwt.key" 2>"$new/log" || fail "$(cat "$new/log")"
        openssl pkey -in "$new/jwt.key" -passin env:JWT_PASSPHRASE -pubout -out "$new/jwt.pub"
    else
        openssl genpkey "$@" -out "$new/jwt.key" 2>"$new/log" || fail "$(cat "$new/log")"
        openssl pkey -in "$new/jwt.key" -pubout -out "$new/jwt.pub"
    fi
    rm -f "$new/log"
}

for kind in $kinds; do
    case $kind in
        rs512) make_pair -algorithm RSA -pkeyopt rsa_keygen_bits:3072 ;;
        ed25519) make_pair -algorithm ED25519 ;;
        hs256) openssl rand -base64 48 >"$new/jwt.secret" ;;
    esac
done

time=$(date -u +%Y%m%dT%H%M%SZ)
for file in "$new"/*; do
    name=${file##*/}
    if [ -e "$dir/$name" ]; then
        old=$name.old-$time
        [ ! -e "$dir/$old" ] || old=$old-$$
        mv "$dir/$name" "$dir/$old"
        printf 'kept %s\n' "$dir/$old"
    fi
    chmod 600 "$file"
    mv "$file" "$dir/$name"
    printf 'made %s\n' "$dir/$name"
done

printf '\nNext: let the server read them, in its environment or in .env:\n\n'
if $pair; then
    printf '    JWT_PRIVATE_KEY_FILE=%s\n    JWT_PUBLIC_KEY_FILE=%s\n' "$dir/jwt.key" "$dir/jwt.pub"
    if $encrypt; then printf '    JWT_PASSPHRASE=…                (or it is asked on the terminal)\n'; fi
fi
case $kinds in *hs256*)
    if $pair; then printf '\nor, for development:\n\n'; fi
    printf '    JWT_PRIVATE_KEY_FILE=%s\n' "$dir/jwt.secret"
    ;;
esac
printf '\nThen restart it. Tokens that were signed with another key are refused from then on.\n'
