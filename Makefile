# Each command does all its own set-up; the work is in scripts/.
.PHONY: demo test check fuzz build bench-deep-compression bench-engine bench-pruning bench-quantization clean

demo:                    ## LeNet-300-100 on MNIST, 40 times smaller: prune, share, code, run without torch, report.html
	@scripts/demo

test:                    ## the whole test suite
	@scripts/test

check:                   ## ruff, the strict type checker, the layering
	@scripts/check

fuzz:                    ## generated graphs under ASan and UBSan (300 s), then the Engine's threads under TSan
	@scripts/setup
	@scripts/fuzz_graphs
	@GOSSAMER_TSAN=1 scripts/fuzz_graphs

build:                   ## a wheel in dist/, tried in an empty directory
	@scripts/build

bench-deep-compression:  ## Deep Compression's tables on full MNIST, three seeds (about half an hour)
	@scripts/bench deep_compression

bench-quantization:      ## post-training and quantization-aware, against other tools (GOSSAMER_FASHION, GOSSAMER_PHOTOS: folders; hours)
	@scripts/bench quantization --train

bench-engine:            ## the Engine against every CPU runtime that installs (scripts/peers installs them; about half an hour)
	@scripts/bench engine

bench-pruning:           ## pruning on full MNIST and Fashion-MNIST, three seeds (hours; each part that is done stays done)
	@scripts/bench pruning --speed

clean:
	rm -rf build dist .venv bench/out
