#!/usr/bin/env bash
# Environment steps a second by number of actors, with a simulated latency of the oracle: one learner and N actors as
# processes of their own on loopback, for every N, latency and repeat.
#
#   SRNAS_BENCH_DIR=DIR benches/scaling.sh            measures, appends to OUT.csv, prints the table, writes OUT.svg
#   benches/scaling.sh report                         only the table and the plot of what is in OUT.csv
#
# Settings, from the environment: LATENCIES, ACTORS, REPEATS, WINDOW and WARM (seconds), CONFIG, SRNAS (the program), OUT.
set -euo pipefail
cd "$(dirname "$0")/.."
LATENCIES=${LATENCIES:-"200ms"}
ACTORS=${ACTORS:-"1 2 4 8"}
REPEATS=${REPEATS:-3}
WINDOW=${WINDOW:-60}
WARM=${WARM:-20}
CONFIG=${CONFIG:-configs/nb201-transfer.toml}
SRNAS=${SRNAS:-target/release/srnas}
OUT=${OUT:-docs/scaling}

work=$(mktemp -d)
started=()
stop_started() {
    if ((${#started[@]})); then
        kill -KILL "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" 2>/dev/null || true
    fi
    started=()
}
trap 'stop_started; rm -rf "$work"' EXIT

# Processor seconds so far: of processes, of a learner's training threads, of the whole machine (busy).
ticks=$(getconf CLK_TCK)
cpu_of() { cat $(printf '/proc/%s/stat ' "$@") | sed 's/.*) //' | awk -v t="$ticks" '{ s += $12 + $13 } END { print s / t }'; }
cpu_of_training() {
    for task in /proc/"$1"/task/*; do
        if [[ $(cat "$task/comm") == learner* ]]; then sed 's/.*) //' "$task/stat"; fi
    done | awk -v t="$ticks" '{ s += $12 + $13 } END { print s / t }'
}
cpu_busy() { awk -v t="$ticks" '/^cpu / { print ($2 + $3 + $4 + $7 + $8) / t }' /proc/stat; }

# Waits for a line of the learner's log with these patterns after line $1; prints its number and itself.
line_after() {
    local from=$1 file=$2 deadline=$((SECONDS + $3)) found
    shift 3
    while ((SECONDS < deadline)); do
        found=$(awk -v from="$from" -v p1="$1" -v p2="${2:-.}" 'NR > from && $0 ~ p1 && $0 ~ p2 { print NR, $0; exit }' "$file")
        if [[ -n $found ]]; then echo "$found"; return; fi
        sleep 0.2
    done
    echo "no line with $* in the learner's log; the ends of all logs:" >&2
    tail -n 3 "$work"/*.log >&2
    return 1
}
steps_in() { sed -E 's/.* env steps\/s \(([0-9]+) in all\).*/\1/' <<<"$1"; }
seconds_of() { date -d "$(awk '{ print $2 }' <<<"$1")" +%s.%N; }

# One point: prints steps a second and the processors used by learner, its training thread, actors and others.
measure() {
    local latency=$1 actors=$2 log=$work/learner.log line number address pids=()
    # The log of the point before would name a learner that is gone.
    rm -rf "$work/run" "$work"/*.log
    touch "$log"
    NO_COLOR=1 "$SRNAS" learner --config "$CONFIG" --minutes 60 --run-dir "$work/run" --listen 127.0.0.1:0 \
        --simulate-latency "$latency" >"$work/stdout" 2>"$log" &
    local learner=$!
    started=("$learner")
    line=$(line_after 0 "$log" 120 'learner listens for actors')
    address=$(sed -E 's/.*address=([^ ]+).*/\1/' <<<"$line")
    for ((i = 0; i < actors; i++)); do
        "$SRNAS" actor --learner "$address" --id "scaling-$i" 2>"$work/actor-$i.log" &
        pids+=("$!")
        started+=("$!")
    done
    # Warm: all actors are there, the learner has enough to learn from, and the episodes have drifted apart.
    line=$(line_after 0 "$log" 240 " $actors actor\\(s\\)" ' [1-9][0-9]*\.[0-9] updates/s')
    sleep "$WARM"
    line=$(line_after "$(wc -l <"$log")" "$log" 60 'updates/s')
    local before=("$(cpu_of "$learner")" "$(cpu_of_training "$learner")" "$(cpu_of "${pids[@]}")" "$(cpu_busy)")
    local first=$line
    sleep "$((WINDOW - 5))"
    line=$(line_after "$(wc -l <"$log")" "$log" 60 'updates/s')
    if [[ $line != *" $actors actor(s)"* ]]; then echo "an actor was lost: $line" >&2; return 1; fi
    local after=("$(cpu_of "$learner")" "$(cpu_of_training "$learner")" "$(cpu_of "${pids[@]}")" "$(cpu_busy)")
    awk -v s0="$(steps_in "$first")" -v s1="$(steps_in "$line")" -v t0="$(seconds_of "$first")" -v t1="$(seconds_of "$line")" \
        -v b="${before[*]}" -v a="${after[*]}" 'BEGIN {
            split(a, after, " "); split(b, before, " "); t = t1 - t0
            for (i = 1; i <= 4; i++) used[i] = (after[i] - before[i]) / t
            others = used[4] - used[1] - used[3]
            printf "%.1f,%.3f,%.3f,%.3f,%.3f\n", (s1 - s0) / t, used[1], used[2], used[3], others < 0 ? 0 : others
        }'
    stop_started
}

# Medians by latency and number of actors: latency, actors, steps/s, share of linear, four columns of processors.
medians() {
    awk -F, '
        function median(list,   n, v, i, j, x) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++) { x = v[i] + 0; for (j = i - 1; j > 0 && v[j] + 0 > x; j--) v[j + 1] = v[j]; v[j + 1] = x }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        NR > 1 {
            key = $2 "," $3
            if (!(key in count)) order[++keys] = key
            count[key]++
            for (c = 4; c <= 8; c++) values[key, c] = values[key, c] " " $c
        }
        END {
            for (k = 1; k <= keys; k++) {
                key = order[k]; split(key, part, ",")
                rate = median(values[key, 4])
                if (part[2] == 1) alone[part[1]] = rate
                printf "%s,%s,%.0f,%.3f", part[1], part[2], rate, rate / (part[2] * alone[part[1]])
                for (c = 5; c <= 8; c++) printf ",%.2f", median(values[key, c])
                printf ",%d\n", count[key]
            }
        }' "$OUT.csv"
}

table() {
    echo "| latency | actors | steps/s | of linear | processors: learner | of it training | actors | others | repeats |"
    echo "|---|---|---|---|---|---|---|---|---|"
    medians | awk -F, '{ printf "| %s | %s | %s | %.2f | %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }'
}

# Speed-up by actors, one line a latency, against the linear reference.
plot() {
    medians | awk -F, '
        BEGIN {
            width = 640; height = 440; left = 70; right = 150; top = 50; bottom = 60
            split("#0072b2 #d55e00 #009e73 #cc79a7 #56b4e9", colours, " ")
        }
        {
            if (!($1 in seen)) { seen[$1] = ++series; name[series] = $1 }
            s = seen[$1]; n[s]++; actors[s, n[s]] = $2; speed[s, n[s]] = $4 * $2; rate[s, n[s]] = $3
            if ($2 > most) most = $2
        }
        function x(a) { return left + (width - left - right) * a / most }
        function y(v) { return height - bottom - (height - top - bottom) * v / most }
        END {
            printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n", width, height
            print "<title>Throughput by number of actors under a simulated latency of the oracle</title>"
            printf "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height
            printf "<text x=\"%d\" y=\"25\" font-size=\"15\">Environment steps a second, relative to one actor</text>\n", left
            for (v = 0; v <= most; v += (most > 8 ? 2 : 1)) {
                printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, y(v), x(most), y(v)
                printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", left - 8, y(v) + 4, v
                printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"black\"/>\n", x(v), y(0), x(v), y(0) + 5
                printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%d</text>\n", x(v), y(0) + 20, v
            }
            printf "<path d=\"M%.1f %.1f V%.1f H%.1f\" fill=\"none\" stroke=\"black\"/>\n", left, y(most), y(0), x(most)
            printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">actors (processes)</text>\n", x(most / 2), y(0) + 44
            printf "<text transform=\"translate(%d %.1f) rotate(-90)\" text-anchor=\"middle\">speed-up</text>\n", 28, y(most / 2)
            printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#888\" stroke-dasharray=\"6 4\"/>\n", x(0), y(0), x(most), y(most)
            legend = top + 10
            printf "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#888\" stroke-dasharray=\"6 4\"/><text x=\"%d\" y=\"%d\">linear</text>\n", x(most) + 20, legend, x(most) + 44, legend, x(most) + 52, legend + 4
            for (s = 1; s <= series; s++) {
                path = ""
                for (i = 1; i <= n[s]; i++) {
                    px = x(actors[s, i]); py = y(speed[s, i])
                    path = path sprintf("%s%.1f %.1f", i == 1 ? "M" : " L", px, py)
                    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>%s actor(s): %s steps/s</title></circle>\n", px, py, colours[s], actors[s, i], rate[s, i]
                }
                printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", path, colours[s]
                legend += 22
                printf "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"/><text x=\"%d\" y=\"%d\">%s</text>\n", x(most) + 20, legend, x(most) + 44, legend, colours[s], x(most) + 52, legend + 4, name[s]
            }
            print "</svg>"
        }' >"$OUT.svg"
}

if [[ ${1:-} != report ]]; then
    [[ -f $OUT.csv ]] || echo "repeat,latency,actors,steps_per_second,learner_cpus,training_cpus,actors_cpus,others_cpus" >"$OUT.csv"
    # Repeats outermost: what changes on the machine meets all points.
    for ((r = 1; r <= REPEATS; r++)); do
        for latency in $LATENCIES; do
            for n in $ACTORS; do
                measure "$latency" "$n" >"$work/point"
                echo "$r,$latency,$n,$(cat "$work/point")" | tee -a "$OUT.csv" >&2
            done
        done
    done
fi
table
plot
