# Arguments: wave:N TARGET...; one line a target on standard output, then `done COUNT`.
# Shell builtins only, besides sleep and the tools asked: images that hold nc often hold little else.
LC_ALL=C
export LC_ALL
exec 2>/dev/null 4</dev/null
set -f
unset IFS

# t = the milliseconds of $u, an uptime: no process is needed to read it, and no clock that is set.
ms() {
  t=
  case $u in
  *[!0-9.]* | '') ;;
  *.??) t=$((${u%.*} * 1000 + (1${u#*.} - 100) * 10)) ;;
  esac
}

# t = milliseconds now.
now() {
  read -r u _ </proc/uptime || u=
  ms
  [ -n "$t" ] || { t=$(date +%s) && t=${t}000; }
}

# limit SECONDS COMMAND...: nothing may outlive the probe, whoever has hung up. Each child is waited for here: an
# orphan would fall to the container's first process, which often reaps nothing.
limit() {
  n=$1
  shift
  "$@" <&4 2>&1 &
  p=$!
  (
    trap '[ "$!" = "$p" ] || { kill -9 "$!"; wait "$!"; }; exit' TERM
    sleep "$n" &
    wait "$!" && kill -9 "$p"
  ) >/dev/null &
  w=$!
  wait "$p"
  r=$?
  kill "$w"
  wait "$w"
  return "$r"
}

# k = what kind of nc "$@" is, empty if it is none that is known.
kind() {
  k=
  h=$(limit 2 "$@" -h)
  case $h in
  *OpenBSD* | *'nc [-46'*) k=openbsd ;;
  *Ncat*' -z'*) k=ncat ;;
  *Ncat*) k=ncat-old ;;
  *BusyBox*-z*) k=busybox-z ;;
  *BusyBox*'-e PROG'*)
    k=busybox
    for e in /bin/true /usr/bin/true; do
      [ ! -x "$e" ] || { k=busybox-e && break; }
    done
    ;;
  *BusyBox*) k=busybox ;;
  *'GNU netcat'*) k=gnu ;;
  *'connect to somewhere'*) k=traditional ;;
  esac
}

has() { command -v "$1" >/dev/null; }

# 6 s to start in: eight ncat at once need seconds where a pod has a tenth of a core.
tcp() {
  case $k$1 in
  traditional*:*) k=$v6 ;;
  # busybox-z says nothing of a refusal with one -v.
  *-z*) set $* -v ;;
  esac
  case $k in
  '') text='no nc or bash that can do it' && return 127 ;;
  # It has no limit of its own: its clock starts when it connects, not when it is started.
  bash)
    text=$(limit $(($3 + 1)) bash -c 'read -r u _ </proc/uptime && echo "$u"; exec 3<>"/dev/tcp/$1/$2"' probe "$1" "$2")
    r=$?
    u=${text%%[!0-9.]*}
    text=${text#"$u"}
    ms
    b=${t:-$b}
    return "$r"
    ;;
  ncat-old) text=$(limit $(($3 + 6)) $nc --send-only -v -n -w "$3" "$1" "$2") ;;
  busybox-e) text=$(limit $(($3 + 2)) $nc -w "$3" "$1" "$2" -e "$e") ;;
  busybox) text=$(limit $(($3 + 2)) $nc -w "$3" "$1" "$2") ;;
  *) text=$(limit $(($3 + 6)) $nc -z -v $4 -n -w "$3" "$1" "$2") ;;
  esac
}

# TXT netpol-verify in class CHAOS: any server refuses it at once, none forwards it. Only an answer counts.
dns() {
  m='NV\001\000\000\001\000\000\000\000\000\000\015netpol-verify\000\000\020\000\003'
  w=$3
  case $k$1 in
  # It ends with its input, and is slow to start.
  ncat*) w=$(($3 + 4)) ;;
  openbsd* | gnu* | traditional*.* | busybox-z*) ;;
  *) k= ;;
  esac
  if has bash; then
    k=bash
    text=$(limit $(($3 + 1)) bash -c 'exec 3<>"/dev/udp/$1/$2" && printf "$3" >&3 && IFS= read -r -t "$4" -n 1 x <&3 && printf NV' probe "$1" "$2" "$m" "$3")
  elif [ -n "$k" ]; then
    text=$( { printf "$m" && sleep "$w"; } | {
      exec 4<&0
      case $k in
      ncat*) limit $(($3 + 6)) $nc -u -n -i "$3" "$1" "$2" ;;
      *) limit $(($3 + 2)) $nc -u -n -w "$3" "$1" "$2" ;;
      esac
    })
  elif [ "$2" = 53 ] && has nslookup; then
    k=nslookup
    case $(limit 2 nslookup --help) in
    *BusyBox*-type*) ;;
    *BusyBox*) text='this nslookup may ask another server than it is told' && return 127 ;;
    esac
    text=$(limit "$3" nslookup kubernetes.default.svc.cluster.local. "$1")
  else
    text='no nc with -u, no bash, no nslookup' && return 127
  fi
  r=$?
  case $text in
  NV*) text=answered && return 0 ;;
  esac
  return "$r"
}

name() {
  if has getent; then
    k=getent
    text=$(limit "$2" getent ahosts "$1")
    r=$?
    l=
    for x in $text; do
      case $x in
      *[!0-9a-f.:]*) continue ;;
      esac
      case " $l " in
      *" $x "*) ;;
      *) l="$l $x" ;;
      esac
    done
    text=$l
    return "$r"
  elif has nslookup; then
    k=nslookup
    text=$(limit "$2" nslookup "$1")
  else
    k=
    text='no getent and no nslookup' && return 127
  fi
}

# try TARGET, split into a (all between kind and seconds), d (address), c (port), s (seconds)
try() {
  has sleep || { k= && text='no sleep, so that nothing could be limited in time' && return 127; }
  case $1 in
  tcp:*) tcp "$d" "$c" "$s" ;;
  dns:*) dns "$d" "$c" "$s" ;;
  name:*) name "$a" "$s" ;;
  *) k= && text='unknown target' && return 127 ;;
  esac
}

# one INDEX TARGET
one() {
  s=${2##*:}
  a=${2#*:}
  a=${a%:*}
  c=${a##*:}
  d=${a%:*}
  d=${d#\[}
  d=${d%\]}
  text=
  now
  b=$t
  try "$2"
  r=$?
  now
  [ -n "$t" ] && t=$((t - b))
  x="$1 $2 ${k:-none} ${t:--} $r"
  set -- $text
  printf 'target %s %.500s\n' "$x" "$*"
}

max=${1#wave:}
shift
k=
v6=
! has bash || v6=bash
if has sleep; then
  for nc in nc ncat netcat 'busybox nc'; do
    ! has "${nc%% *}" || kind $nc
    case $k in
    '') ;;
    busybox) [ -n "$v6" ] || break ;;
    *) break ;;
    esac
    k=
  done
  k=${k:-$v6}
else
  v6=
fi
printf 'probe/1 %s %s\n' "$#" "${k:-none}"
i=0
j=0
for a; do
  i=$((i + 1))
  j=$((j + 1))
  one "$i" "$a" &
  if [ "$j" -ge "$max" ]; then
    wait
    j=0
  fi
done
wait
printf 'done %s\n' "$i"
