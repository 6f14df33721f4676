# make demo | test | fuzz | oracles | slurm | lint | bench | clean.  The first call makes .venv with the versions the project was tested with.
PYTHON ?= python3.11
BIN := .venv/bin
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test fuzz oracles slurm lint bench clean
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: .venv/installed
	$(BIN)/holdfast demo

test: .venv/installed lint
	$(BIN)/pytest --numprocesses 3 --dist worksteal --quiet tests src

# 10,000 malformed inputs for every parser, and 150 processes killed while they share a run folder; a few minutes.
fuzz: .venv/installed
	HOLDFAST_FUZZ=10000 HOLDFAST_KILLS=150 $(BIN)/pytest --numprocesses 2 --quiet -rP tests/fuzz tests/studies/test_kills.py

# Other libraries that `make test` then compares with. Without their dependencies: zennit asks for torchvision, which
# would tie the version of torch, and the rest is there already.
oracles: .venv/oracles
.venv/oracles: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'zennit==0.5.1' 'captum==0.9.0' 'torchattacks==3.5.1' \
		'foolbox==3.3.4' eagerpy GitPython gitdb smmap 'pyro-ppl==1.9.2' pyro-api opt_einsum
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt 'jax==0.10.2' 'numpyro==0.22.0' \
		'blackjax==1.7.1'
	touch $@

# Debian's SLURM, for root: then `make test` starts one of one node, in a temporary folder.
slurm:
	PATH=$$PATH:/usr/sbin command -v slurmctld || (apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive \
		apt-get install --quiet=2 --no-install-recommends slurm-wlm munge)

lint: .venv/installed
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist
