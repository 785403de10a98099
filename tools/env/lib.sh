# shellcheck shell=bash
# Shared by the scripts of tools/: settings, paths and messages. Source it, do not run it.
# Settings that callers may put in the environment:
#   KVER         kernel release to build for and to boot
#   IPVS_CACHE   where the Debian root and the kernel trees are kept
#   IPVS_MIRROR  Debian package source; default: the one this host's apt uses
#   IPVS_NATIVE  1: build with the host's own toolchain, 0: always in the Debian root; default: detect
#   KDIR         a prepared kernel build tree to use instead of the cached one
# The variables below are for the scripts that source this file.
# shellcheck disable=SC2034

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
ENV_DIR=$REPO/tools/env
PATH=$PATH:/usr/sbin:/sbin # a user's PATH may lack them, and chroot is there
KVER=${KVER:-7.3.4+deb13-amd64}
IPVS_CACHE=$(realpath -m "${IPVS_CACHE:-${HOME:-/var/tmp}/.cache/ip_vs_rs}")
SUITE=trixie

# Rust symbol hashes contain the compiler's version: only this one links with Debian's kernel.
WANT_RUSTC=1.85.1
WANT_BINDGEN=0.71.1
KCC=x86_64-linux-gnu-gcc-14
KHOSTCC=gcc-14

say() { printf '  %-8s%s\n' "$1" "$2" >&2; }
die() { printf 'ip_vs_rs: %s\n' "$*" >&2; exit 1; }

# Words of a list file without comments.
words() { sed 's/#.*//' "$1" | xargs; }

# The host can build by itself only with exactly the kernel's toolchain.
detect_native() {
	# shellcheck source=/dev/null
	[ "$(. /etc/os-release && echo "${ID:-}${VERSION_ID:-}")" = debian13 ] &&
		[ "$(/usr/bin/rustc --version 2>/dev/null | cut -d' ' -f2)" = "$WANT_RUSTC" ] &&
		[ "$(/usr/bin/bindgen --version 2>/dev/null | cut -d' ' -f2)" = "$WANT_BINDGEN" ] &&
		[ -d "/usr/src/rustc-$WANT_RUSTC/library" ] || return 1
	local c
	for c in "$KCC" clang-19 llvm-nm-19 ld.lld-19 clippy-driver rustfmt cargo bc flex bison make pahole; do
		[ -x "/usr/bin/$c" ] || return 1
	done
}
if [ -z "${IPVS_NATIVE:-}" ]; then
	detect_native && IPVS_NATIVE=1 || IPVS_NATIVE=0
fi

# Whatever decides what a folder of the cache holds is part of its name.
hash() { sha256sum | cut -c1-12; }
ROOT_HASH=$(cat "$ENV_DIR/packages.txt" "$ENV_DIR/root" | hash)
KERNEL_HASH=$({ echo "$KVER $ROOT_HASH $IPVS_NATIVE $IPVS_CACHE" && cat "$ENV_DIR/kernel"; } | hash)
ROOT=$IPVS_CACHE/root-$ROOT_HASH
IMAGE=$ROOT-$(hash <"$ENV_DIR/image").erofs
KERNEL=$IPVS_CACHE/kernel-$KVER-$KERNEL_HASH

# Runs a command with mounts of its own. Without root, a user namespace makes it root over the cache's files.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		unshare --mount --propagation private -- "$@"
	else
		unshare --user --map-auto --map-root-user --mount --propagation private -- "$@"
	fi
}

# Runs a build command where the toolchain is.
toolchain() {
	if [ "$IPVS_NATIVE" = 1 ]; then
		env -u MAKEFLAGS -u MAKELEVEL PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
	else
		"$ENV_DIR/enter" "$@"
	fi
}

need_space() { # GIB
	local free
	free=$(df --output=avail -k "$IPVS_CACHE" | tail -1)
	[ "$free" -ge $(($1 * 1024 * 1024)) ] ||
		die "$IPVS_CACHE: $((free / 1024 / 1024)) GiB free, $1 needed: make room or set IPVS_CACHE"
}
