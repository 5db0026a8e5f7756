#!/usr/bin/env bash
# Installs ws in the running lab, in one of the admin's two ways, as the README gives them: `chart` or
# `manifests`.
set -euo pipefail
cd "$(dirname "$0")/.."

source tests/built.sh
lab=$built/lab
# What is loaded already is skipped.
mapfile -t images < <($lab images)
$lab load "${images[@]}"

bin=$($lab status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["binaries"])')
KUBECONFIG=$($lab kubeconfig)
export KUBECONFIG

case ${1:?chart or manifests} in
chart)
  # The authority of the fake internet's hosts, as a company would bring its own.
  "$bin/helm" upgrade --install ws charts/ws --namespace ws-system --create-namespace --wait --timeout 2m \
    --set-file gateway.trustedCAs=/run/ws-lab/pki/hosts-ca.crt --set 'gateway.credentials={test-credential}' \
    --set 'gateway.services[0].namespace=models' --set 'gateway.services[0].port=11434' >/dev/null
  ;;
manifests)
  "$bin/kubectl" apply -f manifests/crd.yaml >/dev/null
  "$bin/kubectl" wait --for=condition=Established -f manifests/crd.yaml >/dev/null
  "$bin/kubectl" apply -f manifests/ >/dev/null
  "$bin/kubectl" -n ws-system rollout status deployment --timeout=2m >/dev/null
  ;;
*)
  echo "install.sh: chart or manifests" >&2
  exit 2
  ;;
esac

# The default class asks for half a core for each workspace; tests run more of them at a time than this machine has.
"$bin/kubectl" patch workspaceclass default --type=merge \
  -p '{"spec": {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}}' >/dev/null

# The garbage collector looks for new kinds of objects every 30 s. A cluster in which ws has just been installed is not what
# is to be shown or tested, so wait until it deletes a workspace.
"$bin/kubectl" create -f - >/dev/null <<'YAML'
apiVersion: ws.dev/v1alpha1
kind: Workspace
metadata: {name: first, namespace: default}
spec:
  sshPublicKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFO/4UYtQoHTSC3QLPTcN3zBr2kVB0OvIghKbYXjyFCr"]
YAML
"$bin/kubectl" -n default delete workspace first --cascade=foreground --timeout=60s >/dev/null
