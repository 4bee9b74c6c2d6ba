# shellcheck shell=sh
# Fails unless the image does what it promises; prints the versions for the log.
export HOME=/tmp LANG=C.UTF-8
as_user() { runuser -u daytona -- "$@"; }

test "$(id -u daytona)" = 1000
test "$(as_user sudo -n id -u)" = 0
test -f /etc/machine-id
test ! -s /etc/machine-id

as_user python --version
as_user python3 -c 'import matplotlib, numpy.testing, pandas, requests, scipy.linalg, sympy; print("pandas", pandas.__version__)'
as_user pip --version
as_user pip config list | grep break-system-packages
as_user python3 -m venv /tmp/venv
as_user pylsp --version

as_user node --version
as_user npm --version
printf 'const answer: number = 42;\nconsole.log("tsx", answer);\n' >/tmp/check.ts
as_user tsx /tmp/check.ts
as_user tsc --version
as_user typescript-language-server --version

printf 'const answer: number = 42;\nconsole.log("ts-node", answer);\n' >/tmp/check.ts
offline() { as_user env HOME=/home/daytona npm_config_cache=/tmp/npm npm_config_registry=http://127.0.0.1:9 "$@"; }
offline npx ts-node -T -O '{"module":"CommonJS"}' /tmp/check.ts
offline npx tsc --version
as_user python3 -c 'import seaborn'
printf 'int main(void) { return 42; }\n' >/tmp/check.c
as_user gcc -o /tmp/check /tmp/check.c
as_user g++ -o /tmp/check /tmp/check.c

for program in curl dig file git jq make nano ping rg rsync sqlite3 tmux tree unzip uv vi vim wget zip bwrap; do
    command -v "$program"
done
