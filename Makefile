# SPDX-License-Identifier: Apache-2.0
# The face of the project: each target is one script. `make help` lists them.
SHELL := /bin/bash
export MODEL ENGINE PORT DURATION TARGETS SEED ROUNDS STEPS

.DEFAULT_GOAL := build
.PHONY: build run demo test lint sim sim-mutants fuzz bench estimate-table fresh deps deps-test clean help

build: ## the programs, in build/release/src
	@scripts/deps.sh build
	@scripts/build.sh release

run: ## serve a tiny model (or MODEL=FILE, with ENGINE=FILE) on PORT=8080, ask once, stay
	@scripts/run.sh run

demo: ## the same, then stop everything
	@scripts/run.sh demo

test: ## everything CI runs
	@scripts/test.sh

lint: ## formatting, layers, headers, shell scripts
	@scripts/deps.sh test
	@scripts/lint.sh

sim: ## the core in simulated worlds, 10 million steps; or SEED=, ROUNDS=, STEPS=
	@scripts/deps.sh test
	@scripts/sim.sh run

sim-mutants: ## deliberate bugs in the core, each of which the simulator must catch
	@scripts/deps.sh test
	@scripts/sim.sh mutants

fuzz: ## each fuzz target, or TARGETS="mask gguf", for DURATION=300 seconds
	@scripts/deps.sh test
	@scripts/fuzz.sh

bench: ## measurements
	@scripts/deps.sh test
	@scripts/bench.sh

estimate-table: ## estimates of memory against a real engine, into docs/estimates.md
	@scripts/deps.sh test
	@scripts/estimate_table.sh

fresh: ## make demo twice on a fresh Debian 12, as root and as a user with sudo
	@scripts/fresh.sh

deps: ## install what building and running needs
	@scripts/deps.sh build run

deps-test: ## install what testing adds
	@scripts/deps.sh build run test

clean: ## remove what was built; the engine and the models stay
	rm -rf build/release build/asan build/plain build/tsan build/fuzz build/test

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
