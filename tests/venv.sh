# shellcheck shell=bash
# Environments of Python packages. Sourced, not run.

# venv DIR REQUIREMENTS: a venv with these packages. It is complete when its stamp equals them.
venv() {
    local dir=$1 requirements=$2
    if [ -x "$dir/bin/pytest" ] && cmp -s "$requirements" "$dir/installed.txt"; then
        return
    fi
    echo "installing $requirements into $dir"
    python3 -m venv --clear "$dir" &&
        "$dir/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" &&
        cp "$requirements" "$dir/installed.txt"
}
