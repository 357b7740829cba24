#!/usr/bin/env bash
# images.sh BIN: makes sure that the archives of the images registry.local/NAME:test, which the node, Flux and test pods
# run, are in the user's cache, and prints their folder. They are made from this machine's own files and from the
# programs in BIN. Every image holds /serve (see tools/pod-programs), so that any pod can be a target as well as a source.
# Lists of files are meant to be split into words.
# shellcheck disable=SC2046,SC2086
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/netpol-verify

key=$({
  cat "$here/images.sh" "$here/mkimg.py" "$here"/felix/* "$here/node/supervise.sh" "$here/../../job/probe/root.sh"
  realpath "$bin"/{serve,pause,nflog,calico-felix,coredns,{source,kustomize,notification}-controller} # the names of their folders hold their hashes
  dpkg-query -W busybox-static dash bash coreutils mawk grep sed libc6 libc-bin libssl3 netcat-openbsd netcat-traditional ncat \
    ca-certificates iptables libxtables12 ipset conntrack 2>/dev/null || true
} | sha256sum | cut -c1-12)
folder=$cache/images-$key
if [ -d "$folder" ]; then
  echo "$folder"
  exit
fi
work=$(mktemp -d "$cache/.building-images-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/archives"
cd "$work"

image() { python3 "$here/mkimg.py" "archives/$1.tar" "registry.local/$1:test" "${@:2}" "${common[@]}"; }

# program PATH [NAME-IN-IMAGE]: a program and the libraries that it is linked with
program() {
  echo "${2:-$1}=$1"
  ldd "$1" | awk '/=> \// {print $3 "=" $3} /^\t\/lib/ {print $1 "=" $1}'
}

applets() { busybox --list | grep -vx busybox | sed 's#.*#/bin/&->busybox#'; }

wait_for_ever='"Cmd": ["sleep 1000000"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]'
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > group
printf 'hosts: files dns\n' > nsswitch.conf
common=("/etc/passwd=passwd" "/etc/group=group" "/etc/nsswitch.conf=nsswitch.conf" "/serve=$bin/serve")

# What the node itself needs.
image pause --config '{"Entrypoint": ["/pause"]}' "/pause=$bin/pause"
image coredns --config '{"Entrypoint": ["/coredns"], "Cmd": ["-conf", "/etc/coredns/Corefile"]}' "/coredns=$bin/coredns"

# Felix, what it calls, and what keeps it running. ipset knows protocols by the names in /etc/protocols only.
printf 'icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nsctp 132 SCTP\nudplite 136 UDPLite\n' > protocols
commands=$(
  for command in cat date env grep mkdir rm sed sleep tail touch; do program "$(command -v $command)" /usr/bin/$command; done
  for command in xtables-legacy-multi xtables-nft-multi ipset conntrack; do program "$(command -v $command)" /usr/sbin/$command; done
  for command in ip{,6}tables{,-legacy,-legacy-save,-legacy-restore}; do echo "/usr/sbin/$command->xtables-legacy-multi"; done
  for command in ip{,6}tables-nft{,-save,-restore}; do echo "/usr/sbin/$command->xtables-nft-multi"; done
  for extension in /usr/lib/x86_64-linux-gnu/xtables/lib{xt,ipt}_*.so; do echo "$extension=$extension"; done
)
image calico-node --config '{"Entrypoint": ["/run.sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin"]}' \
  "/usr/local/bin/calico-felix=$bin/calico-felix" "/usr/local/bin/nflog=$bin/nflog" /run.sh="$here/felix/run.sh" \
  /supervise.sh="$here/node/supervise.sh" /usr/local/sbin/iptables-legacy-restore="$here/felix/iptables-legacy-restore" \
  /etc/protocols=protocols $(program /bin/bash) '/usr/bin/bash->/bin/bash' $commands

# Flux's controllers, as the user that their own images have. Their own also hold git and gnupg, for bases in other
# repositories and for SOPS, which no test uses.
certificates=/etc/ssl/certs/ca-certificates.crt
for controller in source-controller kustomize-controller notification-controller; do
  program=/usr/local/bin/$controller
  image $controller --config "{\"Entrypoint\": [\"$program\"], \"User\": \"65534:65534\"}" \
    $program="$bin/$controller" $certificates=$certificates
done

# No shell, no nc: can be probed, cannot probe.
image distroless --config '{"Entrypoint": ["/serve"], "Cmd": ["8080/tcp"]}'

# Debian's busybox and nothing else: its nc knows neither -z nor -v nor -u, and its sh prefers it to any other.
image busybox --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" \
  /bin/busybox=/bin/busybox $(applets)

# The usual commands of a Debian image. Not busybox's: its env and timeout would call its own nc.
commands=$(
  for command in awk cat cut date env getent grep head id ls mkdir mktemp rm sed sleep sort tail timeout tr wc; do
    program "$(command -v $command)" /usr/bin/$command
  done
)

# A shell and one of the three other dialects of nc.
legacy=/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so # ncat complains without it
for dialect in netcat=/bin/nc.openbsd netcat-traditional=/bin/nc.traditional ncat=/usr/bin/ncat; do
  image "${dialect%%=*}" --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" \
    $(program /bin/dash /bin/sh) $(program "${dialect##*=}" /usr/bin/nc) $legacy=$legacy $commands
done

# Shells without any nc: bash can open a connection by itself, dash cannot.
image bash --config "{\"Entrypoint\": [\"/bin/bash\", \"-c\"], $wait_for_ever}" $(program /bin/bash) '/bin/sh->bash' $commands
image shell --config "{\"Entrypoint\": [\"/bin/sh\", \"-c\"], $wait_for_ever}" $(program /bin/dash /bin/sh) $commands

# What is added to pods without a tool, from the files that job/probe/Dockerfile takes, with its settings.
sh "$here/../../job/probe/root.sh" probe
python3 "$here/mkimg.py" archives/netpol-verify-probe.tar registry.local/netpol-verify-probe:test \
  --config '{"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"], "User": "65532:65532"}' \
  $(cd probe && find . -type f | sed 's#^\.\(.*\)#\1=probe\1#')

mv -T archives "$folder" 2>/dev/null || [ -d "$folder" ] # another one may have been quicker
echo "$folder"
