#!/usr/bin/env bash
# A cluster of containers, end to end: docker-compose.yml with a learner and actors that come, are killed, are cut off and
# come back. About two minutes.
#
#   deploy/test.sh target/release/srnas     puts this program into the image, in place of compiling it there
#   deploy/test.sh --full                   builds the image as users do, from deploy/Dockerfile
#
# Before it come the manifests for Kubernetes, which need no engine (deploy/kubernetes/test.sh).
#
# Needs a Docker engine with compose, and the tables of NAS-Bench-201 in $SRNAS_BENCH_SOURCES/nasbench201; says that it is
# skipped without them. Where no base image can be pulled, $BASE_IMAGES may name a script that makes debian:bookworm-slim
# and, unless it is given --runtime-only, rust:1.95-bookworm.
set -euo pipefail
exec </dev/null

say() { printf '%s\n' "cluster test: $*"; }
skip() { say "skipped: $*"; exit 0; }
usage() { say "usage: deploy/test.sh PROGRAM | --full"; exit 2; }

[ $# -eq 1 ] || usage
full=
program=
case $1 in
    --full) full=yes ;;
    -*) usage ;;
    *) program=$(realpath "$1"); [ -x "$program" ] || { say "there is no program $1: build it first"; exit 2; } ;;
esac
cd "$(dirname "$0")/.."

# --- What needs no engine ------------------------------------------------------------------------------------------

deploy/kubernetes/test.sh

# --- What it needs -------------------------------------------------------------------------------------------------

docker version >/dev/null 2>&1 || skip "no Docker engine answers"
if docker compose version >/dev/null 2>&1; then compose() { docker compose "$@"; }
elif docker-compose version >/dev/null 2>&1; then compose() { docker-compose "$@"; }
else skip "there is neither \`docker compose\` nor docker-compose"; fi

tables=${SRNAS_BENCH_SOURCES:-}/nasbench201
[ -n "${SRNAS_BENCH_SOURCES:-}" ] && [ -d "$tables" ] ||
    skip "set SRNAS_BENCH_SOURCES to a folder whose folder nasbench201 has the tables of NAS-Bench-201"

have() { docker image inspect "$1" >/dev/null 2>&1; }
bases=(debian:bookworm-slim)
[ -z "$full" ] || bases+=(rust:1.95-bookworm)
for base in "${bases[@]}"; do
    have "$base" || [ -z "${BASE_IMAGES:-}" ] || "$BASE_IMAGES" ${program:+--runtime-only}
    have "$base" || docker pull --quiet "$base" || skip "$base can neither be pulled nor made"
done

# --- The cluster, which goes away however this ends ----------------------------------------------------------------

work=$(mktemp -d)
export COMPOSE_PROJECT_NAME=srnas-test-$$ RUN_IMAGE=srnas-test:$$ RUN_NAME=test RUN_CONFIG=./deploy/test/run.toml
export SRNAS_BENCH_DIR=$work/benchmarks SRNAS_TOKEN_FILE=$work/token
succeeded=

finish() {
    if [ -z "$succeeded" ]; then
        say "failed; the containers' last words:"
        compose ps || true
        compose logs --tail=25 --no-color || true
    fi
    compose down --volumes --timeout 2 >/dev/null 2>&1 || true
    docker image rm "$RUN_IMAGE" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

step() { since=$(date -u +%FT%T.%NZ); say "$*"; }
fail() { say "FAILED: $*"; exit 1; }

# eventually SECONDS COMMAND…: tries until it holds.
eventually() {
    local began=$SECONDS limit=$1; shift
    until "$@"; do
        ((SECONDS - began < limit)) || fail "not within $limit s: $*"
        sleep 0.5
    done
    say "  ok after $((SECONDS - began)) s: $*"
}

actors() { compose ps -q actor | cut -c 1-12; }
status() { docker exec "$learner" srnas status --json; }

# What the learner's HTTP answers, asked as Prometheus does: on the containers' network, with the token.
http() {
    docker exec "$learner" bash -c '
        exec 3<>/dev/tcp/learner/9090
        printf "GET %s HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n" "$1" "$(</run/secrets/token)" >&3
        cat <&3' - "$1"
}
metric() { http /metrics | awk -v name="$1" '$1 == name {print $2}'; }

# What a container logged since the step began.
logged() { [[ $(docker logs --since "$since" "$1" 2>&1) == *"$2"* ]]; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$learner")" = healthy ]; }
live() {
    [ "$(status | grep -o '"id"' | wc -l)" = "$1" ] && [ "$(metric srnas_actors)" = "$1" ]
}
above() { awk -v now="$(metric "$1")" -v before="$2" 'BEGIN {exit !(now > before)}'; }
trains() {
    local counter
    for counter in srnas_environment_steps_total srnas_updates_total; do
        eventually 60 above "$counter" "$(metric "$counter")"
    done
}
exit_code() { docker inspect --format '{{.State.ExitCode}}' "$1"; }

# refused CODE PART… -- ARGUMENT…: a container with these arguments ends with the code, and says all the parts.
refused() {
    local code=$1 said got=0 parts=(); shift
    while [ "$1" != -- ]; do parts+=("$1"); shift; done; shift
    said=$(timeout 60 docker run --rm --read-only --tmpfs /tmp --network "${COMPOSE_PROJECT_NAME}_default" "$@" 2>&1) || got=$?
    [ "$got" = "$code" ] || fail "exit code $got in place of $code: $said"
    for part in "${parts[@]}"; do [[ $said == *"$part"* ]] || fail "does not say \"$part\": $said"; done
    say "  ok: ${said##*$'\n'}"
}

# --- The image -----------------------------------------------------------------------------------------------------

if [ -n "$full" ]; then
    step "build the image from deploy/Dockerfile"
    compose build learner
else
    step "put $program on top of the image's runtime stage"
    docker build --quiet --file deploy/Dockerfile --target runtime --tag srnas-runtime . >/dev/null
    cp "$program" "$work/srnas"
    printf 'FROM srnas-runtime\nCOPY srnas /usr/local/bin/\n' > "$work/Dockerfile"
    docker build --quiet --tag "$RUN_IMAGE" "$work" >/dev/null
fi
docker run --rm "$RUN_IMAGE" --version ||
    fail "the program does not run in the image; one that was built against a newer glibc wants --full"

step "make the benchmark, in a container, and a token"
mkdir "$SRNAS_BENCH_DIR"
docker run --rm --user "$(id -u):$(id -g)" --mount "type=bind,source=$tables,target=/tables,readonly" \
    --mount "type=bind,source=$SRNAS_BENCH_DIR,target=/benchmarks" "$RUN_IMAGE" bench import nasbench201 /tables
(umask 022; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$SRNAS_TOKEN_FILE")

# --- The cases -----------------------------------------------------------------------------------------------------

step "a learner and 2 actors on a private network"
compose up -d --no-build --scale actor=2
learner=$(compose ps -q learner | cut -c 1-12)
eventually 90 healthy
eventually 60 live 2
trains
eventually 10 logged "$learner" "learner listens for actors"
for actor in $(actors); do eventually 10 logged "$actor" "joined the learner"; done
[[ $(http /healthz) == *" 200 "* ]] && [[ $(http /readyz) == *" 200 "* ]] || fail "/healthz or /readyz is not 200"
[ -z "$(docker port "$learner")" ] || fail "the learner publishes a port"
[ "$(docker exec "$learner" id -u)" = 10001 ] || fail "the learner runs as another user than srnas"
for container in $learner $(actors); do
    ! docker exec "$container" touch /written 2>/dev/null || fail "the root file system can be written"
done

step "who lacks the benchmark or the token is told so"
absent=("benchmark \`nb201\` is not in /benchmarks" "srnas bench import nasbench201")
refused 1 "${absent[@]}" -- "$RUN_IMAGE" learner --config /configs/nb201-transfer.toml --run-dir /tmp/run
with_token=(--mount "type=bind,source=$SRNAS_TOKEN_FILE,target=/token,readonly")
refused 1 nb201 learner -- "${with_token[@]}" "$RUN_IMAGE" actor --learner http://learner:7777 --token-file /token
refused 1 learner token -- "$RUN_IMAGE" actor --learner http://learner:7777

step "4 actors"
compose up -d --no-build --scale actor=4
eventually 60 live 4
trains
eventually 10 logged "$learner" "live=4"

step "an actor is killed: its lease runs out, the others go on, and it comes back"
victim=$(actors | tail -n 1)
docker kill "$victim" >/dev/null
eventually 30 live 3
eventually 10 logged "$learner" "dropped"
trains
compose up -d --no-build --scale actor=4
eventually 60 live 4

step "an actor is cut off from the network: it is dropped, and joins again when the network is whole"
network=${COMPOSE_PROJECT_NAME}_default
docker network disconnect "$network" "$victim"
eventually 30 live 3
eventually 30 logged "$victim" "connection lost"
trains
docker network connect "$network" "$victim"
eventually 60 live 4
eventually 10 logged "$victim" "joined again"

step "the learner is stopped and started: it drains, and goes on where it was"
measured=$(metric srnas_measurements_total)
began=$SECONDS
compose stop learner
[ "$(exit_code "$learner")" = 0 ] || fail "the learner ended with $(exit_code "$learner")"
say "  ok: it drained in $((SECONDS - began)) s"
logged "$learner" "checkpoint" || fail "the learner wrote no checkpoint"
compose start learner
eventually 60 healthy
logged "$learner" "the run goes on" || fail "the learner began anew"
above srnas_measurements_total $((measured - 1)) || fail "measurements are lost"
eventually 60 live 4
trains

step "the learner is killed: it goes on from its last checkpoint"
docker kill "$learner" >/dev/null
compose up -d --no-build --scale actor=4
eventually 60 healthy
logged "$learner" "the run goes on" || fail "the learner began anew"
eventually 60 live 4
trains

step "a checkpoint is written when asked for"
written=$(docker exec "$learner" srnas checkpoint)
docker exec "$learner" test -d "$written" || fail "there is no checkpoint $written"
say "  ok: $written"

step "everything stops in time, with nothing left to do"
containers="$(actors) $learner"
began=$SECONDS
compose stop
for container in $containers; do
    [ "$(exit_code "$container")" = 0 ] || fail "$container ended with $(exit_code "$container")"
done
say "  ok: it took $((SECONDS - began)) s"

succeeded=yes
say "passed in $SECONDS s"
