# shellcheck shell=sh
# Installs the given npm packages globally. Starts from nothing each time, so that it may be interrupted.
rm -rf /usr/local/lib/node_modules /usr/local/bin/*
export COREPACK_HOME=/run/build/cache/corepack COREPACK_ENABLE_DOWNLOAD_PROMPT=0
corepack npm@10 install --global --prefix /usr/local --cache /run/build/cache/npm \
    --ignore-scripts --no-audit --no-fund --no-update-notifier --prefer-offline "$@"
rm -rf /usr/local/lib/node_modules/npm/docs /usr/local/lib/node_modules/npm/man /usr/local/share/man
