# Tests of this area: programs, data, scripts.
EXTRA_DIST += %D%/netns/hub-official.sh
