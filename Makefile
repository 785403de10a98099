# SPDX-License-Identifier: GPL-2.0
# The loop of a developer; `make help` lists it. What Kbuild builds is said in Kbuild, how in Documentation/testing.md.

SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all demo test test-debug bench compare vm shell lint clean distclean help
# Variables of the command line (KVER=, KDIR=, MODULES=, CPUS=, TIMEOUT=, ...) reach the scripts as environment.

all:            ## build the modules: build/*.ko
	@tools/env/modules

demo: all       ## a director, clients and servers in one virtual machine
	@tools/testing/demo/run

test: all       ## every check and test; TESTS="lint logic" for some
	@tools/testing/run-tests $(TESTS)

test-debug:     ## the tests under a kernel with KASAN, lockdep and kmemleak
	@tools/testing/debug/run

bench: all      ## instructions per packet
	@tools/testing/bench/run

compare: all    ## the same scenarios under stock and under these modules
	@tools/testing/compare/run

vm: $(if $(filter stock none,$(MODULES)),,all) ## run SCRIPT=file ARGS="..." in a virtual machine, MODULES=rust|stock|none
	@$(if $(SCRIPT),,$(error make vm SCRIPT=file [ARGS="..."] [MODULES=rust|stock|none]))tools/vm/run $(SCRIPT) $(ARGS)

shell: $(if $(filter stock none,$(MODULES)),,all) ## a prompt in a virtual machine
	@tools/vm/run --shell

lint:           ## rustfmt, clippy, shellcheck
	@tools/testing/run-tests lint

clean:          ## remove build/
	@rm -rf build

distclean: clean ## remove the cache too: the Debian root and the kernel tree
	@tools/env/clean

help:           ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 16
