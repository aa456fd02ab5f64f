#!/usr/bin/env bash
# The manifests, without a cluster: each overlay is built by kustomize, keeps to the schemas of two releases of Kubernetes,
# and names nothing that is not there (check.py).
#
#   deploy/kubernetes/test.sh
#
# Needs kustomize or kubectl, and a Python with the package kubernetes-validate, which brings the schemas along:
# $KUBERNETES_PYTHON, or python3. Says that it is skipped without them.
#
#   python3 -m venv venv && venv/bin/pip install kubernetes-validate
#   KUBERNETES_PYTHON=venv/bin/python deploy/kubernetes/test.sh
set -euo pipefail
exec </dev/null

say() { printf '%s\n' "Kubernetes test: $*"; }
skip() { say "skipped: $*"; exit 0; }

python=${KUBERNETES_PYTHON:-python3}
command -v "$python" >/dev/null || skip "there is no $python"
python=$(realpath -s "$(command -v "$python")")
cd "$(dirname "$0")"
if command -v kustomize >/dev/null; then build() { kustomize build "$1"; }
elif kubectl kustomize --help >/dev/null 2>&1; then build() { kubectl kustomize "$1"; }
else skip "there is neither kustomize nor kubectl"; fi
"$python" -c 'import kubernetes_validate' 2>/dev/null ||
    skip "set KUBERNETES_PYTHON to a Python that has the package kubernetes-validate"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failed=
for overlay in base overlays/*/; do
    overlay=${overlay%/}
    build "$overlay" > "$work/all.yaml"
    # The autoscaler's second version and the failure policy of Jobs are stable from 1.31 on.
    for release in 1.31 1.33; do
        "$python" -m kubernetes_validate --strict --quiet --kubernetes-version "$release" "$work/all.yaml" || failed=yes
    done
    if said=$("$python" check.py < "$work/all.yaml"); then
        say "  ok: $overlay, $(grep -c '^kind:' "$work/all.yaml") objects"
    else
        failed=yes
        while read -r line; do say "  $overlay: $line"; done <<< "$said"
    fi
done
[ -z "$failed" ] || { say "FAILED"; exit 1; }
say "passed"
