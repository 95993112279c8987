# shellcheck shell=bash
# Runs the stages of a test run: a header and a log for each, one table and one count at
# the end. Sourced by tests/run.sh, which sets $LOG_DIR.
#
# The results in the output of a stage are counted: the summary lines of cargo's test
# programs and of tests/interop/run, and lines "SKIPPED: reason" of tests that could not
# run (cargo's summary counts them as passed). A stage without any of these is one test.
# "NOT CHECKED: ..." is repeated at the end and not counted.
#
# In strict mode a skipped test is a failure, because it means that the machine was not
# set up.

STAGE_TABLE='' STAGE_NOTES='' STAGE_STATUS=0
TOTAL_PASSED=0 TOTAL_FAILED=0 TOTAL_SKIPPED=0

# stage NAME COMMAND... - runs it, whether or not earlier stages failed; sets
# $STAGE_STATUS
stage() {
    local name=$1 log=$LOG_DIR/${1// /-}.log began=$EPOCHREALTIME took verdict=PASS
    shift
    printf '\n=== %s (%s)\n' "$name" "$(date +%T)"
    # In a subshell with "set -e", which "||" would switch off.
    set +e
    (set -e; "$@") 2>&1 </dev/null | tee "$log"
    STAGE_STATUS=${PIPESTATUS[0]}
    set -e
    took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.0f", b - a}')
    [ "$STAGE_STATUS" = 0 ] || verdict=FAIL
    stage_count "$name" "$log" $verdict
    STAGE_TABLE+=$(printf '%-18s %s %5d s   %s' "$name" $verdict "$took" "$STAGE_COUNTS")$'\n'
    printf -- '--- %s: %s after %d s\n' "$name" $verdict "$took"
}

# stage_count NAME LOG VERDICT - adds to the totals, sets $STAGE_COUNTS
stage_count() {
    local passed failed skipped counted
    skipped=$(grep -c 'SKIPPED: ' "$2" || true)
    read -r counted passed failed < <(sed -nE \
        -e 's/.*test result: .*\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' \
        -e 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 0 \3/p' "$2" |
        awk '{n++; p += $1 + $4; f += $2; i += $3} END {print n + 0, p + 0, f + 0}')
    if [ "$counted" != 0 ]; then
        passed=$((passed - skipped))
    elif [ "$skipped" = 0 ] && [ "$3" = PASS ]; then
        passed=1
    fi
    # A stage that fails without a failed test has still failed.
    [ "$3" = PASS ] || [ "$failed" != 0 ] || failed=1
    STAGE_COUNTS="$passed passed, $failed failed, $skipped skipped"
    TOTAL_PASSED=$((TOTAL_PASSED + passed))
    TOTAL_FAILED=$((TOTAL_FAILED + failed))
    TOTAL_SKIPPED=$((TOTAL_SKIPPED + skipped))
    STAGE_NOTES+=$(grep -oE '(SKIPPED|NOT CHECKED): .*' "$2" | sort | uniq -c | sed -E "s/^ *([0-9]+) /  \1 x /" || true)
    STAGE_NOTES=${STAGE_NOTES%$'\n'}${STAGE_NOTES:+$'\n'}
}

# stages_report SECONDS STRICT(yes|no) - prints the table and the count; fails if a test
# failed, or in strict mode was skipped
stages_report() {
    local wrong=$TOTAL_SKIPPED
    printf '\n=== summary, %d min %d s\n%s' $(($1 / 60)) $(($1 % 60)) "$STAGE_TABLE"
    [ -z "$STAGE_NOTES" ] || printf 'not run:\n%s' "$STAGE_NOTES"
    if [ "$2" = no ]; then wrong=0; fi
    [ $wrong = 0 ] || printf 'FAILED: %d skipped, and with CI or XBLADE_TESTS_STRICT that is a failure\n' $wrong
    printf 'logs: %s\n' "$LOG_DIR"
    printf '%d passed, %d failed, %d skipped\n' "$TOTAL_PASSED" "$TOTAL_FAILED" "$TOTAL_SKIPPED"
    [ "$TOTAL_FAILED" = 0 ] && [ $wrong = 0 ]
}
