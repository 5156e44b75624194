#!/usr/bin/env bash
# Looks for inputs that harm a reader: run.sh [SECONDS [TARGET …]], each target for so long, 600 seconds if not given. Begins with the
# inputs in tests/fuzz/corpus and with what was found before, prints a table, and fails if an input makes a reader panic, takes
# longer than a second, or takes too much memory. JOBS=2 runs two targets beside each other.
#
# Needs `cargo install cargo-fuzz` and a C++ compiler. What is found grows in target/fuzz/corpus; a finding belongs into
# tests/fuzz/corpus once it is mended, so that the tests read it for ever.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-600}
shift || true
seeds=tests/fuzz/corpus
made=target/fuzz
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(ls "$seeds")
for target in "${targets[@]}"; do
    [[ -d $seeds/$target ]] || { echo "there is no target $target: $(ls "$seeds" | tr '\n' ' ')" >&2 && exit 2; }
done

# There is no unsafe code in the readers for a sanitizer to watch, and without one the stable compiler will do. Assertions and checks
# of overflow are on.
cargo fuzz build --fuzz-dir tests/fuzz --target-dir "$made" --sanitizer none --debug-assertions parsers
program=$(ls "$made"/*/release/parsers)
mkdir -p "$made/logs"
rm -f "$made/failed"

# Fuzzes one target; its log is all that remains of it beside inputs.
fuzz() {
    local target=$1 largest
    mkdir -p "$made/corpus/$target" "$made/findings/$target"
    # The words of its inputs are what a reader is likely to understand.
    {
        # The file must not be empty.
        echo '# words'
        LC_ALL=C grep -aohE '[[:alnum:]_.:=+*/-]{2,24}' "$seeds/$target"/* | LC_ALL=C sort -u | sed 's/.*/"&"/; 400q'
    } >"$made/$target.dict" || true
    largest=$(stat -c %s "$seeds/$target"/* | sort -n | tail -n 1)
    # A reservation that no memory stands behind fails too.
    ulimit -v $((4 << 20))
    TARGET=$target "$program" "$made/corpus/$target" "$seeds/$target" -max_total_time="$seconds" \
        -max_len=$((largest < 256 ? 512 : largest * 2)) -timeout=10 -report_slow_units=1 -rss_limit_mb=1024 \
        -dict="$made/$target.dict" -artifact_prefix="$made/findings/$target/" -print_final_stats=1 >"$made/logs/$target" 2>&1 ||
        echo "$target: code $?" >>"$made/failed"
    # Whatever else the machine did made some inputs look slow: they are read once more.
    local slow took
    for slow in "$made/findings/$target"/slow-unit-*; do
        [[ -e $slow ]] || continue
        took=$(TARGET=$target "$program" "$slow" 2>&1 | sed -n 's/^Executed .* in \([0-9]*\) ms$/\1/p')
        ((${took:-9999} > 1000)) || rm "$slow"
    done
}

for target in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= ${JOBS:-1})); do wait -n; done
    fuzz "$target" &
done
wait

printf '%-20s %12s %9s %9s\n' target executions coverage findings
for target in "${targets[@]}"; do
    log=$made/logs/$target
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -aoE 'cov: [0-9]+' "$log" | tail -n 1 || true)
    found=$(find "$made/findings/$target" -type f | wc -l)
    printf '%-20s %12s %9s %9d\n' "$target" "${executions:-?}" "${coverage#cov: }" "$found"
done

mapfile -t findings < <(find "$made/findings" -type f)
if ((${#findings[@]})); then
    printf '\nFindings; each again with TARGET=NAME %s FILE:\n' "$program"
    printf '  %s\n' "${findings[@]}"
    exit 1
fi
# Also one that could not begin.
if [[ -e $made/failed ]]; then
    printf '\nEnded early, see %s/logs:\n' "$made"
    cat "$made/failed"
    exit 1
fi
