EXTRA_DIST += %D%/README.md
EXTRA_DIST += %D%/install-deps %D%/check
