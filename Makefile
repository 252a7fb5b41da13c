# make demo: segment a slide on this machine, without PyTorch, and say what came out in demo/report.html.
# make test: the whole suite but what takes minutes.   make test-long: what takes minutes.
# make test-napari: the plugin in a real napari, in an environment of its own, on a screen of its own (Xvfb).
# make lint: ruff, types for Linux, Windows and macOS, the order of the rooms; with --jobs 2, two of them at a time.
# make isbi DATA=path/to/isbi2012 [STEPS=3000] [WIDTH=16]: train on slices 0 to 23, evaluate on 24 to 29.
# make reference: docs/commands.md, from the commands themselves.
# make fuzz [MINUTES=30] [SEED=1]: mutated files of every kind; those that show a fault go to fuzz-found/.
# make latency: 512 x 512 in under a second, no slower than before, and a guard that would see it.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt
SIZE ?= 4096x4096
STEPS ?= 3000
WIDTH ?= 16
MINUTES ?= 30
SYSTEMS = linux win32 darwin
SIDE_BY_SIDE = --numprocesses 2 --dist worksteal

.PHONY: demo test test-long test-napari fuzz lint style types rooms reference isbi latency clean
.PHONY: $(SYSTEMS:%=types-%)

demo: .venv-demo/ready
	rm -rf demo && mkdir demo
	.venv-demo/bin/unet-deploy sample demo/slide.tif --size $(SIZE)
	.venv-demo/bin/unet-deploy segment demo/slide.tif -o demo/mask.tif --overlay --report demo/report.html
	.venv-demo/bin/unet-deploy score demo/mask.tif demo/slide.truth.tif
	@echo
	@echo "What was done, and what came out: open demo/report.html in a browser."
	@echo "At any zoom: .venv-demo/bin/unet-deploy view demo/mask.tif"

test: .venv/ready
	.venv/bin/python -m pytest $(SIDE_BY_SIDE)

test-long: .venv/ready
	.venv/bin/python -m pytest $(SIDE_BY_SIDE) -m long

test-napari: .venv-napari/ready
	xvfb-run --auto-servernum --server-args "-screen 0 1400x900x24" .venv-napari/bin/python -m pytest tests/in_napari

fuzz: .venv/ready
	PYTHONPATH=tests .venv/bin/python -m fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

lint: style types rooms

style: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: $(SYSTEMS:%=types-%)

$(SYSTEMS:%=types-%): types-%: .venv/ready
	.venv/bin/mypy --platform $* --cache-dir .mypy_cache/$*

rooms: .venv/ready
	.venv/bin/lint-imports

reference: .venv/ready
	.venv/bin/python -m unet_deploy.cli.reference > docs/commands.md

isbi: .venv/ready
	.venv/bin/python benchmarks/quality.py isbi \
		$(or $(DATA),$(error say where train-volume.tif lies: make isbi DATA=path/to/isbi2012)) \
		--steps $(STEPS) --width $(WIDTH)

latency: .venv/ready
	.venv/bin/unet-deploy benchmark --size 512 --max-latency 1.0
	.venv/bin/python benchmarks/guard.py
	@echo "slowed by 15 % on purpose, it must fail:"
	! .venv/bin/python benchmarks/guard.py --slow 0.15

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP_INSTALL) -e '.[train,test]'
	touch $@

.venv-napari/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-napari
	.venv-napari/bin/python $(PIP_INSTALL) -e '.[test-napari]'
	touch $@

.venv-demo/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) '.[cpu,openvino,view]'
	touch $@

clean:
	rm -rf .venv .venv-napari .venv-demo demo build dist fuzz-found
