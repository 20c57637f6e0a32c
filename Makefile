.PHONY: demo test soak bench docs lint clean

# A droplet goes in, a running container comes out.
demo:
	.ci/demo

# Installs what is missing, builds, runs every test. FILTER=… runs the tests that match.
test:
	.ci/test

# Ten minutes of 32 pushers while garbage is collected and everything is verified.
soak:
	SOAK_SECONDS=600 FILTER=CrowdTests .ci/test

# Speed and memory, as ratios measured in one run.
bench:
	.ci/bench

# The documentation site: .build/docs/site.
docs:
	.ci/docs

lint:
	.ci/lint

# What was built. The rootfs tarballs are a cache of their own: rootfs/build --help.
clean:
	rm -rf .build
