# The front door; Meson does the work. `make help` lists the targets.
SAN ?=
CC ?= gcc
BUILD ?= build$(if $(SAN),-$(SAN))
PREFIX ?= /usr/local
MESON_SAN = $(if $(SAN),-Db_sanitize=$(subst address,address$(,)undefined,$(SAN)) -Db_lundef=false -Doptimization=1 -Dc_args=-g1)
, := ,

.PHONY: all configure
all: configure
	@ninja -C $(BUILD)

# Source files are found by name, unit tests built when cmocka is there and etcd's clients when
# nghttp2 is: configure anew when any of that has changed.
configure:
	@tools/deps build
	@mkdir -p $(BUILD)
	@new=$(BUILD)/sources.$$$$; \
	for kind in lib proto test fuzz sim explore faults bench; do tools/sources $$kind; done > $$new; \
	for library in cmocka libnghttp2; do if pkg-config --exists $$library; then echo $$library; fi; done >> $$new; \
	if [ ! -f $(BUILD)/build.ninja ]; then CC="$(CC)" meson setup $(BUILD) $(MESON_SAN) $(MESON_ARGS) >$(BUILD)/setup.log || { cat $(BUILD)/setup.log; exit 1; }; \
	elif ! cmp -s $$new $(BUILD)/sources.list; then meson setup --reconfigure $(BUILD) >$(BUILD)/setup.log || { cat $(BUILD)/setup.log; exit 1; }; fi; \
	mv $$new $(BUILD)/sources.list

# For the simulator, which is a third faster: it fills fresh disks all the time, and was busy with page faults.
HUGE_PAGES = GLIBC_TUNABLES=glibc.malloc.hugetlb=1

.PHONY: unit sim explore mutants demo check rounds faults powercuts bench fuzz format tidy install clean help
unit: ## unit tests only
	@tools/deps build check
	@$(MAKE) --no-print-directory all
	@meson test -C $(BUILD) --suite unit --no-rebuild --print-errorlogs

sim: configure ## simulator: SEED=7 replays one, SEEDS=1..1000 runs many, COVER=1 demands all marks
	@ninja -C $(BUILD) sim >/dev/null
	@$(if $(SEED),,for plan in sim/schedules/*; do $(BUILD)/sim --quiet --schedule $$plan || exit 1; done)
	@$(HUGE_PAGES) $(BUILD)/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1..1000) --twice $(if $(COVER),--cover))

explore: configure ## every order of few events: 3 nodes, 2 ballots, a command, a crash
	@ninja -C $(BUILD) explore >/dev/null
	@$(BUILD)/explore --commands 1 --crashes 0
	@$(BUILD)/explore --commands 0 --crashes 1
	@$(BUILD)/explore --commands 1 --crashes 1 --candidates 1

mutants: ## planted bugs that the simulator must catch; SEEDS=5000
	@tools/deps build
	@tools/mutants $(or $(SEEDS),5000)

check: ## everything that must hold, sanitizers too; ONLY="plain sim" for a part
	@tools/deps build check
	@tools/check $(ONLY)

rounds: all ## ROUNDS=100 times: SIGKILL of a random node under writes, restart, compare
	@tools/deps check
	@ROUNDS=$(or $(ROUNDS),100) QUERN=$(BUILD)/quern /usr/bin/python3 -m pytest -q -s -p no:cacheprovider test/test_kill.py -k rounds

faults: all ## MINUTES=2 of faults under clients whose history is judged; KINDS="kill stop", SEED=1
	@tools/deps faults
	@tools/faults run $(BUILD) --minutes $(or $(MINUTES),2) --kinds "$(KINDS)" $(if $(SEED),--seed $(SEED))

powercuts: all ## CUTS=20 power cuts under load on each of XFS and ext4; KINDS=xfs, SEED=1
	@tools/deps faults
	@tools/faults powercuts $(BUILD) --cuts $(or $(CUTS),20) $(if $(KINDS),--kinds "$(KINDS)") $(if $(SEED),--seed $(SEED))

bench: ## side by side with nginx, etcd, dd, xargs, parallel; ONLY=get-4k-64 for one
	@tools/deps build bench
	@$(MAKE) --no-print-directory all
	@tools/bench $(BUILD) $(ONLY)

fuzz: ## each parser's fuzzer for SECONDS=60; ONLY=http1 for one
	@tools/deps build fuzz
	@tools/fuzz $(or $(SECONDS),60) $(ONLY)

demo: all ## the whole idea on real input: FILE=path for your own
	@tools/demo $(BUILD)/quern $(FILE)

format: ## rewrite the code as .clang-format says
	@tools/deps tidy
	@git ls-files '*.c' '*.h' | grep -v ^src/tbl/ | xargs clang-format -i

tidy: configure ## layer rule, lengths, banned calls, clang-tidy, the manual's markup
	@tools/deps tidy
	@tools/tidy
	@tools/sources lib | xargs -P2 -n8 clang-tidy --quiet -p $(BUILD) --extra-arg=-Wno-unknown-warning-option 2>/dev/null
	@scdoc <doc/quern.1.scd | mandoc -T lint -W error

install: all ## install under PREFIX (and DESTDIR)
	@meson configure $(BUILD) -Dprefix=$(PREFIX) && meson install -C $(BUILD)

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12
