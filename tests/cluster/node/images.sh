#!/usr/bin/env bash
# images.sh FOLDER: writes the archives of the test pods' images, registry.local/NAME:test, made from this machine's
# own files. Every image holds /serve (see tools/pod-programs), so that any pod can be a target as well as a source.
# Lists of files are meant to be split into words.
# shellcheck disable=SC2046,SC2086
set -euo pipefail
cd "$1"

image() { python3 "$HERE/mkimg.py" "$1.tar" "registry.local/$1:test" "${@:2}" "${common[@]}"; }

# program PATH [NAME-IN-IMAGE]: a program and the libraries that it is linked with
program() {
  echo "${2:-$1}=$1"
  ldd "$1" | awk '/=> \// {print $3 "=" $3} /^\t\/lib/ {print $1 "=" $1}'
}

# The other commands of busybox, but without nc: the images below that have one bring their own.
applets() { busybox --list | grep -vxE 'busybox|sh|ash|nc|netcat' | sed 's#.*#/bin/&->busybox#'; }

wait_for_ever='"Cmd": ["sleep 1000000"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]'
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > group
printf 'hosts: files dns\n' > nsswitch.conf
common=("/etc/passwd=passwd" "/etc/group=group" "/etc/nsswitch.conf=nsswitch.conf" "/serve=$STATE/bin/serve")

# What the node itself needs.
image pause --config '{"Entrypoint": ["/pause"]}' "/pause=$STATE/bin/pause"
image coredns --config '{"Entrypoint": ["/coredns"], "Cmd": ["-conf", "/etc/coredns/Corefile"]}' "/coredns=$STATE/bin/coredns"

# No shell, no nc: can be probed, cannot probe.
image distroless --config '{"Entrypoint": ["/serve"], "Cmd": ["8080/tcp"]}'

# Debian's busybox and nothing else: its nc knows neither -z nor -v nor -u, and its sh prefers it to any other.
image busybox --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" \
  /bin/busybox=/bin/busybox '/bin/sh->busybox' '/bin/nc->busybox' $(applets)

# A shell, common commands, and one of the three other dialects of nc.
legacy=/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so # ncat complains without it
for dialect in netcat=/bin/nc.openbsd netcat-traditional=/bin/nc.traditional ncat=/usr/bin/ncat; do
  image "${dialect%%=*}" --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" \
    $(program /bin/dash /bin/sh) $(program "${dialect##*=}" /usr/bin/nc) $(program /usr/bin/getent) $legacy=$legacy \
    /bin/busybox=/bin/busybox $(applets)
done

# Shells without any nc: bash can open a connection by itself, dash cannot.
tools=$(for tool in sleep timeout cat date ls head cut sort mktemp rm env; do program "$(command -v $tool)" /usr/bin/$tool; done; program /usr/bin/getent)
image bash --config "{\"Entrypoint\": [\"/bin/bash\", \"-c\"], $wait_for_ever}" $(program /bin/bash) '/bin/sh->bash' $tools
image shell --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" $(program /bin/dash /bin/sh) $tools
