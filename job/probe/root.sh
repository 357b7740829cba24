#!/bin/sh
# root.sh FOLDER: puts the probe image's files there, from the Debian that it runs on (netcat-openbsd installed). /bin/nc
# and /bin/sh go by these names whatever the alternatives are.
set -eu
root=$1

# put FILE NAME: FILE, whatever links lead to it, as NAME
put() {
  mkdir -p "$root${2%/*}"
  cp -L "$1" "$root$2"
}

for program in /bin/dash=/bin/sh /bin/nc.openbsd=/usr/bin/nc /bin/sleep=/usr/bin/sleep /usr/bin/getent=/usr/bin/getent; do
  put "${program%%=*}" "${program##*=}"
  for library in $(ldd "${program%%=*}" | grep -o '/[^ ]*'); do
    put "$library" "$library"
  done
done
mkdir -p "$root/etc"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod -R a+rX "$root"
