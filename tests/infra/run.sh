#!/usr/bin/env bash
# Checks everything under infra/ that can be checked without an account. A step whose tool or provider is
# not available says so and is skipped; if a step fails, the run ends with 1.
#
#   tests/infra/run.sh              all steps
#   tests/infra/run.sh STEP…        these: fmt validate function rollout regions test checkov alerts unit image dist
#
# INFRA=dir          check another copy of infra/ (the mutations do)
# TF_PLUGIN_DIR=dir  Terraform's provider plugins; else a directory named tf-plugins is looked for, at
#                    most two levels below the root; else the registry is used
# TF_TESTS="a b"     only these test files of infra/terraform/tests
# TF_INITIALISED=yes terraform init has been run there already
#
# tests/tools.sh installs what may be missing.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
infra=${INFRA:-$repository/infra}
terraform_dir=$infra/terraform
PATH=$PATH:$repository/target/tools/bin

# A file that is named but missing makes every call print a warning.
[ -e "${TF_CLI_CONFIG_FILE:-/dev/null}" ] || unset TF_CLI_CONFIG_FILE
export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1

log=$(mktemp)
trap 'rm -rf "$log" "$log".d' EXIT

say() { printf 'infra: %-9s %s\n' "$1" "$2"; }
skip() { say "$1" "SKIPPED: $2"; }
have() { type -P "$1" >/dev/null; }

# Runs a step's command; its output is shown only if it fails.
step() {
    local name=$1 what=$2
    shift 2
    if "$@" >"$log" 2>&1; then
        say "$name" "ok: $what"
        return 0
    fi
    say "$name" "FAILED: $what"
    sed 's/^/    /' "$log"
    failed=1
    return 1
}

plugin_dir() {
    if [ -n "${TF_PLUGIN_DIR:-}" ]; then
        echo "$TF_PLUGIN_DIR"
    else
        find / -maxdepth 2 -type d -name tf-plugins 2>/dev/null | head -n 1
    fi
}

# Initialises once per run; the copies of the mutations already contain the result.
initialised() {
    if [ -n "${TF_INITIALISED:-}" ]; then return 0; fi
    local plugins arguments=(-backend=false -input=false -no-color)
    plugins=$(plugin_dir)
    if [ -n "$plugins" ]; then arguments+=("-plugin-dir=$plugins"); fi
    if timeout 300 terraform -chdir="$terraform_dir" init "${arguments[@]}" >"$log" 2>&1; then
        TF_INITIALISED=yes
        return 0
    fi
    if [ -n "$plugins" ] || ! grep -qiE 'registry|could not connect|no such host|lookup|timeout' "$log"; then
        sed 's/^/    /' "$log"
        broken="terraform init failed (above)"
    else
        broken="neither a directory tf-plugins nor the registry can be reached"
    fi
    return 1
}

# Skips a step that needs the provider, or fails it if the provider is available and init does not work.
needs_provider() {
    if ! have terraform; then skip "$1" "terraform is not installed"; return 1; fi
    broken=
    initialised && return 0
    if [ "$broken" = "terraform init failed (above)" ]; then
        say "$1" "FAILED: $broken"
        failed=1
    else
        skip "$1" "$broken"
    fi
    return 1
}

run_fmt() {
    have terraform || { skip fmt "terraform is not installed"; return; }
    step fmt "terraform fmt" terraform -chdir="$terraform_dir" fmt -check -recursive -diff
}

run_validate() {
    needs_provider validate || return 0
    step validate "terraform validate" terraform -chdir="$terraform_dir" validate -no-color
}

run_function() {
    have node || { skip function "node is not installed"; return; }
    FUNCTION=$terraform_dir/functions/consistency.js \
        step function "the viewer-request function, node --test" node --test "$here/consistency_function.test.mjs"
}

run_rollout() {
    have node || { skip rollout "node is not installed"; return; }
    TERRAFORM=$terraform_dir step rollout "the task that rolls out a traffic policy, node --test" node --test "$here/rollout_task.test.mjs"
}

run_regions() {
    have node || { skip regions "node is not installed"; return; }
    step regions "every regional resource is in its region" node "$here/regions.mjs" "$terraform_dir"
}

run_test() {
    needs_provider test || return 0
    local filters=() file
    for file in ${TF_TESTS:-}; do filters+=("-filter=tests/$file.tftest.hcl"); done
    step test "terraform test" terraform -chdir="$terraform_dir" test -no-color "${filters[@]}"
}

run_checkov() {
    have checkov || { skip checkov "it cannot be installed from PyPI"; return; }
    step checkov "no finding without an explained skip" \
        checkov --directory "$infra" --framework terraform dockerfile --compact --quiet --skip-download
    if grep -rnE '#checkov:skip=[A-Z0-9_]+(:.{0,14})?$' "$infra" >"$log"; then
        say checkov "FAILED: a skip without a reason"
        sed 's/^/    /' "$log"
        failed=1
    fi
}

run_alerts() {
    have promtool || { skip alerts "promtool is not installed and Debian's package cannot be had"; return; }
    step alerts "promtool check rules" promtool check rules "$infra/prometheus/alerts.yml"
    step alerts "promtool test rules" promtool test rules "$infra/prometheus/alerts.test.yml"
    step alerts "every alert is tested and explained" every_alert
    have node || { skip alerts "node is not installed, which the dashboard's expressions are read with"; return; }
    mkdir -p "$log.d"
    node "$here/dashboard_rules.mjs" "$infra/grafana/tidegate.json" >"$log.d/dashboard.yml"
    step alerts "the dashboard's expressions" promtool check rules "$log.d/dashboard.yml"
}

every_alert() {
    local alert missing=0
    for alert in $(awk '$1 == "-" && $2 == "alert:" { print $3 }' "$infra/prometheus/alerts.yml"); do
        grep -q "alertname: $alert\$" "$infra/prometheus/alerts.test.yml" || { echo "$alert has no test"; missing=1; }
        grep -q "\`$alert\`" "$infra/README.md" || { echo "$alert is not in infra/README.md"; missing=1; }
    done
    return $missing
}

run_unit() {
    have systemd-analyze || { skip unit "systemd-analyze is not installed"; return; }
    local name
    mkdir -p "$log.d"
    # `verify` requires that the program exists, so an existing one replaces it.
    sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|; s|^EnvironmentFile=|&-|' "$infra/systemd/tidegate.service" >"$log.d/tidegate.service"
    step unit "systemd-analyze verify" systemd-analyze verify --man=no "$log.d/tidegate.service"
    for name in tls fleet; do
        mkdir -p "$log.d/$name/tidegate.service.d"
        cp "$log.d/tidegate.service" "$log.d/$name/"
        cp "$infra/systemd/$name.conf" "$log.d/$name/tidegate.service.d/"
        step unit "systemd-analyze verify, with $name.conf" \
            systemd-analyze verify --man=no "$log.d/$name/tidegate.service"
    done
    step unit "systemd-analyze security: exposure 1.5 at most" \
        systemd-analyze security --offline=true --threshold=15 --no-pager "$log.d/tidegate.service"
}

# No tool here can build an image: the Dockerfile is checked as text, and checkov's Dockerfile rules run in
# their own step.
run_image() {
    step image "the Dockerfile's claims (not built: that needs a container engine)" image_claims
}

image_claims() {
    local file=$infra/Dockerfile stages path
    stages=$(grep -c '^FROM ' "$file")
    [ "$stages" -ge 2 ] || { echo "not multi-stage"; return 1; }
    [ "$(awk '$1 == "USER" { user = $2 } END { print user }' "$file")" = 10001:10001 ] || { echo "the last USER is not 10001:10001"; return 1; }
    grep -q '^HEALTHCHECK .*' "$file" && grep -q '/health/live' "$file" || { echo "no health check of /health/live"; return 1; }
    ! grep -qE '^VOLUME|:latest' "$file" || { echo "a volume, or an unpinned base"; return 1; }
    for path in $(awk '$1 == "COPY" && $2 !~ /^--/ { for (i = 2; i < NF; i++) print $i }' "$file"); do
        [ -e "$repository/$path" ] || { echo "COPY $path: no such path"; return 1; }
    done
}

# dist-test.sh against small servers; bash, curl and awk exist wherever this runs.
run_dist() {
    have node || { skip dist "node is not installed"; return; }
    step dist "dist-test.sh, against servers that fail in one way each" node --test "$here/dist_test.test.mjs"
}

failed=0
if [ $# -eq 0 ]; then set -- fmt function rollout regions validate test checkov alerts unit image dist; fi
for name in "$@"; do
    case $name in
        fmt | validate | function | rollout | regions | test | checkov | alerts | unit | image | dist) "run_$name" ;;
        *) echo "infra: no step named $name" >&2; exit 2 ;;
    esac
done
exit $failed
