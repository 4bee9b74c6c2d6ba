# shellcheck shell=sh
# The user, settings, and what must not be in an image. May run again over its own result.

getent passwd daytona >/dev/null || useradd --create-home --uid 1000 --user-group --shell /bin/bash daytona
printf 'daytona ALL=(ALL:ALL) NOPASSWD:ALL\n' >/etc/sudoers.d/daytona
chmod 0440 /etc/sudoers.d/daytona
chmod 0755 /home/daytona
install -d -o daytona -g daytona /home/daytona/.local /home/daytona/.local/bin

# `pip install` and `npm install --global` work for the user, into ~/.local (PEP 668 would refuse the first).
printf '[global]\nbreak-system-packages = true\ndisable-pip-version-check = true\n' >/etc/pip.conf
cat >/usr/local/lib/node_modules/npm/npmrc <<'NPMRC'
prefix=${HOME}/.local
update-notifier=false
fund=false
NPMRC

# npx looks for programs there, too, and would ask the registry for what npm.txt has installed: as `npm link` does, show
# it each of them. SDKs up to 0.161 run TypeScript by `npx ts-node`.
for program in /usr/local/bin/*; do
    path=$(readlink "$program") || continue
    package=${path#../lib/node_modules/} package=${package%%/*}
    case $path in
        ../lib/node_modules/npm/*) ;;
        ../lib/node_modules/*)
            runuser -u daytona -- mkdir -p /home/daytona/.local/lib/node_modules
            runuser -u daytona -- ln -sfn "/usr/local/lib/node_modules/$package" "/home/daytona/.local/lib/node_modules/$package"
            runuser -u daytona -- ln -sf "$path" "/home/daytona/.local/bin/${program##*/}"
            ;;
    esac
done

# From the Python Package Index, for Debian does not have it.
pip install --quiet --root-user-action ignore --no-compile --no-cache-dir uv
# What people type.
update-alternatives --install /usr/bin/vim vim /usr/bin/vim.tiny 10

printf 'LANG=C.UTF-8\n' >/etc/default/locale
ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime

# Tests of libraries: 100 MB that nobody runs in a sandbox.
for library in matplotlib mpl_toolkits pandas scipy seaborn statsmodels sympy; do
    [ ! -d "/usr/lib/python3/dist-packages/$library" ] || find "/usr/lib/python3/dist-packages/$library" -depth -type d -name tests -exec rm -rf {} +
done

# The first import of matplotlib would otherwise look at every font.
runuser -u daytona -- env HOME=/home/daytona MPLBACKEND=agg python3 -c 'import matplotlib.font_manager'

# Identity and state belong to the sandbox, not to the image.
: >/etc/machine-id
printf 'localhost\n' >/etc/hostname
# Where programs of old look mounts up.
ln -sf ../proc/self/mounts /etc/mtab
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >/etc/hosts
chmod 0644 /etc/hostname /etc/hosts
rm -f /etc/ssh/ssh_host_*_key* /var/lib/dbus/machine-id
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old /root/.npm /root/.cache
find /var/log -type f -delete
