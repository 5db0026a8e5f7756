# Everything a contributor runs. `make` alone lists it.

CARGO   ?= cargo
# Tests send signals, also where they run in the background: what starts them there has them ignore some.
TEST    := env --default-signal=HUP,INT $(CARGO) test
MINUTES ?= 10
# Asked for only by what needs it: it runs rustc.
LAB      = $(shell . tests/built.sh; echo $$built)/lab

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit cluster bench redteam-mutations conformance fuzz images lab manifests programs tools

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: tools images ## Boot the lab, install ws, contain a coding session, and show it
	@tests/demo/run.sh

test: unit cluster ## Run all tests: units, command line, manifests, and the cluster tests in the lab

lint: ## Check the format and the lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

# Always the whole workspace, and tests by their targets' names: with fewer members cargo would choose other features and
# compile most dependencies once more. The last ones need root: they make namespaces of their own.
unit: tools ## Run the tests of the crates, of the command line and of the manifests: they need no cluster
	$(TEST) --release --locked --workspace
	$(TEST) --release --locked --workspace --test pod --test packets -- --ignored --skip gateway

cluster: tools images ## Run the cluster tests, in the lab
	tests/cluster/run.sh

bench: tools images ## Measure ws beside its rivals, each as a ratio in one run
	tests/bench/run.sh

redteam-mutations: tools images ## Turn each defence off, and show which cases of the red team go red
	tests/mutations/run.sh

conformance: tools ## Run Kubernetes' own NetworkPolicy tests against the lab's enforcer
	$(LAB) conformance

fuzz: ## Feed each parser hostile bytes for MINUTES=10; TARGET=name for one
	fuzz/run.sh $(MINUTES) $(TARGET)

images: programs ## Build the images; with REGISTRY=… push them there
	$(LAB) images $(if $(REGISTRY),--push $(REGISTRY))

lab: tools ## Boot the lab and leave it running
	$(LAB) up

manifests: tools ## Generate manifests/ anew from the code and the chart
	$(CARGO) run -q --release --locked -p ws-operator -- crd > manifests/crd.yaml
	cp manifests/crd.yaml charts/ws/crds/ws.yaml
	$$($(LAB) build)/helm template ws charts/ws --namespace ws-system --set namespace.create=true \
		--kube-version 1.33.0 > manifests/install.yaml

programs: ## Build ws' own programs
	$(CARGO) build --release --locked --workspace --bins

tools: programs ## Build the lab with its Kubernetes and helm
	$(LAB) build
