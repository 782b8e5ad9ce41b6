#!/usr/bin/env bash
# Checks and times a Tidegate deployment from outside: the edge, and each region beside it. Needs bash 4,
# curl and awk, nothing else. `./dist-test.sh --help` explains use, checks and exit status.
#
# Two rules hold everywhere: what a server sends is never printed as it came (see `clean`), and secrets
# reach curl by its configuration on a file descriptor, never as arguments.

if ((BASH_VERSINFO[0] < 4)); then
    echo "dist-test: needs bash 4 or newer" >&2
    exit 2
fi
set -uo pipefail
export LC_ALL=C                           # bytes, so that `clean` sees every one
shopt -u patsub_replacement 2>/dev/null   # bash 5.2: & in a replacement is just &

usage() {
    while IFS= read -r line; do printf '%s\n' "$line"; done <<'TEXT'
usage: BASE_URL=https://api.example.com ./dist-test.sh [options]
       ./dist-test.sh [options] https://api.example.com
       ./dist-test.sh --local [options]

The base URL is tested as `edge`. Each <REGION>_IP in the environment is tested in addition, under the
same host name at that address:

  US_EAST_1_IP=192.0.2.1 EU_WEST_1_IP=192.0.2.2:8443 AP_SOUTHEAST_1_IP='[2001:db8::3]' ./dist-test.sh URL

options
  -n N             samples per region for the latency (default 20)
  --budget-ms MS   highest average of /public/* (default 30)
  --deadline S     end after S seconds whatever happens (default 60). Each region has its share of what is
                   left, so that one that hangs leaves time for the others
  --write          with TOKEN: write in one region, read in another. The write is an on-ramp intent of
                   1.00 USD that nobody pays, so no money moves
  --fleet          one check more for each region: who serves a request that arrives there
  --storage        one check more for each region: a small object is put, listed, got and deleted at its S3
                   listener. Needs STORAGE_URL, STORAGE_REPOSITORY, STORAGE_KEY_ID and STORAGE_KEY_SECRET
  --local          the three gateways of `make demo`: 127.0.0.1, ports 8081 to 8083, or from the port of
                   a URL given
  --json           one JSON document in place of the table
  --junit FILE     write a JUnit report as well
  -h, --help       this text

environment
  BASE_URL         the base URL, unless given as argument
  <REGION>_IP      ADDRESS or ADDRESS:PORT of a region, for example EU_WEST_1_IP
  ORIGIN_SECRET    sent as X-Origin-Verify, to the regional addresses only
  TOKEN            JWT for --write (`tidegate token` mints one in development)
  PUBLIC_PATH      a path under /public/ that answers 200 (default /public/rates)
  STORAGE_URL      the S3 listeners, such as https://s3-{region}-aws.example.com: {region} stands for the
                   region's name
  STORAGE_REPOSITORY, STORAGE_KEY_ID, STORAGE_KEY_SECRET
                   a repository, and a key that may write (`tidegate storage key add`)

checks, for each region
  health           /health/edge: 200, its first three keys, no-store, under 1 KiB
  region           /health/edge and Consistency-Status name the region that was asked; an answer that another
                   region has given for it is told, and is no failure
  headers          Consistency-Status, X-Request-Id, and Vary on what may be cached
  latency          average of warm GETs of PUBLIC_PATH within the budget; all samples answer 200
  cache            the second of two requests is a hit, by X-Cache or Cache-Status
  cache-control P  one check per row P of the policy table
  strong           stated twice on a cached path: no hit, no Age, no-store, served by the primary
  fleet            with --fleet: an answer that no cache has given, and the region that has
  storage          with --storage: what was put is listed, comes back as it was, and is gone when deleted
  token            with --write: a session read elsewhere follows the write

exit status: 0 all good, 1 a check failed, 2 usage, or nothing could be reached
TEXT
}

die() {
    printf 'dist-test: %s\n' "$(clean "$1")" >&2
    exit 2
}

# One row of the policy table a line: pattern, a path it covers, the Cache-Control its answers must carry.
# tests/infra compares them with infra/edge-policy.json.
policy_rows() {
    local stored='public, max-age=300, stale-while-revalidate=60' private='no-store, private'
    printf '%s\t%s\t%s\n' \
        '/public/*' "$public_path" "$stored" \
        '/api/v1/rates/*' /api/v1/rates "$stored" \
        '/api/v1/fees/*' /api/v1/fees "$stored" \
        '/account/*' /account/balances "$private" \
        '/api/v1/onramp/*' /api/v1/onramp/0 "$private" \
        '/api/v1/offramp/*' /api/v1/offramp/0 "$private" \
        '/api/v1/mint/*' /api/v1/mint/0 "$private" \
        '/api/v1/transaction*' /api/v1/transactions "$private" \
        '/api/v1/transfer*' /api/v1/transfers/0 "$private" \
        '/api/v1/redemption*' /api/v1/redemptions/0 "$private" \
        '/health/edge' /health/edge no-store
}

# --- Text ---------------------------------------------------------------------------------------------

# Printable ASCII, 200 characters of it; a terminal obeys the rest.
clean() {
    local text=${1//[^ -~]/?}
    if ((${#text} > 200)); then text="${text:0:197}..."; fi
    printf '%s' "$text"
}

json_string() {
    local text
    text=$(clean "$1")
    text=${text//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

xml_text() {
    local text
    text=$(clean "$1")
    text=${text//&/&amp;}
    text=${text//</&lt;}
    text=${text//>/&gt;}
    printf '%s' "${text//\"/&quot;}"
}

# A string in curl's configuration syntax.
curl_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# --- Requests -----------------------------------------------------------------------------------------

# A gateway gives up after 10 s; what has not answered by then hangs.
request_seconds=12
# Far above what any answer here has; an endless one is cut off.
output_bytes=65536

# Runs curl with a configuration and keeps what it prints in `output`, for so many seconds and until the
# target's share is used up at most. In blocks: an endless answer has any number of lines, or none.
run_curl() {
    local config=$1 end=$((SECONDS + $2)) block pid left ended
    output=
    if ((end > share_end)); then end=$share_end; fi
    ((end > SECONDS)) || return 1
    config+="max-time = $((end - SECONDS))"$'\n'
    exec 3< <(exec curl -q -K <(printf '%s' "$config") 2>&1)
    pid=$!
    while ((${#output} < output_bytes && (left = end - SECONDS) > 0)); do
        IFS= read -r -N 4096 -t "$left" -u 3 block
        ended=$?
        output+=$block
        ((ended == 0)) || break
    done 2>/dev/null
    kill "$pid" 2>/dev/null
    # To the end: bash hands what a read that timed out had begun to the next one, whatever it reads from.
    while IFS= read -r -N 4096 -u 3 block; do :; done 2>/dev/null
    exec 3<&-
    return 0
}

# What every request of a target has: where it goes, and the origin secret for regional addresses.
target_config() {
    local target=$1
    printf 'silent\nshow-error\nconnect-timeout = 5\nproto = "=http,https"\nuser-agent = "tidegate-dist-test"\n'
    if [ "$target" != edge ]; then
        printf 'connect-to = "::%s"\n' "${address[$target]}"
        if [ -n "${ORIGIN_SECRET:-}" ]; then printf 'header = %s\n' "$(curl_string "X-Origin-Verify: $ORIGIN_SECRET")"; fi
    fi
}

# request TARGET PATH [CURL CONFIGURATION LINE]…: sets status, headers, body and problem.
request() {
    local target=$1 path=$2
    shift 2
    ask "$(target_config "$target")" "url = $(curl_string "$base_url$path")" "$@"
}

# ask CURL CONFIGURATION LINE…: the same of any server.
ask() {
    local config
    config="include"$'\n'"write-out = \"\\n$marker %{http_code}\\n\""$'\n'
    if (($#)); then config+=$(printf '%s\n' "$@")$'\n'; fi
    status=000 headers='' body='' problem=''
    if ! run_curl "$config" "$request_seconds"; then
        problem="not asked: the share of --deadline is used up"
        return
    fi
    split_answer
    if [ "$status" = 000 ] && [ -z "$problem" ]; then
        problem="no answer in time"
        if ((${#output} >= output_bytes)); then problem="the answer does not end within $output_bytes bytes"; fi
    fi
}

# Takes `output` apart: perhaps 1xx answers, head, body, the marker with the status, curl's own message.
split_answer() {
    local line part=status
    while IFS= read -r line; do
        line=${line%$'\r'}
        if [[ $line == "$marker "* ]]; then
            status=${line#"$marker "} part=end
        elif [[ $part != body && $line == "curl: ("* ]]; then
            problem=${line#curl: }
        else
            case $part in
                status) if [[ $line == HTTP/*" 1"[0-9][0-9]* ]]; then part=interim; else part='head'; fi ;;
                interim) if [ -z "$line" ]; then part=status; fi ;;
                head) if [ -z "$line" ]; then part=body; else headers+=$line$'\n'; fi ;;
                body) body+=$line$'\n' ;;
            esac
        fi
    done <<<"$output"
}

# Without the spaces around it.
trim() {
    local text=${1#"${1%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# The value of a header of the last answer; several lines are joined as HTTP has it.
header() {
    local line name all=''
    while IFS= read -r line; do
        name=${line%%:*}
        if [[ ${name,,} == "$1" && $line == *:* ]]; then all+=${all:+, }$(trim "${line#*:}"); fi
    done <<<"$headers"
    printf '%s' "$all"
}

# Whether a cache answered: "hit", "no", or "" when no header speaks of one.
cache_said() {
    local x_cache cache_status parts part
    x_cache=$(header x-cache)
    cache_status=$(header cache-status)
    IFS=',;' read -ra parts <<<"$cache_status"
    for part in "${parts[@]+"${parts[@]}"}"; do
        if [ "$(trim "${part,,}")" = hit ]; then x_cache=hit; fi
    done
    if [[ ${x_cache,,} == *hit* ]]; then
        echo hit
    elif [ -n "$x_cache$cache_status" ]; then
        echo no
    fi
}

# --- Results ------------------------------------------------------------------------------------------

# One line a check: target, name, ok (true, false, skip), milliseconds, detail.
results=()
record() {
    clock
    results+=("$1"$'\x1f'"$2"$'\x1f'"$3"$'\x1f'"$((now - checked_at))"$'\x1f'"$(clean "$4")")
    checked_at=$now
}

# Sets `now`, in milliseconds; bash 4 knows whole seconds.
clock() {
    now=${EPOCHREALTIME:-$SECONDS.000000}
    now=${now/./}
    now=${now%???}
}

pass() { record "$1" "$2" true "${3:-}"; }
fail() { record "$1" "$2" false "$3"; }
skip() { record "$1" "$2" skip "$3"; }

# Ends a check that got no answer at all, and with it the target's others: each would wait as long.
answered() {
    [ "$status" != 000 ] && return 0
    fail "$1" "$2" "$problem"
    hangs[$1]=$problem
    return 1
}

# --- Checks -------------------------------------------------------------------------------------------

check_health() {
    local target=$1 keys cache_control
    request "$target" /health/edge
    answered "$target" health || return 1
    reached=yes
    keys=$(awk '{ while (match($0, /"[a-z_]+"[ \t]*:/)) { key = substr($0, RSTART + 1); sub(/".*/, "", key); printf "%s ", key; $0 = substr($0, RSTART + RLENGTH) } }' <<<"$body")
    cache_control=$(header cache-control)
    if [ "$status" != 200 ]; then
        fail "$target" health "/health/edge answers $status: $body"
    elif [[ $keys != "status region replication_lag_secs "* ]]; then
        fail "$target" health "/health/edge: the first keys are $keys, should be status region replication_lag_secs"
    elif ! [[ $body =~ \"status\":[[:space:]]*\"healthy\" ]] || ! [[ $body =~ \"replication_lag_secs\":[[:space:]]*[0-9]+(\.[0-9]+)?[[:space:]]*[,}] ]]; then
        fail "$target" health "/health/edge is 200 but says $body"
    elif ((${#body} > 1024)); then
        fail "$target" health "/health/edge has ${#body} bytes, should have 1024 at most"
    elif [[ ${cache_control,,} != *no-store* ]]; then
        fail "$target" health "/health/edge: Cache-Control is \"$cache_control\", should be no-store"
    else
        pass "$target" health
    fi
    check_region "$target"
}

# Both the probe's body and the header of an ordinary answer must name the region that was asked; the
# edge may lead to any.
check_region() {
    local target=$1 said='' stated wanted
    if [[ $body =~ \"region\":[[:space:]]*\"([^\"]*)\" ]]; then said=${BASH_REMATCH[1]}; fi
    request "$target" "$public_path"
    answered "$target" region || return 1
    stated=$(asked_region)
    wanted=$target
    if [ "$target" = edge ]; then wanted='[a-z]*-[a-z]*-[0-9]*'; fi
    # shellcheck disable=SC2053 # a pattern on purpose
    if [[ $said != $wanted ]]; then
        fail "$target" region "/health/edge says region \"$said\", should be $wanted"
    elif [ -n "$stated" ] && [[ $stated != $wanted ]]; then
        fail "$target" region "Consistency-Status says \"$stated\", should be $wanted"
    else
        pass "$target" region "$said$(handed_on)"
    fi
    check_headers "$target"
}

# The last item of Consistency-Status is of the region that was asked, the first of the one that served.
asked_region() {
    local item
    item=$(header consistency-status)
    item=$(trim "${item##*,}")
    printf %s "${item%%;*}"
}

serving_region() {
    local item
    item=$(header consistency-status)
    printf %s "${item%%[;,]*}"
}

# Says who has served instead of the region that was asked, and why.
handed_on() {
    local served item
    served=$(serving_region)
    [ "$served" != "$(asked_region)" ] || return 0
    item=$(header consistency-status)
    printf ', handed to %s' "$served"
    if [[ ${item##*,} =~ reason=([a-z-]+) ]]; then printf ' (%s)' "${BASH_REMATCH[1]}"; fi
}

check_fleet() {
    local target=$1 served
    [ -n "$fleet" ] || return 0
    request "$target" "$public_path" 'header = "X-Consistency: eventual"'
    answered "$target" fleet || return 1
    served=$(serving_region)
    if [ "$status" != 200 ]; then
        fail "$target" fleet "GET $public_path answers $status"
    elif [ -z "$served" ]; then
        fail "$target" fleet "Consistency-Status does not say who has served"
    else
        pass "$target" fleet "served by $served$(handed_on)"
    fi
}

# storage_request METHOD REGION PATH [CURL CONFIGURATION LINE]…: signed, and of the S3 listener alone.
storage_request() {
    local method=$1 url=${storage_url//\{region\}/$2}$3
    shift 3
    ask silent show-error 'connect-timeout = 5' 'proto = "=http,https"' 'user-agent = "tidegate-dist-test"' \
        "url = $(curl_string "$url")" "request = \"$method\"" 'aws-sigv4 = "aws:amz:us-east-1:s3"' \
        "user = $(curl_string "$STORAGE_KEY_ID:$STORAGE_KEY_SECRET")" \
        'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"' "$@"
}

check_storage() {
    local target=$1 key="dist-test-${marker#\~}-$1" repository="/${STORAGE_REPOSITORY:-}" step
    [ -n "$storage" ] || return 0
    if [ "$target" = edge ]; then skip "$target" storage "the S3 listeners are the regions'"; return; fi
    local text="a small object of $key"
    for step in PUT LIST GET DELETE GONE; do
        case $step in
            PUT) storage_request PUT "$target" "$repository/$key" "data = \"$text\"" ;;
            LIST) storage_request GET "$target" "$repository?list-type=2&prefix=$key" ;;
            GET | GONE) storage_request GET "$target" "$repository/$key" ;;
            DELETE) storage_request DELETE "$target" "$repository/$key" ;;
        esac
        answered "$target" storage || return 1
        case $step$status in
            PUT200 | DELETE204 | GONE404) continue ;;
            LIST200) [[ $body != *"<Key>$key</Key>"* ]] || continue ;;
            GET200) [ "$(trim "$body")" != "$text" ] || continue ;;
        esac
        fail "$target" storage "$step of $key answers $status: $body"
        # Nothing of this test is left behind.
        case $step in PUT | LIST | GET) storage_request DELETE "$target" "$repository/$key" ;; esac
        return 1
    done
    pass "$target" storage "put, listed, got and deleted"
}

# Looks at the answer that check_region got.
check_headers() {
    local target=$1 name missing='' vary
    for name in Consistency-Status X-Request-Id Cache-Control Content-Type; do
        if [ -z "$(header "${name,,}")" ]; then missing+=" $name"; fi
    done
    vary=$(header vary)
    case ${vary,,} in
        *x-consistency-token*x-consistency* | *x-consistency*x-consistency-token*) ;;
        *) missing+=" Vary:X-Consistency,X-Consistency-Token" ;;
    esac
    if [ "$status" != 200 ]; then
        fail "$target" headers "GET $public_path answers $status"
    elif [ -n "$missing" ]; then
        fail "$target" headers "GET $public_path: missing$missing"
    else
        pass "$target" headers
    fi
}

# One curl makes all requests, so all but the first reuse its connection; the first is not counted.
check_latency() {
    local target=$1 config i statistics bad count average
    config=$(target_config "$target")$'\n'
    config+="fail-early"$'\n'"write-out = \"$marker %{http_code} %{time_total}\\n\""$'\n'
    for ((i = 0; i <= samples; i++)); do
        config+="url = $(curl_string "$base_url$public_path")"$'\n'"output = \"/dev/null\""$'\n'
    done
    run_curl "$config" "$limit"
    statistics=$(statistics <<<"$output")
    read -r count bad average "p50[$target]" "p95[$target]" "p99[$target]" <<<"$statistics"
    avg[$target]=$average
    if ((count < samples)); then
        fail "$target" latency "only $count of $samples samples in time"
    elif ((bad > 0)); then
        fail "$target" latency "$bad of $samples samples were not answered 200"
    elif awk -v a="$average" -v b="$budget_ms" 'BEGIN { exit !(a > b) }'; then
        fail "$target" latency "average $average ms, budget $budget_ms ms"
    else
        pass "$target" latency "average $average ms of $count warm requests"
    fi
}

# Reads `MARKER status seconds` lines, prints count, failures, average, p50, p95 and p99 (nearest
# rank, milliseconds). Insertion sort: awk has no other that is portable, and samples are few.
statistics() {
    awk -v marker="$marker" '
        $1 == marker && seen++ {
            n++
            if ($2 != 200) bad++
            ms = $3 * 1000
            sum += ms
            for (i = n; i > 1 && sorted[i - 1] > ms; i--) sorted[i] = sorted[i - 1]
            sorted[i] = ms
        }
        function rank(p,  r) { r = int(p * n); if (r < p * n) r++; return n ? sprintf("%.1f", sorted[r]) : "null" }
        END { print n + 0, bad + 0, n ? sprintf("%.1f", sum / n) : "null", rank(.5), rank(.95), rank(.99) }'
}

check_cache() {
    local target=$1 said
    request "$target" "$public_path"
    request "$target" "$public_path"
    answered "$target" cache || return 1
    said=$(cache_said)
    if [ "$said" = hit ]; then
        pass "$target" cache
    else
        fail "$target" cache "the second GET $public_path is no hit: X-Cache \"$(header x-cache)\", Cache-Status \"$(header cache-status)\""
    fi
}

check_cache_control() {
    local target=$1 pattern path wanted got
    while IFS=$'\t' read -r pattern path wanted; do
        request "$target" "$path"
        answered "$target" "cache-control $pattern" || return 1
        got=$(header cache-control)
        if [ "$got" = "$wanted" ]; then
            pass "$target" "cache-control $pattern"
        else
            fail "$target" "cache-control $pattern" "GET $path ($status): Cache-Control is \"$got\", should be \"$wanted\""
        fi
    done < <(policy_rows)
}

# The path is in every cache by now; twice, so that a cache that keys by the level alone is caught.
check_strong() {
    local target=$1 attempt wrong=''
    for attempt in first second; do
        request "$target" "$public_path" 'header = "X-Consistency: strong"'
        answered "$target" strong || return 1
        if [ "$(cache_said)" = hit ]; then wrong="served from a cache"; fi
        if [ -n "$(header age)" ]; then wrong="has an Age of $(header age) s"; fi
        if [[ $(header cache-control) != *no-store* ]]; then wrong="Cache-Control is \"$(header cache-control)\", should be no-store, private"; fi
        if [ "$(header x-route-primary)" != true ]; then wrong="X-Route-Primary is \"$(header x-route-primary)\", should be true"; fi
        if [[ $(header consistency-status) != *level=strong* ]]; then wrong="Consistency-Status is \"$(header consistency-status)\", should say level=strong"; fi
        if [ "$status" != 200 ]; then wrong="answers $status"; fi
        if [ -n "$wrong" ]; then
            fail "$target" strong "the $attempt strong GET $public_path: $wrong"
            return 1
        fi
    done
    pass "$target" strong
}

# A write here, a session read in the next region that must know of it.
check_token() {
    local target=$1 other=$2 token said
    if [ -z "$write" ]; then skip "$target" token "needs --write and TOKEN"; return; fi
    request "$target" /api/v1/onramp 'request = "POST"' 'header = "Content-Type: application/json"' \
        "header = $(curl_string "Authorization: Bearer $TOKEN")" "header = \"Idempotency-Key: dist-test-$marker-$target\"" \
        "data = $(curl_string '{"currency":"USD","amount":"1.00"}')"
    answered "$target" token || return 1
    token=$(header x-consistency-token)
    if [ "$status" != 201 ] || [ -z "$token" ]; then
        fail "$target" token "POST /api/v1/onramp answers $status, X-Consistency-Token is \"$token\""
        return 1
    fi
    request "$other" "$public_path" 'header = "X-Consistency: session"' "header = $(curl_string "X-Consistency-Token: $token")"
    if [ "$status" = 000 ] && [ "$other" != "$target" ]; then
        # Not this region's fault; the other one's checks say so.
        skip "$target" token "written here, but $other does not answer: $problem"
        return
    fi
    answered "$target" token || return 1
    said=$(header consistency-status)
    if [ "$status" != 200 ] || [[ $said != *level=session* ]] || [ -z "$(header x-consistency-token)" ]; then
        fail "$target" token "the session read in $other answers $status, Consistency-Status \"$said\", X-Consistency-Token \"$(header x-consistency-token)\""
    elif [ "$(cache_said)" = hit ]; then
        fail "$target" token "the session read in $other was served from a cache"
    else
        pass "$target" token "read in $other: $said"
    fi
}

# test_target TARGET OTHER SHARE: OTHER is where a write is read, SHARE the part of the time that is left.
test_target() {
    local target=$1 other=$2 check
    share_end=$((SECONDS + (deadline - SECONDS) / $3))
    avg[$target]=null p50[$target]=null p95[$target]=null p99[$target]=null
    for check in health latency cache cache_control strong fleet storage token; do
        "check_$check" "$target" "$other"
        if [ -n "${hangs[$target]:-}" ]; then break; fi
    done
}

# --- Reports ------------------------------------------------------------------------------------------

url_of() { if [ "$1" = edge ]; then echo "$base_url"; else echo "$base_url at ${address[$1]}"; fi; }

# Calls FUNCTION name ok detail milliseconds target for every check of a target; of all without one.
each_check() {
    local target=$1 call=$2 result of name ok took detail
    for result in "${results[@]+"${results[@]}"}"; do
        IFS=$'\x1f' read -r of name ok took detail <<<"$result"
        if [ "$of" = "${target:-$of}" ]; then "$call" "$name" "$ok" "$detail" "$took" "$of"; fi
    done
}

has_failed() {
    local result
    for result in "${results[@]}"; do
        case $result in "${1:-}"*$'\x1f'false$'\x1f'*) return 0 ;; esac
    done
    return 1
}

print_table() {
    local target
    printf '%-16s %9s %9s %9s %9s   (ms)\n' region average p50 p95 p99
    for target in "${targets[@]}"; do
        printf '%-16s %9s %9s %9s %9s\n' "$target" "${avg[$target]}" "${p50[$target]}" "${p95[$target]}" "${p99[$target]}"
    done
    for target in "${targets[@]}"; do
        printf '\n%s\n' "$target"
        each_check "$target" print_check
    done
    printf '\n'
    if has_failed; then
        each_check '' print_failure
    else
        printf 'all good\n'
    fi
}

print_failure() {
    if [ "$2" = false ]; then printf 'FAILED in %s: %s: %s\n' "$5" "$1" "$3"; fi
}

print_check() {
    local mark=ok
    case $2 in false) mark=FAIL ;; skip) mark=skip ;; esac
    if [ -n "$3" ]; then printf '  %-4s  %-34s %s\n' "$mark" "$1" "$3"; else printf '  %-4s  %s\n' "$mark" "$1"; fi
}

print_json() {
    local target separator=
    printf '{"base_url":%s,"ok":%s,"regions":[' "$(json_string "$base_url")" "$(has_failed && echo false || echo true)"
    for target in "${targets[@]}"; do
        printf '%s{"region":"%s","url":%s,"ok":%s' "$separator" "$target" "$(json_string "$(url_of "$target")")" \
            "$(has_failed "$target"$'\x1f' && echo false || echo true)"
        printf ',"avg_ms":%s,"p50_ms":%s,"p95_ms":%s,"p99_ms":%s,"checks":[' \
            "${avg[$target]}" "${p50[$target]}" "${p95[$target]}" "${p99[$target]}"
        comma=
        each_check "$target" print_json_check
        printf ']}'
        separator=,
    done
    printf ']}\n'
}

# A skipped check is ok, and its detail says that it was skipped.
print_json_check() {
    local ok=$2 detail=$3
    if [ "$ok" = skip ]; then ok=true detail="skipped: $detail"; fi
    printf '%s{"name":%s,"ok":%s,"detail":%s}' "$comma" "$(json_string "$1")" "$ok" "$(json_string "$detail")"
    comma=,
}

# As CI tools read it: counts and seconds on every level, and the region as the class of its checks.
print_junit() {
    local target
    printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="dist-test"%s>\n' "$(junit_counts '')"
    for target in "${targets[@]}"; do
        printf '  <testsuite name="%s"%s>\n' "$(xml_text "$target")" "$(junit_counts "$target")"
        each_check "$target" print_junit_case
        printf '  </testsuite>\n'
    done
    printf '</testsuites>\n'
}

# Of one target, or of all.
junit_counts() {
    local tests=0 failures=0 skipped=0 sum=0
    each_check "$1" count_junit_case
    printf ' tests="%d" failures="%d" errors="0" skipped="%d" time="%s"' "$tests" "$failures" "$skipped" "$(in_seconds "$sum")"
}

count_junit_case() {
    tests=$((tests + 1)) sum=$((sum + $4))
    case $2 in false) failures=$((failures + 1)) ;; skip) skipped=$((skipped + 1)) ;; esac
}

print_junit_case() {
    printf '    <testcase classname="dist-test.%s" name="%s" time="%s">' "$(xml_text "$5")" "$(xml_text "$1")" "$(in_seconds "$4")"
    case $2 in
        false) printf '<failure message="%s"/>' "$(xml_text "$3")" ;;
        skip) printf '<skipped message="%s"/>' "$(xml_text "$3")" ;;
    esac
    printf '</testcase>\n'
}

in_seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# --- Start --------------------------------------------------------------------------------------------

is_number() { [[ $1 =~ ^(0|[1-9][0-9]{0,5})$ ]]; }

# ADDRESS or ADDRESS:PORT, as far as text can tell.
is_address() {
    local octet port
    [[ $1 =~ ^(([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})|\[[0-9a-fA-F:.]+\])(:([0-9]+))?$ ]] || return 1
    port=${BASH_REMATCH[7]}
    for octet in "${BASH_REMATCH[@]:2:4}"; do
        if [ -n "$octet" ] && ((10#$octet > 255)); then return 1; fi
    done
    [ -z "$port" ] || is_port "$port"
}

is_port() { is_number "$1" && (($1 >= 1 && $1 <= 65535)); }

# Options set these; see usage.
base_url=${BASE_URL:-} samples=20 budget_ms=30 limit=60 write='' fleet='' storage='' local='' json='' junit=''
public_path=${PUBLIC_PATH:-/public/rates}

parse_options() {
    local given=
    while (($#)); do
        case $1 in
            -n | --budget-ms | --deadline | --junit) (($# > 1)) || die "$1 needs a value" ;;
        esac
        case $1 in
            -n) samples=$2; shift ;;
            --budget-ms) budget_ms=$2; shift ;;
            --deadline) limit=$2; shift ;;
            --junit) junit=$2; shift ;;
            --write) write=yes ;;
            --fleet) fleet=yes ;;
            --storage) storage=yes ;;
            --local) local=yes ;;
            --json) json=yes ;;
            -h | --help) usage; exit 0 ;;
            -*) die "no option $1; see --help" ;;
            *) [ -z "$given" ] || die "one URL at most"; given=$1 ;;
        esac
        shift
    done
    base_url=${given:-$base_url}
    if ! is_number "$samples" || ((samples < 1 || samples > 1000)); then die "-n takes 1 to 1000"; fi
    if ! is_number "$limit" || ((limit < 1)); then die "--deadline takes whole seconds"; fi
    [[ $budget_ms =~ ^[0-9]{1,6}(\.[0-9]+)?$ ]] || die "--budget-ms takes milliseconds"
    [ -z "$write" ] || [ -n "${TOKEN:-}" ] || die "--write needs TOKEN"
    if [ -n "$storage" ]; then check_storage_options; fi
    [[ ${TOKEN:-}${ORIGIN_SECRET:-} != *[![:print:]]* ]] || die "TOKEN and ORIGIN_SECRET are printable text"
    [[ $public_path =~ ^/public/[!-~]+$ ]] || die "PUBLIC_PATH is a path under /public/"
}

check_storage_options() {
    local name
    for name in STORAGE_URL STORAGE_REPOSITORY STORAGE_KEY_ID STORAGE_KEY_SECRET; do
        [ -n "${!name:-}" ] || die "--storage needs $name"
        [[ ${!name} != *[![:graph:]]* ]] || die "$name is printable text without spaces"
    done
    storage_url=${STORAGE_URL%/}
    [[ $storage_url =~ ^https?://[A-Za-z0-9.{}:-]+$ ]] || die "STORAGE_URL is http(s)://HOST[:PORT], without a path"
    [[ $STORAGE_REPOSITORY =~ ^[a-z0-9.-]{3,63}$ ]] || die "STORAGE_REPOSITORY is the name of a repository"
}

# The demo's gateways, as if they were named by <REGION>_IP.
local_regions() {
    base_url=${base_url:-http://127.0.0.1:8081}
    [[ $base_url =~ ^http://(127\.0\.0\.1|localhost):([0-9]+)/?$ ]] || die "--local takes http://127.0.0.1:PORT"
    local port=${BASH_REMATCH[2]}
    if ! is_port "$port" || ! is_port $((port + 2)); then die "--local needs three ports from 1 to 65535"; fi
    # shellcheck disable=SC2034 # read_regions reads them by name
    US_EAST_1_IP=127.0.0.1:$port EU_WEST_1_IP=127.0.0.1:$((port + 1)) AP_SOUTHEAST_1_IP=127.0.0.1:$((port + 2))
}

# Every <REGION>_IP, as ADDRESS:PORT for curl; without a port it is the URL's own.
read_regions() {
    local name value region
    while IFS= read -r name; do
        [[ $name =~ ^([A-Z]{2}(_[A-Z]+)+_[0-9]+)_IP$ ]] || continue
        value=${!name}
        [ -n "$value" ] || continue
        is_address "$value" || die "$name is no ADDRESS or ADDRESS:PORT (IPv6 in brackets)"
        if [[ $value == *"]" || $value != *:* ]]; then value+=:; fi
        region=${name%_IP}
        region=${region,,}
        region=${region//_/-}
        address[$region]=$value
        targets+=("$region")
    done < <(compgen -A variable)
}

main() {
    local target i
    parse_options "$@"
    deadline=$limit # SECONDS counts from the start of this shell
    if [ -n "$local" ]; then local_regions; fi
    base_url=${base_url%/}
    [ -n "$base_url" ] || { usage >&2; exit 2; }
    [[ $base_url =~ ^https?://[A-Za-z0-9.-]+(:[0-9]+)?$|^https?://\[[0-9a-fA-F:.]+\](:[0-9]+)?$ ]] || die "the base URL is http(s)://HOST[:PORT], without a path"
    if [[ $base_url =~ :([0-9]+)$ ]]; then is_port "${BASH_REMATCH[1]}" || die "the base URL's port is 1 to 65535"; fi
    type -P curl >/dev/null || die "curl is not installed"
    type -P awk >/dev/null || die "awk is not installed"
    read_regions
    for ((i = 0; i < ${#targets[@]}; i++)); do
        target=${targets[i]}
        test_target "$target" "${targets[(i + 1) % ${#targets[@]}]}" $((${#targets[@]} - i))
    done
    if [ -n "$junit" ]; then print_junit >"$junit" || die "cannot write $junit"; fi
    if [ -n "$json" ]; then print_json; else print_table; fi
    [ -n "$reached" ] || exit 2
    if has_failed; then exit 1; fi
}

declare -A address=() avg=() p50=() p95=() p99=() hangs=()
targets=(edge)
# Nobody can foresee it, so no answer can pretend to be curl's own line.
marker="~$RANDOM$RANDOM$RANDOM"
reached=
clock
checked_at=$now
export -n TOKEN ORIGIN_SECRET STORAGE_KEY_SECRET 2>/dev/null # curl and awk need not inherit them
main "$@"
