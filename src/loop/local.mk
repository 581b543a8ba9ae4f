noinst_HEADERS += %D%/source.h
EXTRA_DIST += %D%/README.md
