#!/usr/bin/env bash
# The job scripts on a real Slurm: a cluster of this one machine, started for the test under your own name, in a folder that
# goes away. About four minutes, for time limits are whole minutes.
#
#   deploy/slurm/test.sh target/release/srnas
#
# Needs slurmctld, slurmd, sbatch and munged (Debian: apt install slurm-wlm munge), no configuration of theirs and no daemon
# that runs already; says that it is skipped without them.
set -euo pipefail
exec </dev/null

say() { printf '%s\n' "slurm test: $*"; }
skip() { say "skipped: $*"; exit 0; }

[ $# -eq 1 ] || { say "usage: deploy/slurm/test.sh PROGRAM"; exit 2; }
[ -x "$1" ] || { say "there is no program $1: build it first"; exit 2; }
SRNAS=$(realpath "$1"); export SRNAS
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch python3; do
    command -v "$program" >/dev/null || skip "there is no $program (Debian: apt install slurm-wlm munge)"
done

# --- The cluster, which goes away however this ends ----------------------------------------------------------------

work=$(mktemp -d)
export SLURM_CONF=$work/slurm.conf
succeeded=

finish() {
    if [ -z "$succeeded" ]; then
        say "failed; the last words:"
        squeue --all 2>&1 || true
        tail -n 20 "$work"/*.log || true
    fi
    scancel --user "$(id -un)" >/dev/null 2>&1 || true
    for _ in {1..30}; do
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 0.5
    done
    for daemon in slurmd slurmctld munged; do
        [ ! -s "$work/$daemon.pid" ] || kill "$(cat "$work/$daemon.pid")" 2>/dev/null || true
    done
    sleep 1
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

step() { say "$*"; }
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

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }
node=$(hostname -s)
user=$(id -un)
head -c 1024 /dev/urandom > "$work/munge.key"
chmod 700 "$work"; chmod 400 "$work/munge.key"
mkdir "$work/state" "$work/spool"
# Jobs may not be started again for two minutes after a requeue, unless credentials run out sooner.
cat > "$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=10
SchedulerParameters=sched_interval=3,bf_interval=3
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
END

step "start a cluster of one node"
# Its folder's parents may be anybody's: it is told not to mind.
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munged.seed" 2>/dev/null
slurmctld
slurmd
idle() { [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ]; }
eventually 30 idle

# --- The cases -----------------------------------------------------------------------------------------------------

# Jobs inherit what is exported; a token of the caller's would be used in place of their own.
unset SRNAS_TOKEN_FILE
submit() { sbatch --parsable --chdir "$PWD" --output "$work/%x-%A_%a.log" "$@"; }
# What a job is, such as COMPLETED; of an array what its jobs are, each once.
state() { scontrol show job "$1" | grep -o 'JobState=[A-Z_]*' | cut -d = -f 2 | sort -u | paste -s -d ,; }
is() { [ "$(state "$1")" = "$2" ]; }
over() { is "$1" COMPLETED; }
says() { cat "$work/$1"*.log 2>/dev/null | grep -q "$2"; }
times() { [ "$(cat "$work/$1"*.log 2>/dev/null | grep -c "$2")" -ge "$3" ]; }

# Time limits are whole minutes, and Slurm warns up to half a minute earlier than it is told to: 60 to 90 s before the end.
soon=(--time=2 --signal=B:USR1@60)

step "a learner and 2 actors"
export RUN_DIR=$work/runs/digits
began=$SECONDS
learner=$(submit --time=30 --signal=B:USR1@60 deploy/slurm/learner.sbatch --config configs/digits.toml --set run.minutes=1.2 --set checkpoint.minutes=0.1)
actors=$(submit --dependency=after:"$learner" --array=1-2 deploy/slurm/actors.sbatch)

step "a search, and 2 evaluators with little time"
# Three seconds on any machine.
# shellcheck disable=SC2016
printf '%s\n' '#!/bin/sh' 'sleep 3; echo "{\"loss\": $(cksum | cut -c 1-4)}"' > "$work/measure"
chmod +x "$work/measure"
export RUN_DIR=$work/runs/spirals
search=$(submit deploy/slurm/search.sbatch --space examples/own/space.toml --minimise loss --budget 60)
evaluators=$(submit "${soon[@]}" --dependency=after:"$search" --array=1-2 deploy/slurm/evaluators.sbatch --oracle "cmd:$work/measure")

step "all of them find each other, by an address and a token that are nobody else's"
eventually 90 times srnas-actors "joined the learner" 2
for run in digits spirals; do
    [[ $(cat "$work/runs/$run.slurm/address") == http://*:* ]] || fail "there is no address of $run"
    [ "$(stat -c %a "$work/runs/$run.slurm/token")" = 600 ] || fail "others may read the token of $run"
done
asked=$("$SRNAS" status --learner "$(cat "$work/runs/digits.slurm/address")" --token-file "$work/runs/digits.slurm/token")
[[ $asked == *"2-1 "*"2-2 "* ]] || fail "the learner knows its actors under other names: $asked"
! "$SRNAS" status --learner "$(cat "$work/runs/digits.slurm/address")" >/dev/null 2>&1 || fail "no token is asked for"

step "somebody takes the search's node: it goes back into the queue, and goes on with what was measured"
eventually 60 says srnas-search " [1-9][0-9]* measured"
scontrol requeue "$search"
eventually 60 times srnas-search "serves at" 2

step "the learner's time is over: it writes a checkpoint, and goes on from there when its turn comes again"
eventually 60 times srnas-actors "acts with the policy" 2
scontrol update job="$learner" TimeLimit=$(((SECONDS - began) / 60 + 2))
eventually 120 says srnas-learner "back into the queue"
says srnas-learner "checkpoint path=" || fail "no checkpoint was written"
scontrol update job="$learner" TimeLimit=30
eventually 60 says srnas-learner "the run goes on"
eventually 60 times srnas-actors "joined again" 2

step "the evaluators' time is over: they come back under their names"
eventually 120 times srnas-evaluators "(start 2) goes to" 2

step "the run and the search end, and so do all jobs"
eventually 240 over "$learner"
eventually 60 over "$actors"
eventually 120 over "$search"
eventually 60 over "$evaluators"
[ "$(cat "$work/runs/digits.slurm/address")" = over ] || fail "nobody says that the run is over"
[ -s "$work/runs/digits/policy.safetensors" ] || fail "there is no policy"
rows=$(tail -n +2 "$work/runs/spirals/measurements.csv" | wc -l)
[ "$rows" = 60 ] || fail "$rows measurements in place of 60"

step "a learner is cancelled: it writes a checkpoint and stays away; submitted again it goes on, and its actor follows"
export RUN_DIR=$work/runs/cancelled
long=(deploy/slurm/learner.sbatch --config configs/digits.toml --set run.minutes=60)
first=$(submit --job-name=first "${long[@]}")
follower=$(submit --job-name=follower --dependency=after:"$first" deploy/slurm/actors.sbatch)
eventually 90 says follower "joined the learner"
eventually 90 says follower "acts with the policy"
scancel "$first"
eventually 60 is "$first" CANCELLED
says first "checkpoint path=" || fail "no checkpoint was written"
says first "submitted again it goes on" || fail "it was not let end"
second=$(submit --job-name=second "${long[@]}")
eventually 60 says second "the run goes on"
eventually 60 says follower "served elsewhere"
eventually 60 times follower "joined the learner" 2
scancel "$second" "$follower"
eventually 60 is "$second" CANCELLED
eventually 60 is "$follower" CANCELLED

step "a learner that fails says so to those who wait for it"
export RUN_DIR=$work/runs/failed
failing=$(submit --job-name=failing deploy/slurm/learner.sbatch --config nowhere.toml)
waiting=$(submit --job-name=waiting --dependency=after:"$failing" deploy/slurm/actors.sbatch)
eventually 60 is "$failing" FAILED
eventually 90 is "$waiting" FAILED
says waiting "the server failed" || fail "the actor does not say why it ends"

succeeded=yes
say "passed in $SECONDS s"
