#!/bin/sh
# The hand-made way, as the recipes do it: cfssl per certificate, envsubst per template, tar and gzip per node,
# cloud-localds per seed. Ownership comes from tar's flags, so it needs no root either.
# usage: handmade.sh apkovl|nocloud NODES SKELETONS OUT
#   NODES: lines of "name address role"; SKELETONS: <role>/root, <role>/templates, <role>/leaves, network-config
set -eu
kind=$1 nodes=$2 skeletons=$3 out=$4
pki=$out/pki
mkdir -p "$pki"

sign() { # sign NAME CN HOSTS
    printf '{"CN":"%s","hosts":["%s"],"key":{"algo":"ecdsa","size":256}}' \
        "$2" "$(printf '%s' "$3" | sed 's/,/","/g')" >"$pki/$1.json"
    cfssl gencert -loglevel=5 -ca="$pki/ca.pem" -ca-key="$pki/ca-key.pem" -config="$pki/config.json" \
        "$pki/$1.json" | cfssljson -bare "$pki/$1"
}

authority() {
    echo '{"signing":{"default":{"expiry":"43800h","usages":["signing","key encipherment","server auth","client auth"]}}}' \
        >"$pki/config.json"
    echo '{"CN":"handmade etcd CA","key":{"algo":"ecdsa","size":256},"ca":{"expiry":"87600h"}}' |
        cfssl gencert -loglevel=5 -initca - | cfssljson -bare "$pki/ca"
}

fill() { # fill ROLE ROOT: the node's own files into a copy of what all nodes of the role have
    cp -a "$skeletons/$1/root" "$2"
    while read -r template; do
        # shellcheck disable=SC2016 # envsubst wants the names, not the values
        envsubst '${NAME} ${ADDRESS}' <"$skeletons/$1/templates/$template" >"$2/$template"
    done <"$skeletons/$1/templates.txt"
    cp "$pki/ca.pem" "$2/etc/etcd/pki/ca.crt"
    while read -r leaf; do
        sign "$NAME-$leaf" "$NAME" "$NAME,$ADDRESS,localhost,127.0.0.1"
        cp "$pki/$NAME-$leaf.pem" "$2/etc/etcd/pki/$leaf.crt"
        cp "$pki/$NAME-$leaf-key.pem" "$2/etc/etcd/pki/$leaf.key"
    done <"$skeletons/$1/leaves.txt"
    rm -f "$2/etc/ssh/ssh_host_ed25519_key" "$2/etc/ssh/ssh_host_ed25519_key.pub"
    ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f "$2/etc/ssh/ssh_host_ed25519_key"
}

pack() { # pack ROOT ARCHIVE
    (cd "$1" && tar --owner=0 --group=0 --numeric-owner -cf - -- *) | gzip -9n >"$2"
}

seed() { # seed DIRECTORY: user-data with everything on board, and the image
    {
        printf '#cloud-config\nhostname: %s\nwrite_files:\n- path: /run/node.tar.gz\n  encoding: b64\n  content: ' "$NAME"
        base64 -w 0 "$1/node.tar.gz"
        printf '\nruncmd:\n- [tar, -C, /, -xzpf, /run/node.tar.gz]\n- [systemctl, daemon-reload]\n'
    } >"$1/user-data"
    printf 'instance-id: %s\nlocal-hostname: %s\n' "$NAME" "$NAME" >"$1/meta-data"
    # shellcheck disable=SC2016 # as above
    envsubst '${NAME} ${ADDRESS}' <"$skeletons/network-config" >"$1/network-config"
    cloud-localds -N "$1/network-config" "$1/$NAME-seed.iso" "$1/user-data" "$1/meta-data"
    rm "$1/node.tar.gz"
}

authority
while read -r NAME ADDRESS role; do
    export NAME ADDRESS
    mkdir "$out/$NAME"
    fill "$role" "$out/root"
    case $kind in
    apkovl) pack "$out/root" "$out/$NAME/$NAME.apkovl.tar.gz" ;;
    nocloud) pack "$out/root" "$out/$NAME/node.tar.gz" && seed "$out/$NAME" ;;
    esac
    rm -r "$out/root"
done <"$nodes"
