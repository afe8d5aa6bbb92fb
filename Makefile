# Two commands matter: "make run" and "make test". "make help" lists the rest.
#
# Every target uses one set of Go flags. A second set would compile everything
# a second time.
MAKEFLAGS += --no-builtin-rules
.NOTPARALLEL:
.DEFAULT_GOAL := help

export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0
export GOWORK := off

# Recursive on purpose: these programs run only in recipes that need them.
ARCH    = $(shell go env GOARCH)
OS      = $(shell go env GOOS)
VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

INSIDE    := cmd/nanoclaw/inside
LDFLAGS    = -s -w -X main.version=$(VERSION)
# The init for Linux begins at an entry of its own, see
# cmd/nanoclaw-init/entry_linux.go.
INITFLAGS := -s -w -E=main.entry
MACFLAGS  := -s -w
STEP      := tools/step
CROSS     := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
# The longest begin first, so that none of them is left over for one processor.
PACKAGES  ?= ./internal/daemon ./internal/boundary ./internal/store ./cmd/nanoclaw ./...
# What a user need not repeat: nothing in these depends on who asks the kernel.
SAME      := agent|approval|audit|authority|channel|chaostest|hosttools|markup|mcpserver|observe|oldstore|outbox|plan|qr|queue|router|runlog|runner|sbpl|schedule|store|support|task|transcript|watch|web|why|wire
# And what of the daemon's: it is about Claude Code, chats, limits and the order of things.
# The boundary there is one of many that other tests ask as this user.
SAMETESTS := ClaudeMatrix|ClaudeSurvivesKills|ClaudeDiesInTheMiddle|ClaudeConversations|ClaudeFollowUp|ClaudeRemembers|MCPPolicy|EndOfASessionIsTold|Threads|ChangedGrantIsTold|ConsentAndBudgetOfClaude|ConfirmExpires|ModelOfAGroup|PlacesOfWarmSessions|TooLongBeginsAnew|DiscordTrace|FailuresByClass|CompactionIsArchived|NothingIsPreparedInVain|ImportedConversationGoesOn|TasksRun|RunsPerDay|HostRunsAreLimited
ARGS      ?=
BENCHTIME ?= 1s
FUZZTIME  ?= 10s

# The real Claude Code, which tests talk to. Its licence does not permit us to
# ship it, so npm fetches the version that tools/claude/package-lock.json pins.
CLAUDE := $(CURDIR)/tools/claude/claude
export NANOCLAW_TEST_CLAUDE := $(CLAUDE)

# srt, one of the engines, and the Node.js for it. The tests look for it here.
export NANOCLAW_TEST_SRT := $(CURDIR)/tools/srt

# Docker, another engine. Its daemon is started by tests, in namespaces of its own.
export NANOCLAW_TEST_DOCKER := $(CURDIR)/tools/docker/root

# gVisor, whose kernel containers may have. The long tests build this version.
RUNSC := v0.0.0-20260905035102-160fafc42237

.PHONY: run
run: build ## chat with a confined agent (needs Go and make alone); ARGS="--group G" is passed on
	@bin/nanoclaw chat $(ARGS)

.PHONY: test
test: deps claude srt docker axe ## install what the tests need (as root), then check everything
	@$(MAKE) --no-print-directory check

.PHONY: check
check: build fmt vet staticcheck cross race plain test-whatsapp test-release ## format, vet, staticcheck, builds for linux and darwin, race tests, house rules

# Everything that "build" says goes to stderr, so that "make -s run" can be one
# end of a pipe. Only the init of this system and architecture stays in the
# folder, since all that lies there is embedded; on a Mac also those of its Linux
# containers.
.PHONY: build
build: need-go ## build bin/nanoclaw with its nanoclaw-init inside
	@rm -f $(filter-out $(INSIDE)/nanoclaw-init-$(OS)-$(ARCH),$(wildcard $(INSIDE)/nanoclaw-init-*))
	@go build -ldflags "$(if $(filter darwin,$(OS)),$(MACFLAGS),$(INITFLAGS))" -o $(INSIDE)/nanoclaw-init-$(OS)-$(ARCH) ./cmd/nanoclaw-init >&2
	@$(if $(filter darwin,$(OS)),for a in amd64 arm64; do GOOS=linux GOARCH=$$a go build -ldflags "$(INITFLAGS)" -o $(INSIDE)/nanoclaw-init-linux-$$a ./cmd/nanoclaw-init >&2 || exit 1; done,:)
	@mkdir -p bin
	@go build -ldflags "$(LDFLAGS)" -o bin/nanoclaw ./cmd/nanoclaw >&2

.PHONY: whatsapp
whatsapp: need-go ## build bin/nanoclaw-whatsapp, which is under the GPL: docs/whatsapp.md
	@mkdir -p bin
	@cd adapters/whatsapp && go build -ldflags "-s -w" -o ../../bin/nanoclaw-whatsapp . >&2

.PHONY: test-whatsapp
test-whatsapp: need-go
	@cd adapters/whatsapp && ../../$(STEP) "vet (whatsapp)" go vet . && ../../$(STEP) "tests (whatsapp)" go test -timeout 10m .
	@cd adapters/whatsapp && for p in linux/arm64 darwin/arm64; do \
		../../$(STEP) "build whatsapp for $$p" env GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null . || exit 1; done

# docs/releases.md says what a release has and where its key is.
.PHONY: release
release: need-go ## make a signed release of the commit in build/release: NANOCLAW_RELEASE_KEY=FILE, or UNSIGNED=1
	@cd tools && go run ./release $(if $(UNSIGNED),-unsigned) $(if $(RELEASE),-version $(RELEASE))

.PHONY: reproduce
reproduce: need-go ## make the release of this kind of machine twice, in two folders with two build caches, and compare it
	@cd tools && ../$(STEP) "two releases" go run ./release -reproduce $(if $(RELEASE),-version $(RELEASE))

.PHONY: test-release
test-release: need-go build
	@cd tools && ../$(STEP) "vet (release)" go vet ./release && ../$(STEP) "tests (release)" go test -timeout 10m ./release

.PHONY: newuser
newuser: need-go ## go the way of somebody new, from a bare Debian to a conversation, as root and as a user (needs root); WAYS=release for that alone
	@$(STEP) "somebody new" tools/newuser $(WAYS)

.PHONY: fmt
fmt: need-go
	@$(STEP) format sh -c 'bad=$$(gofmt -l *.go cmd internal adapters tools/release) && [ -z "$$bad" ] || { echo "run gofmt -w on:" $$bad >&2; exit 1; }'

.PHONY: vet
vet: need-go
	@$(STEP) "vet (linux)" go vet ./...
	@$(STEP) "vet (darwin)" env GOOS=darwin go vet ./...

.PHONY: staticcheck
staticcheck: need-go
	@$(STEP) staticcheck tools/staticcheck ./...

.PHONY: cross
cross: need-go
	@for p in $(CROSS); do \
		$(STEP) "build for $$p" env GOOS=$${p%/*} GOARCH=$${p#*/} go build -ldflags "$(LDFLAGS)" -o /dev/null ./cmd/nanoclaw || exit 1; done
	@for a in amd64 arm64; do \
		$(STEP) "build the init for linux/$$a" env GOOS=linux GOARCH=$$a go build -ldflags "$(INITFLAGS)" -o /dev/null ./cmd/nanoclaw-init || exit 1; \
		$(STEP) "build the init for darwin/$$a" env GOOS=darwin GOARCH=$$a go build -ldflags "$(MACFLAGS)" -o /dev/null ./cmd/nanoclaw-init || exit 1; done

# The race detector is the one thing that needs a C compiler.
.PHONY: race
race: need-go
	@CGO_ENABLED=1 $(STEP) "race tests" go test -race -timeout 45m $(PACKAGES)

# Without the race detector: the store's model, whose one goroutine it would slow down six
# times to see nothing ("race" runs an eighth of it), and what acts as the service's user,
# which no program can that is built with cgo, as the detector wants it.
.PHONY: plain
plain: need-go ## what is tested without the race detector
	@$(STEP) "the store beside its model" go test -timeout 20m -run '^TestModel$$' ./internal/store
	@$(STEP) "root as the service" go test -timeout 20m -run '^TestRoot' ./cmd/nanoclaw

.PHONY: test-user
test-user: deps claude srt docker build ## the part of "make test" that an ordinary user repeats: race tests
	@CGO_ENABLED=1 $(STEP) "race tests as a user" go test -race -count=1 -timeout 45m -skip '^Test($(SAMETESTS))$$' \
		$$(go list $(PACKAGES) | grep -vE '^nanoclaw($$|/internal/($(SAME))(/|$$))')

.PHONY: attack
attack: srt docker runsc build ## try every known attack on every engine, as root and as a user; the table is build/attack.txt
	@mkdir -p build && rm -f build/attack.json
	@status=0; NANOCLAW_TEST_RUNSC=$(CURDIR)/tools/runsc/runsc NANOCLAW_ATTACK_TABLE=$(CURDIR)/build/attack.json $(STEP) attacks \
		go test -count=1 -timeout 20m -run '^Test(Catalogue|CatalogueInContainers|CatalogueInDocker|ControlArm|RefusesOutside|AsOrdinaryUser)$$' ./internal/attack || status=$$?; \
	go run ./internal/attack/attacktest/program table <build/attack.json >build/attack.txt && cat build/attack.txt; exit $$status

.PHONY: bench
bench: build srt ## measure, each figure beside its peer from the same run
	@go test -run '^$$' -bench . -benchtime $(BENCHTIME) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

# Both are a program and not a test, so that their last line is the figure.
.PHONY: chaos
chaos: build claude ## kill a real host at every step and at random for CHAOS_SECONDS (60); CHAOS_SEED chooses the case, CHAOS_DATABASE=postgres three nodes
	@go run ./internal/chaostest/program chaos

.PHONY: soak
soak: build ## mixed traffic for SOAK_SECONDS (60) while memory, descriptors, goroutines and disk stay flat; build/soak.csv and .svg
	@mkdir -p build
	@go run ./internal/chaostest/program soak build/soak

.PHONY: test-all
test-all: runsc ## what takes long: make test, as root and as a user, attacks, more chaos, a longer soak
	@.ci/run
	@NANOCLAW_TEST_LONG=1 NANOCLAW_TEST_RUNSC=$(CURDIR)/tools/runsc/runsc $(STEP) "the conformance suite in containers" \
		go test -count=1 -timeout 20m -run '^TestPodman(Conforms|ConformsOnGVisor|OnGVisor)$$' ./internal/boundary
	@NANOCLAW_TEST_RUNSC=$(CURDIR)/tools/runsc/runsc $(STEP) "Claude Code on gVisor" go test -count=1 -timeout 20m -run '^TestGVisorAnswers$$' ./internal/daemon
	@$(MAKE) --no-print-directory reproduce
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) --no-print-directory newuser; else echo "== not run as root: make newuser was left out" >&2; fi
	@$(MAKE) --no-print-directory attack
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(MAKE) --no-print-directory chaos
	@SOAK_SECONDS=$${SOAK_SECONDS:-900} $(MAKE) --no-print-directory soak

.PHONY: fuzz
fuzz: need-go ## run each fuzz test for FUZZTIME (10s)
	@tools/fuzz $(FUZZTIME)

.PHONY: deps
deps: ## install the Debian packages that the tests need (as root), or name what is missing
	@tools/deps

.PHONY: claude
claude:
	@tools/claude/install

# What the dashboard's pages are checked by for people who do not see or click.
.PHONY: axe
axe:
	@tools/axe/install

.PHONY: srt
srt:
	@tools/srt/install

.PHONY: docker
docker:
	@tools/docker/install

# gVisor's OCI runtime, in which the long tests run containers too.
.PHONY: runsc
runsc: need-go ## build gVisor's runsc, for make attack and make test-all
	@[ -x tools/runsc/runsc ] || { mkdir -p tools/runsc && CGO_ENABLED=0 GOFLAGS= GOBIN=$(CURDIR)/tools/runsc go install gvisor.dev/gvisor/runsc@$(RUNSC); }

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin build tools/bin tools/claude/node_modules tools/claude/claude tools/srt/node_modules tools/axe/node_modules tools/docker/root tools/runsc $(INSIDE)/nanoclaw-init-*

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo "Go is not on the PATH: install Go 1.26 or newer (https://go.dev/dl), then try again" >&2; exit 1; }

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
