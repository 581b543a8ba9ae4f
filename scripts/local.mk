EXTRA_DIST += %D%/README.md
EXTRA_DIST += %D%/install-deps %D%/check %D%/demo %D%/demo-lab %D%/interop %D%/bench
