# Everything happens in .venv at the root of the checkout. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help setup test demo lint bench coverage train exam trials miss-bound clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.runtime ## what the product stands on, in .venv

.venv/.python: tests/setup/python.sh
	bash tests/setup/python.sh $(PYTHON)
	touch $@

.venv/.runtime: .venv/.python requirements/runtime.txt pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	touch $@

.venv/.test: .venv/.runtime requirements/test.txt tests/setup/packages.txt
	bash tests/setup/packages.sh
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	touch $@

test: .venv/.test lint ## lint, types, import arrows, every test
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/.test ## ruff, mypy strict, import arrows, no way to ask for an exposure
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/no_exposure.py

clean: ## all that was made, .venv included
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

demo: .venv/.runtime ## lorries on emulated devices, judged by the real daemon; SPEED=2 shortens the gaps
	$(BIN)/python -m hil.demo

bench: .venv/.test ## times beside floors measured in the same run
	$(BIN)/python -m hil.bench

bench-record: .venv/.test ## each analysis of 10 million verdict rows beside the same question in SQL by hand; LARGEST=1000000
	mkdir -p build/bench-record
	$(BIN)/python -m hil.bench.record build/bench-record --largest $(or $(LARGEST),10000000)

train: .venv/.test ## simulate, fit, calibrate: the released model anew, unsigned; goes on where it stopped
	$(BIN)/python -m models.train

exam: .venv/.test ## the released model on simulated lorries that nothing was learned from
	$(BIN)/python -m models.exam

trials: .venv/.test ## what the exam does not ask: 40 t, a lane's background, produce, another world; RECORDINGS=dir: real chests
	for name in heavy background produce beyond $(if $(RECORDINGS),chests); do \
	$(BIN)/python -m models.trials $$name $(if $(RECORDINGS),--recordings $(RECORDINGS)) || exit 1; done

miss-bound: .venv/.test ## is the miss bound kept by 200 calibrations with other lorries?
	$(BIN)/python -m models.kept_bound

kill: .venv/.test ## kill -9 of the daemon at twenty random moments of a busy lane
	KILLS=20 $(BIN)/pytest --timeout 600 tests/hil/test_kill_nine.py

coverage: .venv/.test ## do the stated 95 % intervals of calibrations hold the truth? 100 detunings of each
	DETUNINGS=100 $(BIN)/pytest --timeout 600 -rP tests/calibration/test_coverage.py

coverage-record: .venv/.test ## do the printed intervals of the record hold the truth? 200 generated years
	YEARS=200 $(BIN)/pytest --timeout 7200 -rP tests/edge/records/test_coverage.py

unplug: .venv/.test ## every device unplugged and plugged again fifty times
	UNPLUGS=50 $(BIN)/pytest --timeout 1800 tests/hil/test_unplug.py

outcomes: .venv/.test ## forty outcomes entered by clicks in a real browser, at most two touches each
	OUTCOMES=40 $(BIN)/pytest --timeout 600 tests/edge/booth/test_outcome.py

test-browser: .venv/.test ## the booth's page at every size, light, language and sight; screenshots in build/screenshots
	LOOKS=all SCREENSHOTS=build/screenshots $(BIN)/pytest tests/edge/booth

fuzz: .venv/.test ## everything that reads from outside, FUZZ_RUNS (2000) mutations of each, a new seed each time
	FUZZ_RUNS=$${FUZZ_RUNS:-2000} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} \
	$(BIN)/pytest --timeout 3600 -rP tests/fuzz
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest --timeout 3600 -m hypothesis tests

powercut: .venv/.test ## power goes, a sync fails or a call is refused, at every one of a passage and of retention
	POWERCUT_EVERY=1 POWERCUT_CHANCES=20 $(BIN)/pytest --timeout 7200 \
	tests/edge/journal/test_power_cut.py tests/edge/referral/test_lane_power_cut.py \
	tests/edge/referral/test_lane_disk_refuses.py

soak: .venv/.test ## thirty days of lorries on a clock of our own: memory, descriptors, threads flat, retention holds
	SOAK_DAYS=$${SOAK_DAYS:-30} SOAK_EACH_DAY=$${SOAK_EACH_DAY:-40} $(BIN)/pytest --timeout 14400 -rP \
	tests/edge/referral/test_soak.py

packs: .venv/.test ## a referral pack with a byte changed at many places of each part, checked by us and by public programs
	FLIPS=60 $(BIN)/pytest --timeout 3600 tests/edge/referral/test_pack.py

officer: .venv/.test ## docs/officer.md: its pictures taken anew of the real page, and build/officer-*.pdf, one side each
	OFFICER=write $(BIN)/pytest tests/edge/booth/look/test_officer_page.py

pins: ## resolve requirements/ anew after a change in pyproject.toml (needs uv)
	uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras pyproject.toml -o requirements/test.txt
	uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/test.txt pyproject.toml -o requirements/runtime.txt
