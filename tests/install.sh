#!/usr/bin/env bash
# Installs ws in the running lab, in one of the admin's two ways: `chart` or `manifests`.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(target/release/lab status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["binaries"])')
KUBECONFIG=$(target/release/lab kubeconfig)
export KUBECONFIG

case ${1:?chart or manifests} in
chart)
  "$bin/helm" upgrade --install ws charts/ws --namespace ws-system --create-namespace --wait --timeout 2m >/dev/null
  ;;
manifests)
  "$bin/kubectl" apply --server-side -f manifests/crd.yaml >/dev/null
  "$bin/kubectl" wait --for=condition=Established crd/workspaces.ws.dev crd/workspaceclasses.ws.dev >/dev/null
  "$bin/kubectl" apply --server-side -f manifests/install.yaml >/dev/null
  "$bin/kubectl" -n ws-system rollout status deployment --timeout=2m >/dev/null
  ;;
*)
  echo "install.sh: chart or manifests" >&2
  exit 2
  ;;
esac
