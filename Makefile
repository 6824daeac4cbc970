# Sluice. `make` lists the targets; README.md tells the story.
SHELL := /bin/bash
GO ?= go
export SLUICE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice
BIN := bin
# Race detection needs a C compiler; without one the tests run all the same.
RACE := $(shell $(GO) env CC | xargs -I{} sh -c 'command -v {} >/dev/null 2>&1 && echo -race')
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUNDLED := $(notdir $(patsubst %/main.go,%,$(wildcard plugins/*/main.go)))

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the controller, the CLI, the bundled plugins and plugin-conformance into bin/.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/controller ./cmd/controller
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli.Version=$(VERSION)' -o $(BIN)/kubectl-sluice ./cmd/kubectl-sluice
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/plugin-conformance ./cmd/plugin-conformance
	@for p in $(BUNDLED); do echo "building plugin $$p"; CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/plugins/$$p ./plugins/$$p || exit 1; done

.PHONY: cross
cross: ## The CLI for Linux, macOS and Windows in bin/cross, with sha256 sums.
	./tools/cross.sh $(VERSION) $(BIN)/cross

.PHONY: image
image: require ## The container image for amd64 and arm64 as an OCI layout in bin/image, without a container engine.
	$(GO) -C tools/image run . build -root $(CURDIR) -out $(CURDIR)/$(BIN)/image -version $(VERSION) -revision "$$(git rev-parse HEAD 2>/dev/null)"

.PHONY: image-check
image-check: image ## The image is what deploy/ expects, and comes out the same from another directory.
	$(GO) -C tools/image test ./...
	$(GO) -C tools/image run . check -again -root $(CURDIR) -out $(CURDIR)/$(BIN)/image -version $(VERSION) -revision "$$(git rev-parse HEAD 2>/dev/null)"

.PHONY: chart
chart: ## The Helm chart: lint, compared with what kustomize applies, packed into bin/.
	$(GO) -C tools/chart test ./...
	$(GO) -C tools/chart run . package $(CURDIR)/deploy/helm/sluice $(CURDIR)/$(BIN)

.PHONY: control-plane
control-plane: require ## Build the real Kubernetes control plane for tests (cached).
	@$(GO) run ./test/devcluster/cmd/devcluster build control-plane

.PHONY: test
test: control-plane ## Unit tests, conformance, a short simulation, tests on the real control plane.
	@# The simulator is one goroutine by design: the race detector only makes it ten times slower.
	SLUICE_SIM_SEEDS=$(or $(SEEDS),60) $(GO) test -timeout 20m ./core/internal/sim
	$(GO) test $(if $(RACE),$(RACE)) -timeout 20m $$($(GO) list ./... | grep -v '/core/internal/sim$$')

# The tests of plugins and of the cluster that need a foreign program, which say so by asking for SLUICE_E2E; `make test`
# has run the others.
FOREIGN = $(shell awk '/^func Test/ {sub(/[(][^)]*/, "", $$2); name = $$2} /Getenv\("SLUICE_E2E"\)/ {print name}' $$(git ls-files 'plugins/*_test.go' 'test/devcluster/*_test.go') | paste -sd '|')

.PHONY: conformance
conformance: ## Renew the conformance reports of the bundled routers (plugins/*/conformance*.yaml), which make test compares.
	$(GO) test -count=1 -run ConformanceReport $(patsubst %/conformance.yaml,./%,$(wildcard plugins/*/conformance.yaml)) -args -update

.PHONY: e2e
e2e: require ## Tests against real data planes (MESH=0: no istiod; INGRESS=0: no ingress-nginx), the ways to install (INSTALLS=0: not), e2e-node (NODE=0: not), crashes (MINUTES=15), plugin faults, Node.js (NODEJS=0: not).
	@$(GO) run ./test/devcluster/cmd/devcluster build control-plane traefik prometheus promtool $(if $(filter 0,$(MESH)),,istiod xdsclient) $(if $(filter 0,$(INGRESS)),,ingress-nginx)
	SLUICE_E2E=1 $(GO) test -count=1 -timeout 20m -run '^($(FOREIGN))$$' -skip '^$$$(if $(filter 0,$(MESH)),|Istiod)$(if $(filter 0,$(INGRESS)),|IngressNginx)' ./plugins/... ./test/devcluster
	SLUICE_E2E=1 $(GO) test -count=1 -timeout 20m ./test/e2e/stage/... $(if $(filter 0,$(INSTALLS)),,./test/e2e/newcomer) ./test/monitoring
	SLUICE_E2E=1 $(GO) test -count=1 -timeout 30m -skip '^$$$(if $(filter 0,$(MESH)),|Istio)$(if $(filter 0,$(INGRESS)),|IngressNginx)' ./test/e2e/dataplane
	$(if $(filter 0,$(NODE)),,@$(MAKE) --no-print-directory e2e-node)
	@set -o pipefail; SLUICE_E2E=1 SLUICE_NODEJS=$(NODEJS) $(GO) test -count=1 -v -run Nodejs ./test/nodejs ./core/internal/plugins ./test/e2e | grep -Ev '^ *=== | PASS: .*/'
	@set -o pipefail; SLUICE_E2E=1 SLUICE_CRASH_MINUTES=$(or $(MINUTES),15) $(GO) test -count=1 -timeout 60m -run TestCrashes -parallel 12 -v ./test/e2e | grep -Ev '^ *=== | PASS: '
	@set -o pipefail; SLUICE_E2E=1 SLUICE_CRASHES=$(or $(CRASHES),1000) SLUICE_KILLS=$(or $(KILLS),200) $(GO) test -count=1 -v -timeout 30m -parallel 12 -run 'EveryFault|BoundsOf|CrashesLeave|Orphans' ./core/internal/plugins | grep -v '^=== '

.PHONY: e2e-node
e2e-node: require ## The image and deploy/ as pods of a real node: kubelet, containerd, runc. As root; where no node can run it skips and says what is missing.
	@set -o pipefail; SLUICE_E2E=1 $(GO) test -count=1 -timeout 40m -v ./test/e2e/realnode | grep -v '^ *=== '

.PHONY: demo
demo: require ## A real canary through a real gateway; KEEP=1 leaves it running.
	$(GO) run ./test/demo $(if $(KEEP),-keep)

.PHONY: sim
sim: ## The simulator at length: random (SEEDS=10000) and all small rollouts (STEPS=3).
	@set -o pipefail; SLUICE_SIM_SEEDS=$(or $(SEEDS),5000) SLUICE_SIM_STEPS=$(or $(STEPS),1) $(GO) test -count=1 -timeout 120m \
		-run 'Random|Exhaustive|BugMuseum' -v ./core/internal/sim | grep -v '^ *=== '

.PHONY: fuzz
fuzz: ## Look for snapshots that the planner cannot take, guided by coverage (TIME=2m each).
	$(GO) test -run '^$$' -fuzz FuzzDecide -fuzztime $(or $(TIME),2m) ./core/internal/decide
	$(GO) test -run '^$$' -fuzz FuzzSnapshot -fuzztime $(or $(TIME),2m) ./core/internal/decide

.PHONY: bench
bench: control-plane ## Figures as counts and ratios: requests, CPU, memory, rest (sizes: test/bench/doc.go).
	$(GO) test -count=1 -run '^$$' -bench . -benchtime 1x -timeout 120m ./test/bench/... ./core/internal/plugins ./core/internal/controller

.PHONY: generate
generate: ## Regenerate deepcopy, CRDs and protobuf code.
	./tools/generate.sh

.PHONY: generate-check
generate-check: ## Fail when committed generated code is stale.
	./tools/generate.sh --check

.PHONY: lint
lint: ## golangci-lint with the import rules of the architecture.
	./tools/lint.sh

.PHONY: fmt
fmt: ## gofmt everything.
	gofmt -w cmd core sdk plugins test tools examples

.PHONY: up
up: control-plane ## A development cluster to play with, until Ctrl-C.
	$(GO) run ./test/devcluster/cmd/devcluster up

.PHONY: clean
clean: ## Remove build results (not the cache of foreign programs).
	rm -rf $(BIN)

.PHONY: require
require:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or newer (https://go.dev/dl)"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: install it; building the control plane needs it"; exit 1; }
	@[ "$$(uname -s)" = Linux ] || { echo "the tests and the demo need Linux: they run a control plane and a network namespace"; exit 1; }
