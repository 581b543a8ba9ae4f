EXTRA_DIST += %D%/README.md
dist_man_MANS += %D%/netbird-helper.8
dist_man_MANS += %D%/netbird-hub.8
