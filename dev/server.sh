# shellcheck shell=bash
# Starting, finding and stopping a development server. Sourced after host.sh, not run.
#
# DIR/api-key      the admin key, made on the first start
# DIR/server.env   where the running server is; there only while it runs
# DIR/logs/server.log

SEBRING=$PROJECT/target/release/sebring

# Puts the key of a data directory into SEBRING_API_KEY.
read_key() {
    local dir=$1
    if [ ! -s "$dir/api-key" ]; then
        (umask 077 && od -An -v -tx1 -N 24 /dev/urandom | tr -d ' \n' >"$dir/api-key.new")
        mv "$dir/api-key.new" "$dir/api-key"
    fi
    SEBRING_API_KEY=$(cat "$dir/api-key")
    export SEBRING_API_KEY
}

# Whether process PID is a server of data directory DIR.
is_server_of() {
    local pid=$1 dir=$2 exe
    exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    [[ $(basename "${exe% (deleted)}") == sebring ]] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$dir"
}

# Answers the pid of the server of DIR, if one runs.
running_server() {
    local dir=$1 pid
    pid=$(sed -n 's/^SEBRING_PID=//p' "$dir/server.env" 2>/dev/null)
    if [ -n "$pid" ] && is_server_of "$pid" "$dir"; then
        printf '%s\n' "$pid"
    fi
}

# Starts the server of DIR on PORT and waits until it says that it serves: sets SERVER_PID, writes DIR/server.env.
# With DETACH=1 it lives on without this terminal.
start_server() {
    local dir=$1 port=$2 ca_bundle=$3 ready line
    local command=("$SEBRING" serve --data-dir "$dir" --listen "127.0.0.1:$port" --ready-fd 3)
    [ -z "$ca_bundle" ] || command+=(--ca-bundle "$ca_bundle")
    [ "${DETACH:-0}" = 0 ] || command=(setsid "${command[@]}")
    mkdir -p "$dir/logs"
    local log=$dir/logs/server.log url=http://127.0.0.1:$port/api
    # Descriptor 3 is the one writing end of this pipe: the server's death is an end of file.
    exec {ready}< <(exec "${command[@]}" 3>&1 >>"$log" 2>&1 </dev/null)
    SERVER_PID=$!
    if ! IFS= read -r line <&"$ready" || [ "$line" != READY ]; then
        exec {ready}<&-
        tail -n 20 "$log" >&2
        wait "$SERVER_PID" || die "the server ended with status $? before it was ready; log: $log"
        die "the server ended before it was ready; log: $log"
    fi
    exec {ready}<&-
    (
        umask 077
        printf 'DAYTONA_API_URL=%s\nDAYTONA_V0_API_URL=%s\nDAYTONA_API_KEY=%s\nSEBRING_PID=%s\n' \
            "$url" "$url" "$SEBRING_API_KEY" "$SERVER_PID" >"$dir/server.env.new"
    )
    mv "$dir/server.env.new" "$dir/server.env"
}

# stop_server DIR: asks the server to end and waits for it. Its sandboxes run on.
stop_server() {
    local dir=$1 pid
    pid=$(running_server "$dir")
    if [ -n "$pid" ]; then
        kill -TERM "$pid"
        # It holds this lock to its end.
        flock --timeout 60 "$dir/lock" true ||
            die "the server (process $pid) did not end within 60 s; log: $dir/logs/server.log"
        # What it had open after the lock is closed after it.
        timeout 60 tail --pid="$pid" -s 0.02 -f /dev/null
    fi
    rm -f "$dir/server.env"
    [ -n "$pid" ]
}

# build_and_bootstrap DIR MIRROR CA_BUNDLE: builds the program, and makes the default snapshot in DIR meanwhile, by a small
# part of the program that is built before the rest. What goes wrong with the snapshot is told by the next bootstrap.
build_and_bootstrap() {
    local dir=$1 mirror=$2 ca_bundle=$3 bootstrap
    # Both packages in both calls, so that what they share is built once.
    local build=(as_owner cargo build --release --locked --package sebring --package sebring-images --bin)
    (cd "$PROJECT" && "${build[@]}" sebring-bootstrap) || return
    # Ends with this shell. Without a terminal it prints a line for each phase.
    setpriv --pdeathsig KILL "$PROJECT/target/release/sebring-bootstrap" "$dir" "$mirror" "$ca_bundle" \
        </dev/null > >(cat >&2) 2>&1 &
    bootstrap=$!
    if ! (cd "$PROJECT" && "${build[@]}" sebring); then
        kill "$bootstrap" 2>/dev/null || true
        return 1
    fi
    wait "$bootstrap" || true
}
