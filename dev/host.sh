# shellcheck shell=bash
# What the scripts in this folder ask of the machine. Sourced, not run.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The oldest Rust that builds this, as Cargo.toml says.
RUST_VERSION=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$PROJECT/Cargo.toml")

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# at_least WANTED FOUND: compares versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Root, a Debian-like system, and the kernel features that no sandbox can do without.
check_host() {
    [ "$(uname -s)" = Linux ] || die "this needs Linux; found $(uname -s)"
    [ "$(id -u)" = 0 ] || die "this needs root, for namespaces, mounts and cgroups: sudo $0 ..."
    command -v apt-get >/dev/null || die "this needs a Debian-like system: apt-get is missing"
    case $(uname -m) in
        x86_64 | aarch64) ;;
        *) die "this needs x86_64 or aarch64; found $(uname -m)" ;;
    esac
    local lacks=()
    at_least 5.19 "$(uname -r)" || lacks+=("Linux 5.19 or newer, for idmapped overlay layers; found $(uname -r)")
    grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || lacks+=("the overlay filesystem")
    [ "$(cat /proc/sys/user/max_user_namespaces 2>/dev/null || echo 0)" -gt 0 ] ||
        lacks+=("user namespaces: sysctl -w user.max_user_namespaces=100000")
    [ -e /proc/self/cgroup ] || lacks+=("control groups")
    if [ ${#lacks[@]} -gt 0 ]; then
        printf 'error: this machine lacks\n' >&2
        printf '  - %s\n' "${lacks[@]}" >&2
        exit 1
    fi
}

# check_disk DIR GIGABYTES: free space on the file system that holds or will hold DIR.
check_disk() {
    local dir=$1 wanted=$2 free
    while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    free=$(df --output=avail --block-size=1000000000 "$dir" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$wanted" ] || die "$dir has $free GB free; $wanted GB are needed (choose another place with --data-dir)"
}

# install_packages FILE:PACKAGE...: installs the packages whose file is missing; a bare name is looked for in PATH.
install_packages() {
    local pair file package missing=()
    for pair in "$@"; do
        file=${pair%%:*} package=${pair#*:}
        [ -e "$file" ] || command -v "$file" >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --no-install-recommends "${missing[@]}" >&2 || {
        apt-get update >&2 && apt-get install --yes --no-install-recommends "${missing[@]}" >&2
    } || die "apt-get could not install: ${missing[*]}"
}

# What building and running need.
install_build_packages() {
    install_packages \
        cc:gcc /usr/include/stdio.h:libc6-dev \
        curl:curl jq:jq \
        mmdebstrap:mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring \
        nft:nftables mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs unshare:util-linux
}

# Who owns the checkout builds it, so that a build under sudo leaves no files of root behind.
as_owner() {
    local owner
    owner=$(stat -c %U "$PROJECT")
    if [ "$owner" = root ] || [ "$owner" = UNKNOWN ] || [ "$(id -u)" != 0 ]; then
        "$@"
    else
        runuser -u "$owner" -- env HOME="$(getent passwd "$owner" | cut -d: -f6)" PATH="$PATH" "$@"
    fi
}

# Puts a Rust toolchain that is new enough into PATH.
find_cargo() {
    local home found
    for home in "$HOME" "$(getent passwd "$(stat -c %U "$PROJECT")" | cut -d: -f6)"; do
        [ ! -x "$home/.cargo/bin/cargo" ] || PATH=$home/.cargo/bin:$PATH
    done
    if ! command -v cargo >/dev/null && apt-cache show rustup >/dev/null 2>&1; then
        install_packages rustup:rustup
        say "installing the stable Rust toolchain"
        as_owner rustup default stable >&2
    fi
    command -v cargo >/dev/null ||
        die "cargo is missing, and this system has no package rustup: install Rust $RUST_VERSION or newer with rustup"
    found=$(cd "$PROJECT" && as_owner cargo --version | cut -d' ' -f2)
    at_least "$RUST_VERSION" "$found" ||
        die "Rust $RUST_VERSION or newer is needed, found $found: rustup update stable"
}

# Certificate authorities that sandboxes must trust beside the usual ones: the file that the environment names, or the
# system's if someone added to it.
host_ca_bundle() {
    local system=/etc/ssl/certs/ca-certificates.crt
    if [ -n "${SSL_CERT_FILE:-}" ] && [ -f "$SSL_CERT_FILE" ]; then
        printf '%s\n' "$SSL_CERT_FILE"
    elif [ -n "$(find /usr/local/share/ca-certificates -name '*.crt' -print -quit 2>/dev/null)" ] && [ -f "$system" ]; then
        printf '%s\n' "$system"
    fi
}

# Puts cargo-nextest and cargo-deny into PATH, from target/tools, where they are installed once.
install_tools() {
    local tools=$PROJECT/target/tools
    if ! cmp -s "$PROJECT/dev/tools.txt" "$tools/installed.txt"; then
        say "installing dev/tools.txt"
        python3 -m venv --clear "$tools" &&
            "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
                --requirement "$PROJECT/dev/tools.txt" &&
            cp "$PROJECT/dev/tools.txt" "$tools/installed.txt" || return
    fi
    # Not the whole folder: its python is for these alone.
    mkdir -p "$tools/path" && ln -sf "$tools/bin/cargo-nextest" "$tools/bin/cargo-deny" "$tools/path/" || return
    PATH=$tools/path:$PATH
}
