# Alpine's kind of busybox: the nc of NC_110_COMPAT and NC_EXTRA (-z -v -u -n -w), which Debian's lacks, with musl's words
# for errors, from the source of Debian 12's package. Only what a probe needs of it is compiled.
version=1.35.0
sum=faeeb244c35a348a334f4a59e44626ee870fb07b6884d68c10ae8bc19f83a694
apt=(apt-get -qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o "APT::Sandbox::User=$(id -un)")
mkdir -p lists/partial cache/archives/partial
"${apt[@]}" update
"${apt[@]}" source --download-only busybox
echo "$sum  busybox_$version.orig.tar.bz2" | sha256sum --check --quiet
tar -xjf "busybox_$version.orig.tar.bz2"
# musl-gcc looks in its own folder alone, which has no headers of the kernel.
mkdir headers
ln -s /usr/include/linux /usr/include/asm-generic "/usr/include/$(gcc -print-multiarch)/asm" headers/
cp config "busybox-$version/.config.wanted"
cd "busybox-$version"
build=(make -s CC=musl-gcc "EXTRA_CFLAGS=-isystem $PWD/../headers" HOSTCFLAGS=-O0)
"${build[@]}" allnoconfig >/dev/null
while read -r line; do sed -i "s/^# ${line%=*} is not set\$/$line/" .config; done < .config.wanted
yes '' | "${build[@]}" oldconfig >/dev/null 2>&1 || true
while read -r line; do grep -qxF "$line" .config || { echo "busybox's configuration does not take $line" >&2 && exit 1; }; done < .config.wanted
echo "  compiling busybox $version" >&2
"${build[@]}" busybox >/dev/null
cp busybox "$output/busybox-extra"
