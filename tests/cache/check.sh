#!/usr/bin/env bash
# Runs check.py where its tools are there, and says so where they are not. Usage: check.sh GATEWAY-BINARY TOOLS
set -euo pipefail
for tool in python3 node; do
    if ! type -P "$tool" >/dev/null; then
        echo "SKIPPED: $tool is not installed"
        exit 0
    fi
done
if [ ! -e "$2/ready" ]; then
    echo "SKIPPED: http-cache-tests is not installed"
    exit 0
fi
exec python3 -B "$(dirname "$0")/check.py" "$1" "$2/node_modules"
