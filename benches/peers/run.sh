#!/usr/bin/env bash
# Other people's optimisers beside srnas' own methods: same tasks, starts, budgets and ledger, one table.
#
#   benches/peers/run.sh                                              everything, then the tables
#   METHODS="tpe universal" BANDITS= SEEDS=4 benches/peers/run.sh     some of it
#   benches/peers/run.sh tables                                       only the tables of what there is
#
# Settings, from the environment:
#   METHODS, SEEDS, BUDGETS   the methods that train in full; peers are those of solver.py
#   BANDITS, BANDIT_SEEDS     the methods that pay for shorter trainings; syne-… are those of bandits.py
#   TASKS, BANDIT_TASKS       the latter must have a shorter form of 12 epochs
#   SRNAS, VENV, OUT          the program; the Python environment; where a folder for each method goes. The same settings go on
#                             with what is there, and other settings for the same method want another OUT
#   SRNAS_BENCH_DIR           where nb201 was imported, if not into the user's data directory
set -euo pipefail
cd "$(dirname "$0")/../.."
METHODS=${METHODS-"random local evolution gp universal tpe hyperopt nevergrad optuna-gp optuna-gp-4 smac"}
BANDITS=${BANDITS-"two-phase asha bohb syne-asha syne-bohb"}
# Braces are srnas' own.
TASKS=${TASKS:-"nb201/{cifar10,cifar100,imagenet16}/val nb201/cifar10/{pgd,apgd}@1 nb201/cifar10/val-0.15*log(edgegpu_latency)"}
BANDIT_TASKS=${BANDIT_TASKS:-"nb201/cifar10/val nb201/cifar100/val nb201/imagenet16/val"}
SEEDS=${SEEDS:-8}
BANDIT_SEEDS=${BANDIT_SEEDS:-16}
BUDGETS=${BUDGETS:-5,10,25,50,100}
SRNAS=${SRNAS:-target/release/srnas}
VENV=${VENV:-target/peers/venv}
OUT=${OUT:-target/peers/results}
HERE=benches/peers
# One search on one core: libraries that start threads for such small matrices only slow each other down.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1

if [[ ! -x $VENV/bin/python ]]; then
    python3 -m venv "$VENV"
fi
# Again where it was interrupted, or where the pins have changed.
if ! cmp -s "$HERE/requirements.txt" "$VENV/installed.txt"; then
    "$VENV/bin/pip" install --quiet -r "$HERE/requirements.txt"
    cp "$HERE/requirements.txt" "$VENV/installed.txt"
fi
set -f
tasks=() bandit_tasks=()
for task in $TASKS; do tasks+=(--task "$task"); done
for task in $BANDIT_TASKS; do bandit_tasks+=(--task "$task"); done
set +f
tables() { # of all that has every task; of what pays for shorter trainings, beside the others on the same tasks
    "$VENV/bin/python" "$HERE/table.py" "$OUT"/*/
    echo
    "$VENV/bin/python" "$HERE/table.py" "$OUT"/*/ "${bandit_tasks[@]}"
}
if [[ ${1:-} == tables ]]; then
    tables
    exit
fi
if ! "$SRNAS" --version >/dev/null; then
    echo "$SRNAS is not there: cargo build --release, or SRNAS=PATH" >&2
    exit 1
fi
if ! "$SRNAS" bench info nb201 >/dev/null; then
    echo "import the tables first: srnas bench import nasbench201 DIR…" >&2
    exit 1
fi

compare() { # folder, method as srnas has it, seeds, budgets, tasks
    echo "== $1" >&2
    "$SRNAS" compare "${@:5}" --count strings --budget "$4" --seeds "$3" --threads 1 --method "$2" --out "$OUT/$1" >&2
}
for method in $METHODS; do
    case $method in
        tpe | hyperopt | nevergrad | optuna-gp | optuna-gp-4 | smac) how="cmd:$VENV/bin/python $HERE/solver.py $method" ;;
        *) how=$method ;;
    esac
    compare "$method" "$how" "$SEEDS" "$BUDGETS" "${tasks[@]}"
done
for bandit in $BANDITS; do
    case $bandit in
        syne-*)
            # One query each: the starts, and what is best. No method of the tables, so out of their sight.
            compare .starts random "$BANDIT_SEEDS" 1 "${bandit_tasks[@]}" 2>/dev/null
            echo "== $bandit" >&2
            "$VENV/bin/python" "$HERE/bandits.py" "${bandit#syne-}" --srnas "$SRNAS" "${bandit_tasks[@]}" --like "$OUT/.starts" \
                --budget "${BUDGETS##*,}" --out "$OUT/$bandit"
            ;;
        *) compare "$bandit" "$bandit" "$BANDIT_SEEDS" "$BUDGETS" "${bandit_tasks[@]}" ;;
    esac
done
tables
