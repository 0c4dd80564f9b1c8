# `make` lists the targets. Every target that needs .venv first lets scripts/setup.py complete it (0.3 s if it is).
PROFILE ?= quick
LAUNCHER ?= joblib
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
TABLE ?=
SEEDS ?=
FRESH ?=
MINUTES ?=
RUN ?=
PYTHON ?=
EXTRAS ?=
MACHINE ?=
RUNS ?=
WORDS ?=
NTU ?=
WITHOUT ?=
REASON ?=
YES ?=

# What the targets call.
REPRODUCE = .venv/bin/python scripts/reproduce.py
ANEW = $(if $(filter-out 0 no false,$(FRESH)), --fresh)
IN_TIME = $(if $(MINUTES), --minutes '$(MINUTES)')
CHOICE = --profile '$(PROFILE)' --launcher '$(LAUNCHER)' --jobs '$(JOBS)' $(if $(SEEDS),--seeds '$(SEEDS)')$(ANEW)$(IN_TIME)
WHERE = $(if $(MACHINE),machine=$(MACHINE))
PUBLISH = .venv/bin/python scripts/publish.py $(if $(REASON),--reason "$$REASON")
SURE = $(if $(filter-out 0 no false,$(YES)), --yes)
VERIFY = .venv/bin/python scripts/verify.py
BENCH = .venv/bin/python scripts/bench.py
GRADIENTS = .venv/bin/python scripts/gradients.py
START_OF_U = .venv/bin/python scripts/start_of_u.py
WHY = .venv/bin/python scripts/why.py
LIST_RUNS = .venv/bin/python scripts/runs.py
DASHBOARD = .venv/bin/python scripts/dashboard.py
REPORT = .venv/bin/python scripts/report.py
COMPARE = .venv/bin/python scripts/compare.py
FIGURES = .venv/bin/python scripts/figures.py
GET_DATA = .venv/bin/python scripts/get_data.py
TEST = .venv/bin/python -m pytest
LINT = .venv/bin/ruff check . && .venv/bin/ruff format --check .
WANDB_SYNC = .venv/bin/wandb sync
LOCK = .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra pipeline --group dev \
	pyproject.toml --no-annotate --custom-compile-command 'make lock'

PYTHONS = $(if $(PYTHON),'$(PYTHON)',python3 python3.12 python3.11)
SETUP = scripts/setup.py --extras '$(EXTRAS)' $(if $(PYTHON),--this-python) \
	$(if $(filter setup,$(MAKECMDGOALS)),,--quiet)

.PHONY: help setup test test-slow house lint data plan reproduce-table why runs compare report publish milestones tables verify \
	adding mnist pmnist depth sensitivity ablations ptb-char ptb-word ntu bench gradients start-of-u figures smoke clean lock \
	dashboard wandb-sync
.NOTPARALLEL:

help:
	@echo "make TARGET [PROFILE=quick|fast|paper] [TABLE=...] [SEEDS=0,1,2] [JOBS=cores] [LAUNCHER=joblib] [MACHINE=cpu|gpu]"
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target meaning; do \
		printf '  %-16s %s\n' "$$target" "$$meaning"; done

setup: ## make .venv complete (EXTRAS=cluster adds launchers for clusters, EXTRAS=sweep Optuna, EXTRAS=none takes them away; PYTHON=...)
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; \
		then exec "$$python" $(SETUP); fi; \
	done; \
	echo "set-up: no Python 3.11 or 3.12 that runs (tried:" $(PYTHONS)"): install one, or name it as in" \
		"make setup PYTHON=python3.11" >&2; exit 1

test: setup ## run the tests, JOBS at a time and at most 8
	$(TEST) -n '$(JOBS)' --maxprocesses 8 --dist worksteal

test-slow: ## set up EXTRAS=cluster,sweep, then run the slow tests: fifty kills, submitit, ray, Optuna, two devices
	@$(MAKE) setup EXTRAS=cluster,sweep
	$(TEST) -m slow

house: setup ## draw the plan of src/indrnn: wings, floors, lines and imports
	.venv/bin/python tests/house.py

lint: setup ## check style and formatting
	$(LINT)

data: setup ## fetch the data sets that may be fetched; or take in NTU RGB+D: NTU=folder or zip of its .skeleton files
	$(GET_DATA) $(if $(NTU),--ntu '$(NTU)' --jobs '$(JOBS)' $(if $(WITHOUT),--without $(WITHOUT)))

plan: setup ## list the runs of the tables (TABLE=... for one): signature, state, command
	$(REPRODUCE) --plan $(CHOICE) $(if $(TABLE),--table '$(TABLE)') $(WHERE)

reproduce-table: setup ## train what is not finished and print the tables beside the paper's (TABLE=... for one; MINUTES=8 stop in time; FRESH=1 all anew)
	$(REPRODUCE) $(CHOICE) $(if $(TABLE),--table '$(TABLE)') $(WHERE)

why: setup ## what differs today from when a run was made, and what follows: RUN=signature
	$(WHY) '$(RUN)'

runs: setup ## list this machine's runs: what was typed, metric, updates, minutes, age (WORDS="adding lstm", WORDS=unfinished)
	@$(LIST_RUNS) $(if $(WORDS),--words '$(WORDS)')

compare: setup ## runs beside each other: mean ± std over seeds, what differs, intervals, curves (RUNS="3f2a 81b0" or WORDS=...)
	@$(COMPARE) $(if $(RUNS),--run '$(RUNS)') $(if $(WORDS),--words '$(WORDS)')

report: setup ## one page of all tables and curves, those of this machine and the published ones, into runs/report
	@$(REPORT)

publish: setup ## what this machine's runs would make of results/; YES=1 writes it (REASON="..." where numbers change)
	$(PUBLISH) --profile '$(PROFILE)'$(SURE)

milestones: setup ## the same with how far the runs of conf/milestones got, finished or not
	$(PUBLISH) --milestones$(SURE)

tables: setup ## render results/ again from the published records alone
	$(PUBLISH) --render

verify: setup ## files, tables and one run of each quick table against results/ (3 minutes; RUN=signature: another run)
	$(VERIFY) --jobs '$(JOBS)' $(if $(RUN),--run '$(RUN)')

adding: setup ## the adding problem: Figure 2
	$(REPRODUCE) $(CHOICE) --table figure2_adding $(WHERE)

mnist: setup ## sequential MNIST: Table 1, first column
	$(REPRODUCE) $(CHOICE) --table table1_mnist --column smnist $(WHERE)

pmnist: setup ## permuted MNIST: Table 1, second column
	$(REPRODUCE) $(CHOICE) --table table1_mnist --column pmnist $(WHERE)

depth: setup ## networks of 1 to 21 layers on permuted MNIST, a table of its own (an hour)
	$(REPRODUCE) $(CHOICE) --table depth_pmnist $(WHERE)

sensitivity: setup ## six learning rates on the adding problem, a table of its own (an hour)
	$(REPRODUCE) $(CHOICE) --table sensitivity_adding $(WHERE)

ablations: setup ## what the parts of IndRNN are worth, compared seed by seed, two tables of their own (half an hour)
	$(REPRODUCE) $(CHOICE) --table ablation_adding --table ablation_pmnist $(WHERE)

ptb-char: setup ## Penn Treebank by characters: Table 2
	$(REPRODUCE) $(CHOICE) --table table2_ptb_char $(WHERE)

ptb-word: setup ## Penn Treebank by words: Table 3
	$(REPRODUCE) $(CHOICE) --table table3_ptb_word $(WHERE)

ntu: setup ## skeleton action recognition, NTU RGB+D: Table 4
	$(REPRODUCE) $(CHOICE) --table table4_ntu $(WHERE)

bench: setup ## speed and memory of layers and updates, into runs/benchmarks: on a GPU, else on one CPU core (YES=1: results/)
	$(BENCH)$(SURE) $(if $(MACHINE),--device $(patsubst gpu,cuda,$(MACHINE)))

gradients: setup ## do networks of 21 layers train, and their gradients per layer, into runs/gradients (2 minutes; YES=1: results/)
	$(GRADIENTS)$(SURE)

start-of-u: setup ## why wide layers do not learn characters from u near 1, into runs/start_of_u (hours; YES=1: what results/ lacks)
	$(START_OF_U)$(SURE)

figures: setup ## what single neurons remember, as figures and one experiment, into runs/figures (4 minutes; YES=1: results/)
	$(FIGURES) --profile '$(PROFILE)'$(SURE)

smoke: setup ## the cells of all tables at quick sizes with 2 updates, into a temporary folder
	$(REPRODUCE) --smoke --launcher '$(LAUNCHER)' --jobs '$(JOBS)'

clean: ## remove caches, rendered tables, the report, pictures of comparisons; runs/ only with RUNS=1
	find src scripts tests -type d -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache runs/tables runs/compare runs/report runs/.hydra
	$(if $(filter 1,$(RUNS)),rm -rf runs,@echo "runs/ is kept (make clean RUNS=1 removes it, too)")

lock: ## compile requirements.lock and those of the extras from pyproject.toml
	@test -x .venv/bin/uv || $(MAKE) setup
	$(LOCK) -o requirements.lock
	$(LOCK) -o requirements-cluster.lock --extra cluster --constraints requirements.lock
	$(LOCK) -o requirements-sweep.lock --extra sweep --constraints requirements-cluster.lock

dashboard: setup ## W&B's workspaces and report, made from conf/table: JSON into runs/dashboard, saved if logged in (TABLE=... for one)
	$(DASHBOARD) --profile '$(PROFILE)' $(if $(TABLE),--table '$(TABLE)')

wandb-sync: setup ## upload the offline W&B runs of runs/wandb, or of $WANDB_DIR/wandb
	@place="$${WANDB_DIR:-runs}/wandb"; found=`find "$$place" -type d -name 'offline-run-*' -prune 2>/dev/null | wc -l`; \
	if test $$found -eq 0; then echo "wandb-sync: no offline runs under $$place"; exit 0; fi; \
	echo "wandb-sync: $$found runs are uploaded, with config, metrics, weights of small networks, tables, versions, and this" \
		"machine's host name and paths"; \
	find "$$place" -type d -name 'offline-run-*' -prune -exec $(WANDB_SYNC) {} + || { \
	echo "wandb-sync: not everything was uploaded; logged in? (.venv/bin/wandb login)" >&2; exit 1; }
