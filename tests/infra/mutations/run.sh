#!/usr/bin/env bash
# Shows that the checks of infra/ are effective: applies each fault of this folder to a copy and reports
# which step caught it. A fault that no step catches, or that no longer applies, ends the run with 1.
#
#   tests/infra/mutations/run.sh [NAME…]     all faults, or those whose name starts with NAME
#
# JOBS=n     faults at a time (default 2)
# SAMPLE=n   only every nth fault
# KEEP=yes   leave the copies and the steps' output in $WORK
#
# A fault is a file NAME.mutation: a comment that says what goes wrong, `file:` below infra/, `test:` the
# file of infra/terraform/tests that should see it, or `validate`, `sed:` a script (sed -E) for one line or
# one argument. Steps run from the fastest to the slowest and stop at the first that fails: fmt, function, rollout,
# regions, alerts, cargo (tests/integration/infra.rs), then validate or test.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../../.." && pwd)
work=${WORK:-$(mktemp -d)}

field() { sed -n "s/^$2: //p" "$1"; }

# The steps that could catch a fault of this file, fastest first.
steps_for() {
    if [ "$2" = validate ]; then echo "fmt regions validate"; return; fi
    case $1 in
        *.js) echo function ;;
        grafana/*) echo "alerts cargo" ;;
        *.json) echo cargo ;;
        prometheus/*) echo "alerts cargo" ;;
        *) echo "fmt rollout regions test" ;;
    esac
}

run_step() {
    if [ "$1" = cargo ]; then
        INFRA=$2/infra "$work/integration" infra:: --skip live
    else
        INFRA=$2/infra TF_INITIALISED=yes TF_TESTS=$3 "$repository/tests/infra/run.sh" "$1"
    fi
}

# Applies one fault to its own copy and prints `name<TAB>step`.
try_fault() {
    local fault=$1 name copy file test step
    name=$(basename "$fault" .mutation)
    copy=$work/$name
    file=$(field "$fault" file)
    test=$(field "$fault" test)
    mkdir -p "$copy"
    cp -a "$repository/infra" "$copy/"
    sed -E -i "$(field "$fault" sed)" "$copy/infra/$file"
    if cmp -s "$repository/infra/$file" "$copy/infra/$file"; then
        printf '%s\t%s\n' "$name" "DOES NOT APPLY"
        return
    fi
    # A fault must not be caught for its formatting, unless that is the fault.
    case $name in *-unformatted) ;; *) terraform fmt "$copy/infra/$file" >/dev/null 2>&1 ;; esac
    for step in $(steps_for "$file" "$test"); do
        if ! run_step "$step" "$copy" "$test" >"$copy/$step.log" 2>&1; then
            printf '%s\t%s\n' "$name" "$step"
            if [ -z "${KEEP:-}" ]; then rm -rf "$copy"; fi
            return
        fi
        if grep -q SKIPPED "$copy/$step.log"; then
            printf '%s\tSKIPPED %s\n' "$name" "$step"
            return
        fi
    done
    printf '%s\t%s\n' "$name" SURVIVED
}

# The binary of the integration tests, built once; the copies only change what it reads.
build_integration() {
    local binary
    binary=$(cargo test --manifest-path "$repository/Cargo.toml" --test integration --no-run --message-format json 2>/dev/null |
        sed -n 's/.*"executable":"\([^"]*integration-[^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$binary" ] && ln -sf "$binary" "$work/integration"
}

if [ "${1:-}" = --one ]; then
    try_fault "$2"
    exit
fi

if [ -z "${KEEP:-}" ]; then trap 'rm -rf "$work"' EXIT; fi
export WORK=$work
build_integration || { echo "mutations: the integration tests do not build" >&2; exit 1; }
[ -e "${TF_CLI_CONFIG_FILE:-/dev/null}" ] || unset TF_CLI_CONFIG_FILE
"$repository/tests/infra/run.sh" validate >"$work/validate.log" || { cat "$work/validate.log"; exit 1; }
if grep SKIPPED "$work/validate.log"; then
    echo "mutations: SKIPPED: most faults need the provider"
    exit 0
fi

faults=()
for prefix in "${@:-}"; do faults+=("$here/$prefix"*.mutation); done
printf '%s\n' "${faults[@]}" | awk -v n="${SAMPLE:-1}" 'NR % n == 0' | xargs -P "${JOBS:-2}" -n 1 "$0" --one | tee "$work.report" |
    while IFS=$'\t' read -r name step; do printf '%-36s %s\n' "$name" "$step"; done
awk -F '\t' '
    { count[$2]++; total++ }
    $2 == "SURVIVED" || $2 == "DOES NOT APPLY" || $2 ~ /^SKIPPED/ { bad++ }
    END {
        printf "\n%d faults:", total
        for (step in count) printf " %s %d", step, count[step]
        printf "; %d not caught\n", bad
        exit bad > 0
    }' "$work.report"
status=$?
rm -f "$work.report"
exit $status
