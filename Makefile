# The commands of the README. Each is one line; what is longer lives in xtask or tests/.
.DEFAULT_GOAL := help
.PHONY: help build check test power bench demo demo-kubernetes images cache cache-clear

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## the three programs, optimised and static, under target/programs
	bash images/programs

check: ## what a change must pass before it is worth testing: format, lints, tidy, drift
	cargo xtask check

test: ## everything: unit tests, clients, tools, chart, Kubernetes
	cargo xtask test

power: ## a long run of the log's tests under power cuts; SEEDS=100000
	KENNET_TEST_SEEDS=$(or $(SEEDS),100000) cargo test -p kennet-log --test log power

bench: ## beside Apache Kafka on this machine, up to 75 minutes; QUICK=1 up to 12
	bench/run

demo: ## a broker here, this repository's history through it, read back and compared
	bash tests/demo/demo

demo-kubernetes: ## the same on a throw-away Kubernetes, or on CONTEXT=name REGISTRY=prefix
	bash tests/demo/kubernetes

images: ## broker's and operator's, as archives under target/images
	bash images/build

cache: ## what the tests keep outside the checkout
	cargo xtask cache

cache-clear: ## remove it
	cargo xtask cache --clear
